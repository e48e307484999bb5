package craftgate

import (
	"context"
	"errors"
	"fmt"

	"refundworker/providers"
)

// conclude turns Craftgate's answer to a refund call into a result. A no is believed at once only to a first call: to a
// later one, what is listed may show that an earlier one was a yes.
func (p *Provider) conclude(ctx context.Context, a ask, answer reply) (providers.Result, error) {
	no := answer.refusal
	if no == nil {
		res, cause, err := a.judge(answer.data)
		if err != nil {
			return providers.Result{}, unknown(opRefund, err)
		}
		if cause == nil {
			return res, nil
		}
		no = cause
	}
	res := no.result()
	switch {
	case no.malformed() && !no.booked:
		return providers.Result{}, &providers.Error{Kind: providers.Invalid, Op: opRefund,
			Err: fmt.Errorf("the request was refused with code %s", no.name())}
	case res.Status != providers.NoResult && a.attempts <= 1:
		return res, nil
	case res.Status == providers.NoResult && no.group().Class != LookFirst:
		return providers.Result{}, unknown(opRefund, fmt.Errorf("answered with %s", no.name()))
	}
	s, err := p.survey(ctx, opRefund, a)
	if err == nil {
		res, err = a.afterRefusal(s, *no)
	}
	if err != nil {
		return providers.Result{}, unknown(opRefund, fmt.Errorf("answered with %s, and then: %w", no.name(), err))
	}
	return res, nil
}

// afterRefusal decides a refusal by what is listed and by what is left.
func (a ask) afterRefusal(s sight, no refusal) (providers.Result, error) {
	f, err := a.ours(s)
	switch {
	case err != nil:
		return providers.Result{}, err
	case f.Kind == providers.Found && f.Result.Status != providers.Declined:
		return f.Result, nil
	case f.Kind == providers.TooEarly, f.Kind == providers.Contradiction:
		return providers.Result{}, errors.New(f.Detail)
	}
	if change := a.changed(s); a.attempts > 1 && change != "" {
		return providers.Result{}, errors.New(change)
	}
	if res := no.result(); res.Status != providers.NoResult {
		return res, nil
	}
	if res, _ := a.fits(s); res.Status == providers.Declined {
		res.Raw = no.said()
		return res, nil
	}
	return providers.Result{}, errors.New("the payment still has enough left")
}
