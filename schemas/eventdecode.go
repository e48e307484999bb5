package schemas

import "slices"

// kindRule lists the fields of a kind beyond kind, provider and occurredAt, which all kinds have.
type kindRule struct{ must, may []string }

var (
	common  = []string{"requestId", "payment", "amount", "requestedAt", "fingerprint"}
	success = kindRule{
		must: with(common, "refundType", "foundBy"),
		// The attempt is missing where a person or a notice settles a refund that no call was made for.
		may: []string{"metadata", "attempt", "providerRefundId", "providerResult"},
	}
	brake = kindRule{must: []string{"reason", "n", "currencyCode", "window"}, may: []string{"by"}}
)

// kindRules is the table of kinds and their fields. A new kind or field gets its line here, its place
// in the JSON Schema and a golden file.
var kindRules = map[Kind]kindRule{
	// Only the journal has the idempotency key and the baseline.
	KindDispatched:   {with(common, "attempt", "leaseUntil"), []string{"metadata", "idempotencyKey", "baseline"}},
	KindDeferred:     {with(common, "attempt", "reason", "notBefore"), []string{"metadata"}},
	KindAcknowledged: {with(common, "attempt"), []string{"metadata", "providerRefundId"}},
	KindParked:       {with(common, "reason", "n"), []string{"metadata", "attempt", "providerResult"}},
	KindResumed:      {with(common, "n", "by"), []string{"metadata"}},
	KindSucceeded:    success,
	KindCancelled:    success,
	KindFailed: {with(common, "reason", "reissue", "foundBy"),
		[]string{"metadata", "attempt", "providerRefundId", "providerResult"}},
	KindReversed: {with(common, "reversal"), []string{"metadata"}},
	KindRejected: {[]string{"requestId", "reason"},
		[]string{"payment", "amount", "requestedAt", "fingerprint", "metadata", "problems", "existing"}},
	KindStopped: brake,
	KindStarted: brake,
}

// kindFields are all fields that belong to some kinds only.
var kindFields = allKindFields()

func with(fields []string, more ...string) []string { return slices.Concat(fields, more) }

func allKindFields() []string {
	var all []string
	for _, rule := range kindRules {
		all = slices.Concat(all, rule.must, rule.may)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// DecodeEvent reads an event as strictly as DecodeCommand reads a command, with one difference: fields
// that no kind declares are passed over, because events are read by older programs long after newer
// ones began to write them. Fields that belong to other kinds are refused.
func DecodeEvent(body []byte) (Event, error) {
	if len(body) > MaxEventBytes {
		tooLarge := []Problem{{"", "must be at most 262144 bytes"}}
		return Event{}, &Rejection{ReasonMalformed, tooLarge, "event"}
	}
	root, problems := parse(body)
	if len(problems) > 0 {
		return Event{}, &Rejection{ReasonMalformed, problems, "event"}
	}
	r := &reader{lenient: true}
	o := r.object(root, "")
	e := readEvent(o)
	o.judgeKind(e)
	r.judgeEvent(e)
	if len(r.problems) > 0 {
		return Event{}, &Rejection{ReasonInvalid, r.problems, "event"}
	}
	return e, nil
}

func readEvent(o fields) Event {
	e := Event{
		Kind:        Kind(o.text("kind", required, oneOf(Kinds...))),
		RequestID:   RequestID(o.text("requestId", optional, ruleRequestID)),
		Provider:    ProviderName(o.text("provider", required, ruleProvider)),
		Payment:     o.payment(optional),
		Amount:      o.amount("amount", optional),
		RequestedAt: o.time("requestedAt", optional),
		Fingerprint: o.text("fingerprint", optional, ruleFingerprint),
		Metadata:    o.metadata("metadata"),
	}
	if t := o.time("occurredAt", required); t != nil {
		e.OccurredAt = *t
	}
	o.readAttempt(&e)
	o.readResult(&e)
	o.readDecision(&e)
	return e
}

func (f fields) readAttempt(e *Event) {
	e.Attempt = f.count("attempt")
	e.LeaseUntil = f.time("leaseUntil", optional)
	e.IdempotencyKey = f.text("idempotencyKey", optional, ruleName)
	e.Baseline = f.raw("baseline")
	e.NotBefore = f.time("notBefore", optional)
}

func (f fields) readResult(e *Event) {
	e.RefundType = RefundType(f.text("refundType", optional, oneOf(refundTypeOf(e.Kind))))
	e.ProviderRefundID = f.text("providerRefundId", optional, ruleName)
	e.ProviderResult = f.providerResult()
	e.FoundBy = FoundBy(f.text("foundBy", optional, oneOf(foundBys...)))
	e.Reversal = f.reversal()
}

func (f fields) readDecision(e *Event) {
	if list := reasons[e.Kind]; len(list) > 0 {
		e.Reason = Reason(f.text("reason", optional, oneOf(list...)))
	}
	e.Reissue = f.flag("reissue")
	e.Problems = f.problems()
	e.Existing = f.existing()
	e.N = f.count("n")
	e.By = f.operator()
	e.CurrencyCode = Currency(f.text("currencyCode", optional, ruleCurrency))
	e.Window = f.text("window", optional, ruleWindow)
}

// refundTypeOf is the only type that goes with a kind.
func refundTypeOf(k Kind) RefundType {
	if k == KindCancelled {
		return RefundTypeCancel
	}
	return RefundTypeRefund
}

// judgeKind asks for the fields of the event's kind and refuses those of others.
func (f fields) judgeKind(e Event) {
	rule, known := kindRules[e.Kind]
	if !known {
		return
	}
	for _, name := range rule.must {
		f.get(name, required)
	}
	for _, name := range kindFields {
		if !slices.Contains(rule.must, name) && !slices.Contains(rule.may, name) && f.get(name, optional) != nil {
			f.r.add(f.at(name), "not a field of this kind")
		}
	}
	if called := e.FoundBy == FoundByCall || e.FoundBy == FoundByLookup; called && e.RefundType != "" {
		f.get("attempt", required)
	}
	if e.Reason == ReasonMalformed || e.Reason == ReasonInvalid {
		f.get("problems", required)
	}
}

// judgeEvent holds the rules between fields.
func (r *reader) judgeEvent(e Event) {
	if e.Reversal == nil || e.Amount == nil {
		return
	}
	reversed, total := e.Reversal.Amount, e.Reversal.Total
	switch {
	case reversed.Currency != e.Amount.Currency || total.Currency != e.Amount.Currency:
		r.add("/reversal", "must be in the currency of the refund")
	case total.Micros < reversed.Micros:
		r.add("/reversal/total", "must count this reversal in")
	case total.Micros > e.Amount.Micros:
		r.add("/reversal/total", "must not exceed the refund")
	}
}
