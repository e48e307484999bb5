package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refundworker/consumer/refund"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// payments is what the journal's order makes of the refunds of a payment, as the projection has it.
type payments struct{ *delivery }

// Look is part of refund.Payments. While the projection cannot be relied on, every refund waits that something may bound: its
// command, its provider, the settings, or another refund of its payment. Where no refund of the instance has ever named what was
// captured, nothing does, and it goes on.
func (p *payments) Look(a ledger.Asked) (refund.Room, error) {
	look, err := p.store.LookPayment(p.ctx, p.in.Name, p.command.Payment.Reference)
	if errors.Is(err, idempotency.ErrNotReady) && a.Captured == nil && !p.judgesAll() {
		return refund.Room{Verdict: ledger.Fits}, nil
	}
	if err != nil {
		return refund.Room{}, noAnswer(err)
	}
	if a.Captured != nil { // its intent is about to say so
		p.bound.Store(true)
	}
	pace := p.pace(look)
	room := refund.Room{Verdict: look.Judge(a),
		Spent: p.caps.Concurrent == providers.OneEver && look.Once() && !look.Holds(a.ID)}
	_, bound := look.Captured()
	switch {
	case a.Sole:
		room.Hold = &ledger.Hold{Kind: ledger.SoleHold, Rules: ledger.GuardRules, LookedAt: look.At, First: !look.Known(), Velocity: pace}
	case bound, a.Captured != nil, pace != nil:
		room.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules, First: !look.Known(), Velocity: pace}
	}
	if !p.cfg.IgnoreSameAmount {
		room.Rival, err = p.rival(look, a)
	}
	return room, err
}

// rival is another refund of the payment, of the same amount, that is in doubt.
func (p *payments) rival(look idempotency.PaymentLook, a ledger.Asked) (schemas.RequestID, error) {
	for _, id := range look.SameAmount(a) {
		open, err := p.store.IsInDoubt(p.ctx, id)
		if err != nil {
			return "", noAnswer(err)
		}
		if open {
			return id, nil
		}
	}
	return "", nil
}

// Await is part of refund.Payments.
func (p *payments) Await(a ledger.Asked, seq uint64, until time.Time) (refund.Grant, error) {
	began := time.Now()
	ctx, cancel := context.WithDeadline(p.ctx, until)
	defer cancel()
	look, err := p.store.AwaitPayment(ctx, p.in.Name, p.command.Payment.Reference, seq)
	if err == nil && !look.Known() { // an intent for it is journalled, so Redis has lost it
		err = errors.New("the payment's hold is not there to be read")
	}
	if err != nil {
		return refund.Grant{}, fmt.Errorf("%w: %w", refund.ErrNoAnswer, err)
	}
	p.obs.waited(p.ctx, p.in.Name, began)
	return refund.Grant{Since: look.Since(a.ID), Sure: look.Whole(), Verdict: look.Judge(a)}, nil
}
