package refund

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// Noticed is one delivery of a notice.
type Noticed struct {
	Notice schemas.Notice
	// Token names the delivery, as a claim's names a command's.
	Token string
	// Since is when the notice was first seen.
	Since time.Time
}

const (
	// strangeFloor and strangeMost bound the wait of a notice for what it refers to: seconds at first, because it may
	// merely have overtaken an event. strangeLimit is how long it waits before a person is asked.
	strangeFloor = 5 * time.Second
	strangeMost  = 10 * time.Minute
	strangeLimit = 24 * time.Hour
)

// Settle takes a notice to its end. It asks no provider and takes no lease: the condition of its append is all it needs.
func (p *Protocol) Settle(n Noticed) Ending {
	r := disposal{&run{Protocol: p, claim: Claim{Token: n.Token}, deadline: p.Clock.Now().Add(p.RecordGrace)}}
	r.Command.RequestID, r.Arrived = n.Notice.RefundRequestID, n.Since
	for {
		if err := r.read(); err != nil {
			return r.unreadNotice(err)
		}
		decision, reversal := decideNotice(r.Rules, n, r.refund, r.Clock.Now())
		if decision.Kind == "" {
			return r.endNotice(Ending{Decision: decision, Contradicted: decision.Reason == schemas.ReasonContradiction})
		}
		e := r.event(decision)
		if reversal != nil {
			e.Event.Reversal = reversal
			e.ID = e.Event.ID()
		}
		switch r.record(r.refund, e, r.deadline) {
		case recorded:
			return r.endNotice(Ending{Decision: decision, Stored: true})
		case unrecorded:
			return r.giveBack(giveBack, ErrLost)
		}
		// Somebody stored something first: it is judged by what is there now.
		if isOver(r.Clock.Now(), r.deadline) {
			return r.giveBack(giveBack, ErrNotDone)
		}
	}
}

// unreadNotice has a notice come again whose refund's events could not be read. One that cannot be read at all waits in a
// schedule.
func (r disposal) unreadNotice(err error) Ending {
	if !errors.Is(err, ErrUnreadable) {
		return r.giveBack(notReady, err)
	}
	return r.endNotice(Ending{Decision: Decision{Then: Later, Delay: brokenWait, Detail: err.Error()}, Unreadable: true})
}

// endNotice has the refund's schedule fire where the notice moved the refund or asks for a lookup, and ends the delivery.
func (r disposal) endNotice(e Ending) Ending {
	if e.Stored || e.Decision.Then == Later {
		_ = r.Carrier.Wake() // at its time it would find the same
	}
	if d := e.Decision; d.Then == Later {
		e.Became = Later
		err := r.Carrier.Schedule(Schedule{At: r.Clock.Now().Add(d.Delay), Arrived: r.Arrived})
		if err == nil {
			err = r.Carrier.Ack()
		}
		if err != nil {
			return r.giveBack(giveBack, err)
		}
		return e
	}
	return r.dispose(e)
}

// decideNotice judges a notice by the whole chain. A reversal's event is told beside the decision.
func decideNotice(rules Rules, n Noticed, refund ledger.Refund, now time.Time) (Decision, *schemas.Reversal) {
	switch first := refund.First; {
	case first == nil:
		return decideStrange(now.Sub(n.Since), "nothing is journalled about the refund"), nil
	case first.Provider != n.Notice.Provider:
		return Decision{Reason: schemas.ReasonInvalid, Then: Terminate,
			Detail: "/refundRequestId: the refund belongs to another provider"}, nil
	case n.Notice.Type == schemas.NoticeReversalType:
		return decideReversal(n, refund, now)
	}
	result := *n.Notice.Result
	if outcome := refund.Outcome; outcome != nil {
		switch {
		case outcome.Kind == result.Kind:
			return Decision{Then: Ack, Detail: "the outcome is journalled"}, nil
		case result.Kind == schemas.KindFailed && len(refund.Intents) > 1 && !isAboutAll(rules.Capabilities, refund):
			return Decision{Then: Ack, Detail: "it may be about an earlier attempt"}, nil
		}
		return contradicts(result.Kind, *outcome), nil
	}
	if result.Kind == schemas.KindFailed && !isAboutAll(rules.Capabilities, refund) {
		return decideStrange(now.Sub(n.Since), "it cannot be told which attempt failed"), nil
	}
	return Decision{Kind: result.Kind, Reason: result.Reason, FoundBy: schemas.FoundByNotice, Then: Ack,
		Result: providers.Result{ProviderRefundID: result.ProviderRefundID, Raw: result.ProviderResult}}, nil
}

// isAboutAll reports whether a failure that the provider reports says that no attempt will move money: there was one, or
// all had the same key and the provider takes nothing on again under it.
func isAboutAll(caps providers.Capabilities, refund ledger.Refund) bool {
	return len(refund.Intents) == 1 || len(refund.Intents) > 1 && caps.FailuresAreFinal && (refund.Deferrals == 0 || caps.OneKey)
}

func contradicts(k schemas.Kind, outcome schemas.Event) Decision {
	return Decision{Reason: schemas.ReasonContradiction, Then: Terminate,
		Detail: fmt.Sprintf("the notice says %s, but the refund is journalled as %s", k, outcome.Kind)}
}

// decideStrange has a notice wait for what it refers to, and at last asks a person.
func decideStrange(age time.Duration, detail string) Decision {
	if age > strangeLimit {
		return Decision{Reason: schemas.ReasonNotFound, Then: Terminate, Detail: detail + " for " + strangeLimit.String()}
	}
	return Decision{Then: Later, Delay: min(max(age, strangeFloor), strangeMost), Detail: detail}
}

// decideReversal adds a reversal to all those before it, wherever they stand in the chain.
func decideReversal(n Noticed, refund ledger.Refund, now time.Time) (Decision, *schemas.Reversal) {
	switch outcome := refund.Outcome; {
	case outcome == nil:
		return decideStrange(now.Sub(n.Since), "the refund has not succeeded yet"), nil
	case !moved(outcome.Kind):
		return Decision{Reason: schemas.ReasonContradiction, Then: Terminate,
			Detail: "the notice says that money came back, but the refund is journalled as failed"}, nil
	}
	invalid := func(detail string) (Decision, *schemas.Reversal) {
		return Decision{Reason: schemas.ReasonInvalid, Then: Terminate, Detail: "/reversal/amount: " + detail}, nil
	}
	amount, whole := n.Notice.Reversal.Amount, *refund.First.Amount
	if amount.Currency != whole.Currency {
		return invalid("must be in the refund's currency, " + string(whole.Currency))
	}
	same := func(b schemas.Reversal) bool { return b.NoticeID == n.Notice.NoticeID }
	if i := slices.IndexFunc(refund.Reversals, same); i >= 0 {
		if refund.Reversals[i].Amount.Equal(amount) {
			return Decision{Then: Ack, Detail: "the reversal is journalled"}, nil
		}
		return Decision{Reason: schemas.ReasonContradiction, Then: Terminate, Detail: fmt.Sprintf(
			"the notice says that %s came back, but under its id %s are journalled", amount, refund.Reversals[i].Amount)}, nil
	}
	total := amount
	if n := len(refund.Reversals); n > 0 { // its total counts those in that have aged out, too
		var err error
		if total, err = total.Add(refund.Reversals[n-1].Total); err != nil {
			return invalid("is too large")
		}
	}
	if total.Micros > whole.Micros {
		return invalid(fmt.Sprintf("%s would have come back of a refund of %s", total, whole))
	}
	return Decision{Kind: schemas.KindReversed, Then: Ack, Detail: "journalled as " + string(schemas.KindReversed)},
		&schemas.Reversal{NoticeID: n.Notice.NoticeID, Amount: amount, Total: total,
			RawResult: json.RawMessage(n.Notice.Reversal.RawResult)}
}
