package bbmsl

import (
	"context"
	"errors"
	"fmt"

	"refundworker/providers"
)

// attempt is one refund or void that was answered.
type attempt struct {
	request providers.Request
	handle  orderHandle
	op      operation
}

// conclude turns an answer into a result. Whatever is not a plain yes is decided by the order; when the order
// cannot be read, nobody knows.
func (p *Provider) conclude(ctx context.Context, at attempt, a answer) (providers.Result, error) {
	var (
		amount = at.request.Amount
		rep    = replyOf(at.op, a)
	)
	if rep == accepted {
		if err := at.matches(a); err != nil {
			return providers.Result{}, unknown(string(at.op), err)
		}
		return at.done(a), nil
	}
	now, err := p.query(ctx, at.handle)
	if err != nil {
		return providers.Result{}, unknown(string(at.op), fmt.Errorf("answered with code %s, and then: %w", cleanCode(a.ResponseCode), err))
	}
	var res providers.Result
	if rep == refused {
		res, err = at.afterRefusal(now)
	} else {
		res, err = confirm(at.op, now, amount)
	}
	if err != nil {
		return providers.Result{}, unknown(string(at.op), fmt.Errorf("answered with code %s: %w", cleanCode(a.ResponseCode), err))
	}
	res.Raw = said(a)
	return res, nil
}

// matches holds a yes against what was asked: the same order, and, for a refund, the same amount.
func (at attempt) matches(a answer) error {
	if a.Order != nil && !a.Order.about(at.handle) {
		return errors.New("the answer is about another order")
	}
	t, amount := a.Transaction, at.request.Amount
	if t.Currency != "" && string(t.Currency) != string(amount.Currency) {
		return errors.New("the answer has another currency")
	}
	if t.Amount == "" {
		return nil
	}
	s := state{Currency: amount.Currency}
	if micros, err := s.micros("transaction amount", t.Amount); err != nil || micros != amount.Micros {
		return errors.New("the answer has another amount")
	}
	return nil
}

// done is the result of an accepted call.
func (at attempt) done(a answer) providers.Result {
	res := providers.Result{Status: providers.Succeeded, Raw: said(a)}
	if at.op == opVoid {
		res.Status = providers.Cancelled
	}
	if id := string(a.Transaction.ID); shortCode.MatchString(id) {
		res.ProviderRefundID = id
	}
	return res
}
