package craftgate

import (
	"cmp"
	"errors"
	"slices"

	"refundworker/providers"
	"refundworker/schemas"
)

// This file decides what a payment and the refunds listed under our conversation id mean; it makes no calls.

// shown is what Craftgate's report of the payment says.
func (s state) shown() *schemas.ProviderResult {
	return &schemas.ProviderResult{Scope: scopePayment, Code: cleanCode(text(s.Refund))}
}

// prepared decides, before a call, whether there is one to make.
func (a ask) prepared(op string, s sight) (providers.Result, error) {
	if a.earlier() {
		return a.overtaken(op, s)
	}
	// No call of ours can have taken effect, yet a refund bears our name. The requestId was used twice, or a "no" was none.
	if live := s.live(); len(live) > 0 {
		return a.result(providers.Conflicting, live), nil
	}
	res, problems := a.fits(s)
	if len(problems) > 0 {
		return providers.Result{}, &providers.Error{Kind: providers.Invalid, Op: op, Problems: problems,
			Err: errors.New("the command cannot be served")}
	}
	return res, nil
}

// overtaken decides what may be concluded while an earlier call may have taken effect: only what is listed as ours. Any
// other change may still be our own doing, and is left to a lookup.
func (a ask) overtaken(op string, s sight) (providers.Result, error) {
	f, err := a.find(s)
	if err != nil {
		return providers.Result{}, unknown(op, err)
	}
	switch f.Kind {
	case providers.Found:
		return f.Result, nil
	case providers.NotFound:
		if res, problems := a.fits(s); res.Status == providers.NoResult && len(problems) == 0 {
			return providers.Result{}, nil
		}
	}
	return providers.Result{}, unknown(op, errors.New("the payment takes no refund, and an earlier call may be why: "+f.Detail))
}

// live are the refunds that did not fail, as far as can be read.
func (s sight) live() []record {
	return slices.DeleteFunc(slices.Concat(s.refunds, s.parts), record.failed)
}

// fits declines what the payment can never serve. A whole payment is refunded without naming an amount, so anything but
// all that is left is refused before the call.
func (a ask) fits(s sight) (providers.Result, []schemas.Problem) {
	limit := s.Rest
	if s.ItemRest != nil {
		limit = min(limit, *s.ItemRest)
	}
	declined := providers.Result{Status: providers.Declined, Raw: s.shown()}
	switch {
	case s.stranger:
		declined.Reason = schemas.ReasonNotFound
	case s.Currency != a.amount.Currency, s.Payment != paymentSuccessful, s.Refund == noRefund:
		declined.Reason = schemas.ReasonNotRefundable
	case s.Refund == fullyRefunded, limit == 0:
		declined.Reason = schemas.ReasonAlreadyRefunded
	case a.amount.Micros > limit:
		declined.Reason = schemas.ReasonExceedsRemaining
	case a.whole() && a.amount.Micros != limit:
		return providers.Result{}, problem("/amount", "must equal what is left of the payment, or name options.paymentTransactionId")
	default:
		return providers.Result{}, nil
	}
	return declined, nil
}

// find compares what is shown with the payment before the first attempt.
func (a ask) find(s sight) (providers.Finding, error) {
	f, err := a.ours(s)
	if err != nil || f.Kind != providers.NoFinding {
		return f, err
	}
	switch change := a.changed(s); {
	case change != "" && f.Detail != "":
		// What is listed as failed by now may still have held its amount when the payment was read.
		return tooEarly(f.Detail + "; " + change), nil
	case change != "":
		return providers.Finding{Kind: providers.Contradiction, Detail: change, Result: providers.Result{Raw: s.shown()}}, nil
	}
	f.Kind = providers.NotFound
	return f, nil
}

// ours judges the refunds that bear our name; NoFinding when none of them tells what became of ours, with a Detail when some
// of them failed.
func (a ask) ours(s sight) (providers.Finding, error) {
	refunds, err := a.tally(s.refunds)
	if err != nil {
		return providers.Finding{}, err
	}
	parts, err := a.tally(s.parts)
	if err != nil {
		return providers.Finding{}, err
	}
	if f, err := a.torn(s.refunds); err != nil || f.Kind != providers.NoFinding {
		return f, err
	}
	switch {
	case len(refunds.live) > 0:
		return a.asOne(s, refunds, parts), nil
	case len(parts.live) > 0:
		return a.asParts(s, parts), nil
	}
	return a.failed(refunds, parts), nil
}

// torn finds a refund that is listed with parts that do not agree, whatever the status over them says.
func (a ask) torn(refunds []record) (providers.Finding, error) {
	for _, r := range refunds {
		switch {
		case len(r.Parts) == 0, r.failed():
			continue
		case !a.whole():
			return a.notAsked(r), nil
		}
		res, _, err := a.judgeParts(r)
		if err != nil {
			return providers.Finding{}, err
		}
		if res.Status == providers.Partial {
			return providers.Finding{Kind: providers.Found, Result: res}, nil
		}
	}
	return providers.Finding{}, nil
}

func (a ask) found(s providers.Status, of []record) providers.Finding {
	return providers.Finding{Kind: providers.Found, Result: a.result(s, of)}
}

// notAsked is a refund under our name that is not the one we asked for: twice the money, or another amount.
func (a ask) notAsked(of ...record) providers.Finding {
	return providers.Finding{Kind: providers.Contradiction, Result: a.result(providers.Conflicting, of),
		Detail: "under our conversation id there is what was not asked for: " + a.eachOf(of)}
}

// asOne judges a refund of the payment as a whole. Only a cancel has an id of its own there; should a report list a
// refund as well, its parts are the same money, and its own word for them is not enough: they tell, or the payment does.
func (a ask) asOne(s sight, refunds, parts tally) providers.Finding {
	r := refunds.live[0]
	refund := r.RefundType == typeRefund || r.RefundType == "" && len(r.Parts) > 0
	switch {
	case !a.whole(), len(refunds.live) > 1, plus(refunds.done, refunds.waiting) != a.amount.Micros,
		len(parts.live) > 0 && !refund:
		return a.notAsked(slices.Concat(refunds.live, parts.live)...)
	case len(parts.live) > 0:
		return a.asParts(s, parts)
	case r.Status == statusWaiting:
		return a.found(providers.Acknowledged, refunds.live)
	case !refund:
		return a.found(providers.Cancelled, refunds.live)
	case len(parts.all) > 0:
		return a.found(providers.Partial, slices.Concat(refunds.live, parts.all))
	case len(r.Parts) == 0 && s.Refund != fullyRefunded:
		return tooEarly("listed without its parts, of a payment that is not refunded in full: " + a.eachOf(refunds.live))
	}
	return a.found(providers.Succeeded, refunds.live)
}

// asParts judges refunds of items: the one that was asked for, or those that a whole payment was split into. Those are too
// few when a part failed, or when less was left than asked for by the time the call arrived.
func (a ask) asParts(s sight, t tally) providers.Finding {
	total, asked := plus(t.done, t.waiting), a.amount.Micros
	switch {
	case total > asked, !a.whole() && (len(t.live) > 1 || total != asked):
		return a.notAsked(t.live...)
	case total == asked && t.waiting == 0:
		return a.found(providers.Succeeded, t.live)
	case total == asked:
		return a.found(providers.Acknowledged, t.live)
	case t.waiting == 0 && (plus(t.done, t.failed) >= asked || s.Refund == fullyRefunded):
		return a.found(providers.Partial, t.all)
	}
	return tooEarly("only a part of the refund is listed: " + a.eachOf(t.all))
}

// failed judges refunds that all failed. A cause that leaves the bank's side open ends no doubt at all. The refund whose end
// is awaited speaks for itself. Without one, a listed failure proves nothing about a call that is not listed yet, so failures
// are believed only when there is one for every call. Otherwise nothing is found, and the repeat under the same key brings
// Craftgate's own word.
func (a ask) failed(refunds, parts tally) providers.Finding {
	all := slices.Concat(refunds.all, parts.all)
	if i := slices.IndexFunc(all, func(r record) bool { return r.failure().group().Class == InDoubt }); i >= 0 {
		return tooEarly("listed as failed, but the bank may have refunded: " + all[i].failure().name())
	}
	switch {
	case a.taken != "":
		return a.ended(all)
	case len(all) == 0:
		return providers.Finding{}
	}
	cause := slices.MaxFunc(all, func(x, y record) int {
		return cmp.Compare(x.failure().group().Class, y.failure().group().Class)
	}).failure()
	if calls := max(refunds.failed, parts.failed) / a.amount.Micros; calls < int64(max(a.attempts, 1)) {
		return providers.Finding{Detail: "listed as failed, but not for every call: " + cause.name()}
	}
	return refused(cause)
}

// ended judges the refund that was taken on by its own failure, however many calls there were before it.
func (a ask) ended(failed []record) providers.Finding {
	i := slices.IndexFunc(failed, func(r record) bool { return string(r.ID) == a.taken })
	if i < 0 {
		return tooEarly("the refund that was taken on is not listed")
	}
	f := refused(failed[i].failure())
	switch f.Result.Status {
	case providers.NotNow:
		f.Kind = providers.NotFound
	case providers.NoResult:
		f.Kind = providers.TooEarly
	}
	return f
}

// refused is what a failure says of the refund. A final no was found. A no for now is NotFound that carries NotNow, which
// means two things: of a refund in doubt, that no call took effect and the next one may be made; of a refund that was taken
// on, that it came to nothing and is deferred as if the call itself had been answered so.
func refused(cause refusal) providers.Finding {
	f := providers.Finding{Detail: "listed as failed: " + cause.name(), Result: cause.result()}
	if f.Result.Status == providers.Declined {
		f.Kind = providers.Found
	}
	return f
}

func tooEarly(detail string) providers.Finding {
	return providers.Finding{Kind: providers.TooEarly, Detail: detail}
}

// changed tells what is different about a payment that shows none of our refunds; empty when nothing is. What is left of
// the item tells more than what is left of the payment, where somebody else may have refunded another item.
func (a ask) changed(s sight) string {
	now, before := s.state, a.before
	switch {
	case s.stranger:
		return "the item is not one of the payment's"
	case now.Currency != a.amount.Currency:
		return "the payment has another currency"
	case now.Payment != paymentSuccessful, now.Refund == noRefund:
		return "the payment is not successful"
	case before == nil && now.Refund != notRefunded:
		return "the payment was refunded, and there is nothing to compare it with"
	case before == nil:
		return ""
	case now.Refund == fullyRefunded && before.Refund != fullyRefunded:
		return "the payment was refunded in full, and not recognisably by this refund"
	case now.ItemRest != nil && before.ItemRest != nil:
		if *now.ItemRest != *before.ItemRest {
			return "what is left of the item changed, and not recognisably by this refund"
		}
	case now.Rest != before.Rest:
		return "what is left of the payment changed, and not recognisably by this refund"
	}
	return ""
}
