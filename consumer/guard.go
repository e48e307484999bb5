package consumer

import (
	"context"
	"errors"
	"time"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// The payment's guard: an intent asks the payment for the refund's share, the journal's order decides who gets it, and no
// call leaves before the own intent is applied and was granted. So no payment is refunded above what was captured,
// whoever asks at the same time and whatever Redis forgets. A look before the intent spares what would be denied.

// lookAhead reads what the payment has left, in the round trip of the claim that follows. The function that it returns
// waits for it.
func (p *processor) lookAhead(ctx context.Context, d *delivery) func() error {
	done := make(chan error, 1)
	go func() {
		var err error
		d.payment, err = p.store.LookPayment(ctx, p.in.Name, d.command.Payment.Reference)
		done <- err
	}()
	return func() error { return <-done }
}

// sole tells whether only one refund of a payment may run.
func (p *processor) sole() bool { return p.caps.Concurrent != providers.Unbounded }

// asked is the refund as its payment is asked for it.
func (p *processor) asked(d *delivery) ledger.Asked {
	return ledger.Asked{ID: d.command.RequestID, Amount: d.command.Amount, Captured: d.command.Payment.Amount,
		Sole: p.sole()}
}

// hold is what the next intent asks of its payment; nil where nothing bounds the refunds.
func (p *processor) hold(d *delivery) *ledger.Hold {
	_, bound := d.payment.Captured()
	pace := p.pace(d)
	switch {
	case p.sole():
		return &ledger.Hold{Kind: ledger.SoleHold, LookedAt: d.payment.At, Velocity: pace}
	case bound, d.command.Payment.Amount != nil, pace != nil:
		return &ledger.Hold{Kind: ledger.ShareHold, Velocity: pace}
	}
	return nil
}

// lookAtPayment spares an intent that the guard would deny; it reports false when the attempt goes on.
func (p *processor) lookAtPayment(ctx context.Context, d *delivery) (Decision, bool) {
	verdict, err := p.judge(ctx, d)
	if err != nil {
		return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Round: d.round, Detail: err.Error()}, true
	}
	once := p.caps.Concurrent == providers.OneEver && d.payment.Once() && !d.payment.Holds(d.command.RequestID)
	if verdict == ledger.Fits && !once {
		return Decision{}, false
	}
	if err := p.stillUnsettled(ctx, d, d.payment); err != nil {
		return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Round: d.round, Detail: err.Error()}, true
	}
	if once && verdict != ledger.Contradicts {
		return decideRefunded(p.situation(d)), true
	}
	return decideNoRoom(p.situation(d), verdict), true
}

// judge asks what the payment has left for the refund. The refund is what its first intent said: another captured amount
// in a later copy of its command says nothing.
func (p *processor) judge(ctx context.Context, d *delivery) (ledger.Verdict, error) {
	verdict := d.payment.Judge(p.asked(d))
	if verdict != ledger.Contradicts || d.claim.Answer == idempotency.Fresh {
		return verdict, nil
	}
	if err := p.readHistory(ctx, d); err != nil {
		return verdict, err
	}
	if captured, _ := d.payment.Captured(); d.history.Captured == nil || d.history.Captured.Equal(captured) {
		d.command.Payment.Amount = &captured
		verdict = d.payment.Judge(p.asked(d))
	}
	return verdict, nil
}

// passGuard waits until the own intent, at seq, is applied and tells whether it was granted what it asked for.
func (p *processor) passGuard(ctx context.Context, d *delivery, hold *ledger.Hold, seq uint64) (Decision, bool) {
	if hold != nil {
		began := time.Now()
		look, err := p.awaitPayment(ctx, d, seq)
		if err != nil {
			return p.situation(d).undo(scheduleFloor, err.Error()), true
		}
		p.obs.waited(ctx, p.in.Name, began)
		if !look.Granted(d.command.RequestID, seq) {
			return p.denied(ctx, d, look), true
		}
	}
	s := p.situation(d)
	if err := p.mayCall(); err != nil {
		return s.undo(scheduleFloor, err.Error()), true
	}
	if s.expired() || !p.fits(d) {
		return s.undo(scheduleFloor, "too late for a call"), true
	}
	return Decision{}, false
}

// denied tells what becomes of a refund whose intent did not get its hold: no call follows it.
func (p *processor) denied(ctx context.Context, d *delivery, look idempotency.PaymentLook) Decision {
	s := p.situation(d)
	if err := p.stillUnsettled(ctx, d, look); err != nil {
		return s.undo(scheduleFloor, err.Error())
	}
	verdict := look.Judge(p.asked(d))
	switch {
	case !s.clean():
		return s.undoHeld("the payment has no room while an attempt is in doubt")
	case verdict == ledger.Exceeds, verdict == ledger.Contradicts:
		return exceeds(verdict)
	case verdict == ledger.Held:
		return s.undoHeld("another refund of the payment was first")
	}
	if p.stopped(ctx) {
		return s.undo(scheduleFloor, "the provider is stopped")
	}
	return s.undo(scheduleFloor, "the payment changed since it was looked at")
}

// undoHeld ends an attempt that was not let through because of other refunds.
func (s situation) undoHeld(detail string) Decision {
	d := s.undo(heldDelay(s), detail)
	d.Round = heldRound(s)
	return d
}

// awaitPayment waits only as long as a call, or giving the lease back, is still possible afterwards.
func (p *processor) awaitPayment(ctx context.Context, d *delivery, seq uint64) (idempotency.PaymentLook, error) {
	ctx, cancel := context.WithDeadline(ctx, p.lastCall(d))
	defer cancel()
	return p.store.AwaitPayment(ctx, p.in.Name, d.command.Payment.Reference, seq)
}

// wasGranted tells whether the refund, which is in doubt, ever got the hold of its payment.
func (p *processor) wasGranted(ctx context.Context, d *delivery) (bool, error) {
	look, err := p.awaitPayment(ctx, d, d.claim.Record.Last)
	if err == nil && !look.Known() {
		err = errPaymentLost
	}
	if err != nil || look.Holds(d.command.RequestID) {
		return true, err
	}
	return false, p.stillUnsettled(ctx, d, look)
}

// stillUnsettled returns an error when the refund was settled since it was claimed, or that cannot be told: its own outcome
// leaves no hold and less room.
func (p *processor) stillUnsettled(ctx context.Context, d *delivery, look idempotency.PaymentLook) error {
	if look.Ended() <= d.claim.Pos { // no refund of the payment ended since
		return nil
	}
	record, pos, err := p.store.Look(ctx, d.command.RequestID)
	if err == nil && (pos < look.Ended() || record.State.Settled()) {
		err = errEnded
	}
	return err
}

// errPaymentLost says that Redis knows nothing of a payment whose hold was asked for. That is no answer.
var errPaymentLost = errors.New("the payment's hold is not there to be read")

// errEnded says that the refund, or maybe the refund, was settled since it was claimed. The next claim knows.
var errEnded = errors.New("a refund of the payment just ended")

// decideNoRoom turns a look at the payment into what becomes of the refund, before anything is journalled for it.
func decideNoRoom(s situation, v ledger.Verdict) Decision {
	switch {
	case v == ledger.Held, !s.clean():
		return Decision{Release: Abandon, Then: Later, Delay: heldDelay(s), Round: heldRound(s),
			Detail: "another refund of the payment is at work"}
	case v == ledger.Contradicts && s.claim.Answer == idempotency.Fresh:
		return refuse(schemas.ReasonInvalid, []schemas.Problem{{Pointer: "/payment/amount",
			Rule: "must be the captured amount that the payment's first command named"}})
	}
	return exceeds(v)
}

// exceeds fails a refund that the payment has no room for. A smaller one may fit.
func exceeds(v ledger.Verdict) Decision {
	d := Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonExceedsRemaining, FoundBy: schemas.FoundByCall, Then: Ack,
		Detail: "the payment's captured amount leaves less than this refund"}
	if v == ledger.Contradicts {
		d.Detail = "the command names another captured amount than the payment's first command did"
	}
	return d
}

// decideRefunded settles a refund of a payment that takes one ever and has had it.
func decideRefunded(s situation) Decision {
	if !s.clean() {
		return decideNoRoom(s, ledger.Held)
	}
	return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonAlreadyRefunded, FoundBy: schemas.FoundByCall, Then: Ack,
		Detail: "a refund of the payment has succeeded, and the provider takes no other"}
}

// heldMost bounds the wait for a payment that other refunds hold: they may be at it for seconds or for days, and a look
// costs next to nothing.
const heldMost = time.Minute

// heldRound is the round after such a wait. It counts no further than the waits grow: preparations that fail are counted
// by it, too, and those are given up at some time.
func heldRound(s situation) int { return max(s.round, min(s.round+1, 5, s.maxAttempts-1)) }

// heldDelay spaces out looks at such a payment, and those who look apart from each other.
func heldDelay(s situation) time.Duration {
	delay := min(scheduleFloor<<min(s.round, 10), heldMost)
	return delay + time.Duration(s.spread*float64(delay)/2)
}
