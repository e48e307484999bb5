package consumer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/idempotency"
	"refundworker/schemas"
)

// outgoing is an event and the message that carries it.
type outgoing struct {
	event schemas.Event
	msg   *nats.Msg
	// after, when set, is the sequence that must still be the last under the event's subject.
	after *uint64
}

const (
	publishPause    = 200 * time.Millisecond
	publishPauseMax = 5 * time.Second
	// giveBack is the delay of a delivery whose ending could not be stored.
	giveBack = 5 * time.Second
)

// errContradiction means that another event than ours is journalled under our event's id.
var errContradiction = errors.New("another outcome is journalled already")

func (p *processor) outgoing(e schemas.Event, h entryHeaders) (*outgoing, error) {
	msg, err := p.journal.message(e, h)
	return &outgoing{event: e, msg: msg}, err
}

// about is an event of the delivery's refund.
func (d *delivery) about(k schemas.Kind) schemas.Event {
	if d.stated != nil {
		return d.stated.After(k, time.Now())
	}
	return schemas.NewEvent(k, d.command, time.Now())
}

// send publishes an event. A sequence that is not above every one known before tells that the journal went
// backwards: that stops the worker.
func (p *processor) send(ctx context.Context, d *delivery, out *outgoing) (written, error) {
	known := max(p.store.Gate().Highest(), d.claim.Pos)
	ctx, end := p.obs.sending(ctx, out)
	w, err := p.journal.put(ctx, out)
	if err == nil && !w.Duplicate && w.Seq <= known {
		err = fmt.Errorf("%w: %d, with %d known", errJournalBackwards, w.Seq, known)
		p.fatal(&idempotency.JournalError{Found: err.Error(), Position: known})
	}
	end(err)
	if full(err) && p.store.Gate().Refused() {
		p.obs.log.ErrorContext(ctx, "the event stream refuses events", "error", err.Error())
	}
	if err != nil || w.Duplicate {
		return w, err
	}
	p.store.Gate().Saw(w.Seq)
	if out.event.Kind != schemas.KindRejected { // which is no part of the refund's chain
		d.previous = w.Seq
	}
	p.obs.published(ctx, out.event)
	return w, nil
}

// finish does what was decided: journal, release, dispose, in this order. Each step is safe to repeat, so
// whatever fails gives the delivery back. It returns what really became of the message.
func (p *processor) finish(ctx context.Context, d *delivery, decision Decision) Disposition {
	decision, err := p.yield(ctx, d, decision)
	if err != nil {
		p.obs.log.WarnContext(ctx, "schedule not read, delivery given back", "requestId", string(d.command.RequestID),
			"error", err.Error())
		return p.nak(ctx, d, giveBack)
	}
	if err := p.record(ctx, d, decision); errors.Is(err, errContradiction) {
		decision.Then, decision.Detail = Terminate, err.Error()
		decision.Reason = schemas.ReasonContradiction
		p.obs.log.ErrorContext(ctx, "contradicting outcome, nothing overwritten", "requestId", string(d.command.RequestID))
	} else if err != nil {
		p.obs.log.WarnContext(ctx, "event not stored, delivery given back", "requestId", string(d.command.RequestID),
			"error", err.Error())
		return p.nak(ctx, d, giveBack)
	}
	p.release(ctx, d, decision)
	became := p.dispose(ctx, d, decision)
	if decision.Kind == schemas.KindAcknowledged && became == Later {
		p.wakeSettled(ctx, d)
	}
	return became
}

// wakeSettled has the schedule of a refund fire that a notice settled before the schedule was there. Best effort: it would
// find the refund settled when it is due, too.
func (p *processor) wakeSettled(ctx context.Context, d *delivery) {
	stream, err := p.journal.stream(ctx)
	if err != nil {
		return
	}
	record, _, err := p.appliedUpTo(ctx, d.command.RequestID, stream.CachedInfo().State.LastSeq)
	if err == nil && record.State.Settled() {
		_ = p.journal.hurry(ctx, p.in.Name, d.command.RequestID)
	}
}

// record journals the decision's event until it is stored, also during a shutdown.
func (p *processor) record(ctx context.Context, d *delivery, decision Decision) error {
	if decision.Kind == "" || d.command.RequestID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	if decision.Kind == schemas.KindParked {
		if err := p.readHistory(ctx, d); err != nil { // the event's number follows the last one's
			return err
		}
	}
	out, err := p.event(d, decision)
	if err != nil {
		return err
	}
	return untilDone(ctx, func() (bool, error) {
		if !d.claim.Deadline.IsZero() && !decision.moved() && time.Now().After(d.claim.Deadline) {
			// Another worker may be at it by now. Only money that moved is told after the lease.
			return true, fmt.Errorf("%s event of %s: the lease has ended", decision.Kind, d.command.RequestID)
		}
		if settled, err := p.settledMeanwhile(ctx, d, out); settled || err != nil {
			return settled, err
		}
		w, err := p.send(ctx, d, out)
		if err != nil {
			return errors.Is(err, errJournalBackwards), err
		}
		return true, p.readBack(ctx, d, out, w)
	})
}

// moved tells that the decision's event says that money moved.
func (d Decision) moved() bool {
	return d.Kind == schemas.KindSucceeded || d.Kind == schemas.KindCancelled
}

// untilDone repeats try, ever more slowly, until it is done or ctx ends. It returns try's last error.
func untilDone(ctx context.Context, try func() (done bool, err error)) error {
	for wait := publishPause; ; wait = min(2*wait, publishPauseMax) {
		done, err := try()
		if done || pause(ctx, wait) != nil {
			return err
		}
	}
}

// settledMeanwhile renews, when it is older than the outcome window, the knowledge that no outcome is there: by
// then the server's duplicate window would no longer stop a second one.
func (p *processor) settledMeanwhile(ctx context.Context, d *delivery, out *outgoing) (bool, error) {
	if !out.event.Kind.Outcome() || time.Since(d.unsettledAt) < outcomeWindow {
		return false, nil
	}
	at := time.Now()
	record, pos, err := p.store.Look(ctx, d.command.RequestID)
	switch {
	case err != nil:
		return false, err
	case pos < d.claim.Pos:
		return false, fmt.Errorf("read the refund again: %s", idempotency.ProjectionBehind)
	case !record.State.Settled():
		d.unsettledAt = at
		return false, nil
	case record.State.Kind() != out.event.Kind || !record.Amount.Equal(d.command.Amount):
		return true, errContradiction
	}
	return true, nil
}

// readBack judges an outcome that was there before under the same id: the same fact is fine.
func (p *processor) readBack(ctx context.Context, d *delivery, out *outgoing, w written) error {
	if !w.Duplicate || !out.event.Kind.Outcome() {
		return nil
	}
	stored, _, err := p.journal.at(ctx, w.Seq)
	if err != nil {
		return err
	}
	if stored.Event.Kind != out.event.Kind || stored.Event.Amount == nil || !stored.Event.Amount.Equal(d.command.Amount) {
		return errContradiction
	}
	return nil
}

// event builds the decision's event.
func (p *processor) event(d *delivery, decision Decision) (*outgoing, error) {
	e := d.about(decision.Kind)
	h := entryHeaders{owner: d.claim.Token, previous: d.previous, trace: d.trace}
	switch decision.Kind {
	case schemas.KindRejected:
		h = entryHeaders{trace: d.trace}
		e.BodyHash, e.Reason, e.Problems = sha256.Sum256(d.msg.Data()), decision.Reason, decision.Problems
		if decision.Reason == schemas.ReasonRequestIDConflict {
			r := d.claim.Record
			e.Existing = &schemas.Existing{Kind: r.State.Kind(), Fingerprint: r.Fingerprint.String()}
		}
	case schemas.KindDeferred:
		e.Attempt, e.Reason, e.NotBefore = d.claim.Attempt, decision.Reason, &decision.NotBefore
	case schemas.KindAcknowledged:
		e.Attempt, e.ProviderRefundID = max(d.attempts, 1), decision.Result.ProviderRefundID
	case schemas.KindSucceeded, schemas.KindCancelled:
		e.RefundType = schemas.RefundTypeRefund
		if decision.Kind == schemas.KindCancelled {
			e.RefundType = schemas.RefundTypeCancel
		}
		e.ProviderRefundID, e.ProviderResult = decision.Result.ProviderRefundID, decision.Result.Raw
		e.Attempt, e.FoundBy = max(d.attempts, 1), decision.FoundBy
	case schemas.KindFailed:
		reissue := decision.Reason.ReissueAllowed()
		e.Reason, e.Reissue, e.ProviderResult, e.FoundBy = decision.Reason, &reissue, decision.Result.Raw, decision.FoundBy
	case schemas.KindParked:
		e.Reason, e.N, e.Attempt, e.ProviderResult = decision.Reason, d.history.Parks+1, d.attempts, decision.Result.Raw
	}
	return p.outgoing(e, h)
}

// release gives the lease back where the decision says so. A release that fails costs the rest of the lease.
func (p *processor) release(ctx context.Context, d *delivery, decision Decision) {
	if decision.Release == Keep || !d.claim.Held() || !time.Now().Before(d.claim.Deadline) {
		return
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), d.claim.Deadline)
	defer cancel()
	var err error
	switch decision.Release {
	case Abandon:
		_, err = p.store.Abandon(ctx, d.claim)
	case Undo, UndoClean:
		_, err = p.store.Undo(ctx, d.claim, idempotency.Undone{Clean: decision.Release == UndoClean,
			Pause: decision.Delay, Last: d.previous})
	}
	if err != nil {
		p.obs.log.WarnContext(ctx, "lease not given back, it runs out by itself",
			"requestId", string(d.command.RequestID), "error", err.Error())
	}
}

// dispose ends the delivery.
func (p *processor) dispose(ctx context.Context, d *delivery, decision Decision) Disposition {
	var err error
	switch decision.Then {
	case Ack:
		err = d.msg.Ack()
	case Later:
		if decision.Delay < scheduleFloor {
			return p.nak(ctx, d, decision.Delay)
		}
		if err = p.schedule(ctx, d, decision); err == nil {
			err = d.msg.Ack()
		}
	case Terminate:
		if err = p.bury(ctx, d, decision); err == nil {
			err = d.msg.TermWithReason(string(decision.Reason))
		}
	case Nak:
		return p.nak(ctx, d, decision.Delay)
	}
	if err != nil {
		p.obs.log.WarnContext(ctx, "delivery not ended, given back", "disposition", decision.Then.String(),
			"requestId", string(d.command.RequestID), "error", err.Error())
		return p.nak(ctx, d, giveBack)
	}
	return decision.Then
}

// nak gives the delivery back. When even that fails, the stream delivers it again after the ack wait.
func (p *processor) nak(ctx context.Context, d *delivery, delay time.Duration) Disposition {
	if err := d.msg.NakWithDelay(delay); err != nil {
		p.obs.log.WarnContext(ctx, "delivery not given back", "requestId", string(d.command.RequestID),
			"error", err.Error())
	}
	return Nak
}

// schedule stores the message that carries the command on. One per refund: a new one replaces the one before. Where
// a duplicate finds one that fires no later, that one carries the refund: however many come, and when, they put
// nothing off.
func (p *processor) schedule(ctx context.Context, d *delivery, decision Decision) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	before, err := p.standing(ctx, d)
	if err != nil {
		return err
	}
	at, carrier := wholeSecond(time.Now().Add(decision.Delay)), d.copy()
	switch {
	case before == nil:
	case before.rival:
		if err := p.rejectRival(ctx, d, before); err != nil {
			return err
		}
	default:
		// The first copy goes on: a later one may differ in what the fingerprint leaves out.
		first := before.copy()
		sooner := !before.due().IsZero() && !before.due().After(at)
		if first.since.After(carrier.since) {
			first, sooner = carrier, false
		}
		if carrier = first; sooner && !d.scheduled {
			return nil
		}
	}
	subjects := p.journal.subjects
	return p.keep(ctx, p.journal.schedule(scheduled{subject: subjects.Later(p.in.Name, d.command.RequestID),
		target: subjects.Retry(p.in.Name), id: d.laterID(string(d.command.RequestID)), copied: carrier,
		round: decision.Round, at: at}))
}

// bury stores the dead letter.
func (p *processor) bury(ctx context.Context, d *delivery, decision Decision) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	err := p.keep(ctx, p.journal.deadLetter(letter{provider: p.in.Name, subject: d.msg.Subject(), body: d.msg.Data(),
		header: d.msg.Headers(), stream: d.stream, seq: d.seq, reason: decision.Reason, detail: decision.Detail,
		at: time.Now()}))
	if err == nil {
		p.obs.buried(ctx, p.in.Name, decision.Reason)
	}
	return err
}

// keep publishes a message until it is stored or ctx ends.
func (p *processor) keep(ctx context.Context, msg *nats.Msg) error {
	return untilDone(ctx, func() (bool, error) {
		_, err := p.journal.publish(ctx, msg)
		return err == nil, err
	})
}

// pause waits, or returns ctx's error when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
