package bbmsl

import (
	"errors"

	"refundworker/providers"
	"refundworker/schemas"
)

// This file decides; it makes no calls.

var errUnclear = errors.New("the order does not tell what became of the refund")

// whole tells whether a refund is for all of an order.
func whole(s state, amount schemas.Money) bool {
	return s.Currency == amount.Currency && s.Amount == amount.Micros
}

// shows tells whether an order shows a refund of this amount, and whether it can tell. The direct model may
// answer REFUNDED without a rest: then only a refund of the whole order is believed, because BBMSL takes one
// refund of an order and whose part it was cannot be seen.
func shows(s state, amount schemas.Money) (ours, known bool) {
	gone, known := s.refunded()
	if !known {
		return whole(s, amount), whole(s, amount)
	}
	return s.Currency == amount.Currency && gone == amount.Micros, gone > 0
}

// closed decides what an order that takes no refund means for this one; open is true when it takes one. With
// an earlier attempt, a refund of exactly our amount is that attempt, arrived late. Without one it is
// somebody else's.
func closed(s state, amount schemas.Money, earlier bool) (res providers.Result, open bool, err error) {
	declined := providers.Result{Status: providers.Declined, Reason: schemas.ReasonAlreadyRefunded, Raw: shown(s)}
	switch s.stage() {
	case neverPaid:
		declined.Reason = schemas.ReasonNotRefundable
		return declined, false, nil
	case voidedStage:
		if earlier && whole(s, amount) {
			return providers.Result{Status: providers.Cancelled, Raw: shown(s)}, false, nil
		}
		return declined, false, nil
	case refundedStage:
		ours, known := shows(s, amount)
		switch {
		case !earlier:
			return declined, false, nil
		case !known:
			return providers.Result{}, false, errUnclear
		case ours:
			return providers.Result{Status: providers.Succeeded, Raw: shown(s)}, false, nil
		}
		return declined, false, nil
	case unsettled, settled:
		return providers.Result{}, true, nil
	}
	return providers.Result{}, false, errUnclear
}

// fits declines what an open order can never serve. A currency other than the order's is an outcome, not a
// rejection: the command is well formed, and an outcome closes its requestId for good.
func fits(s state, amount schemas.Money) providers.Result {
	limit := s.Amount
	if s.Net != nil {
		limit = *s.Net
	}
	declined := providers.Result{Status: providers.Declined, Raw: shown(s)}
	switch {
	case s.Currency != amount.Currency:
		declined.Reason = schemas.ReasonNotRefundable
	case amount.Micros > limit:
		declined.Reason = schemas.ReasonExceedsRemaining
	default:
		return providers.Result{}
	}
	return declined
}

// choose picks the call for an open order. Before settlement only the whole order can be given back, by void;
// less than that has to wait.
func (c Config) choose(s state, amount schemas.Money) (operation, providers.Result) {
	switch {
	case s.stage() != unsettled || !c.VoidUnsettled:
		return opRefund, providers.Result{}
	case whole(s, amount):
		return opVoid, providers.Result{}
	}
	return "", providers.Result{Status: providers.NotNow, Reason: schemas.ReasonDayEnd, Raw: shown(s)}
}

// afterRefusal classifies a refusal by the order's state. An untouched order may take the refund later: an
// unsettled one after settlement, a settled one when the account holds enough money again. An order that was
// settled just before its void takes a refund at once.
func (at attempt) afterRefusal(s state) (providers.Result, error) {
	res, open, err := closed(s, at.request.Amount, at.request.Attempt > 1)
	if err != nil || !open {
		return res, err
	}
	res = providers.Result{Status: providers.NotNow, Reason: schemas.ReasonInsufficientBalance}
	switch {
	case s.stage() == unsettled:
		res.Reason = schemas.ReasonDayEnd
	case at.op == opVoid:
		res.Reason = schemas.ReasonProviderBusy
	}
	return res, nil
}

// confirm settles an answer that said yes without saying to what.
func confirm(op operation, s state, amount schemas.Money) (providers.Result, error) {
	ours, known := shows(s, amount)
	switch {
	case op == opVoid && s.stage() == voidedStage:
		return providers.Result{Status: providers.Cancelled}, nil
	case op == opRefund && s.stage() == refundedStage && known && ours:
		return providers.Result{Status: providers.Succeeded}, nil
	}
	return providers.Result{}, errUnclear
}

// find compares an order with its state before the first attempt.
func find(before *state, now state, amount schemas.Money) (providers.Finding, error) {
	other := func(detail string) (providers.Finding, error) {
		return providers.Finding{Kind: providers.Contradiction, Detail: detail + "; order status " + cleanCode(text(now.Status)),
			Result: providers.Result{Raw: shown(now)}}, nil
	}
	found := func(status providers.Status) (providers.Finding, error) {
		return providers.Finding{Kind: providers.Found, Result: providers.Result{Status: status, Raw: shown(now)}}, nil
	}
	if now.Currency != amount.Currency {
		return other("the order has another currency")
	}
	touched := before != nil && (before.stage() == refundedStage || before.stage() == voidedStage)
	switch now.stage() {
	case neverPaid:
		return other("the order was never paid")
	case voidedStage:
		if before == nil || touched || !whole(now, amount) {
			return other("the order was voided, and not by this refund")
		}
		return found(providers.Cancelled)
	case refundedStage:
		ours, known := shows(now, amount)
		switch {
		case touched || !known || !ours:
			return other("the order was refunded, and not recognisably by this refund")
		case now.Status != "REFUNDED" && (before == nil || before.Net == nil):
			return other("the order has a smaller rest, and nothing to compare it with")
		}
		return found(providers.Succeeded)
	case settled, unsettled:
		return providers.Finding{Kind: providers.NotFound, Detail: "order status " + cleanCode(text(now.Status))}, nil
	}
	return providers.Finding{}, errUnclear
}
