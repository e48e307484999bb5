package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

const (
	// strangeFloor and strangeMost bound the wait of a notice for something that is not journalled yet: seconds at
	// first, because it may merely have overtaken an event.
	strangeFloor = 5 * time.Second
	strangeMost  = 10 * time.Minute
	// strangeLimit is how long such a notice waits before a person is asked.
	strangeLimit = 24 * time.Hour
	// projectionPatience is how long a notice waits for the projection in hand. It looks again after projectionFirst, and
	// then ever more seldom.
	projectionPatience = 2 * time.Second
	projectionFirst    = 5 * time.Millisecond
	projectionMost     = 200 * time.Millisecond
)

// report is a notice in hand. The refund that it is about is in its delivery.
type report struct {
	*delivery
	notice schemas.Notice
	// since is when a worker first saw the notice.
	since time.Time
}

// settle works on one notice until it is acknowledged, rescheduled, given back or terminated. It calls no provider.
func (p *processor) settle(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil { // not a JetStream delivery: nothing can be acknowledged
		p.obs.log.ErrorContext(ctx, "message without metadata", "subject", msg.Subject())
		return
	}
	r := &report{since: time.Now(), delivery: &delivery{msg: msg, stream: meta.Stream, seq: meta.Sequence.Stream}}
	if first, err := time.Parse(time.RFC3339Nano, msg.Headers().Get(schemas.HeaderSince)); err == nil {
		r.since = first
	}
	ctx, done := p.obs.beginNotice(ctx, r, p.in.Name)
	decision := p.weigh(ctx, r)
	done(decision, p.finishNotice(ctx, r, decision))
}

// weigh reads the notice and finds out what it means for its refund.
func (p *processor) weigh(ctx context.Context, r *report) Decision {
	notice, err := schemas.DecodeNotice(r.msg.Data())
	r.notice = notice
	var refused *schemas.Rejection
	switch {
	case errors.As(err, &refused):
		return Decision{Reason: refused.Reason, Then: Terminate, Detail: refused.Error()}
	case err != nil:
		return Decision{Reason: schemas.ReasonMalformed, Then: Terminate, Detail: err.Error()}
	case notice.Provider != p.in.Name:
		return Decision{Reason: schemas.ReasonInvalid, Then: Terminate,
			Detail: "/provider: must be the provider of the subject that the notice was published to"}
	}
	if err := p.recall(ctx, r); err != nil {
		return Decision{Then: Nak, Delay: notReadyNak, Detail: err.Error()}
	}
	p.obs.resume(ctx, r.claim.Record.Trace)
	switch {
	case r.stated == nil:
		return decideStrange(time.Since(r.since), "nothing is journalled about the refund")
	case r.stated.Provider != p.in.Name:
		return Decision{Reason: schemas.ReasonInvalid, Then: Terminate,
			Detail: "/refundRequestId: the refund belongs to another provider"}
	case notice.Type == schemas.NoticeReversalType:
		return p.reverse(ctx, r)
	}
	return p.settleResult(ctx, r)
}

// recall reads what is journalled about the notice's refund, up to what is in the stream now: no claim keeps others from
// writing, and the refund's events should stay one chain.
func (p *processor) recall(ctx context.Context, r *report) error {
	stream, err := p.journal.stream(ctx)
	if err != nil {
		return err
	}
	r.unsettledAt = time.Now()
	record, pos, err := p.appliedUpTo(ctx, r.notice.RefundRequestID, stream.CachedInfo().State.LastSeq)
	if err != nil {
		return err
	}
	r.claim = idempotency.Claim{RequestID: r.notice.RefundRequestID, Record: record, Pos: pos}
	r.previous, r.attempts, r.stated = record.Last, record.Attempts, nil
	if record.Last == 0 {
		return nil
	}
	last, _, err := p.journal.at(ctx, record.Last)
	if errors.Is(err, idempotency.ErrNoEvent) { // it aged out, as the record is about to
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the refund's last event: %w", err)
	}
	e := last.Event
	r.stated = &e
	r.command = schemas.Command{RequestID: e.RequestID, Provider: e.Provider, Metadata: e.Metadata}
	if e.Payment != nil && e.Amount != nil && e.RequestedAt != nil {
		r.command.Payment, r.command.Amount, r.command.RequestedAt = *e.Payment, *e.Amount, *e.RequestedAt
	}
	return nil
}

// appliedUpTo reads a refund's record once the projection has reached a sequence, which is a matter of milliseconds.
func (p *processor) appliedUpTo(ctx context.Context, id schemas.RequestID, seq uint64) (idempotency.Record, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, projectionPatience)
	defer cancel()
	for look := projectionFirst; ; look = min(2*look, projectionMost) {
		record, pos, err := p.store.Look(ctx, id)
		if err != nil || pos >= seq {
			return record, pos, err
		}
		if err := pause(ctx, look); err != nil {
			return record, pos, fmt.Errorf("the projection is at %d, not at %d: %w", pos, seq, err)
		}
	}
}

// decideStrange has a notice wait for what it refers to, in a schedule, and at last asks a person.
func decideStrange(age time.Duration, detail string) Decision {
	if age > strangeLimit {
		return Decision{Reason: schemas.ReasonNotFound, Then: Terminate, Detail: detail + " for " + strangeLimit.String()}
	}
	return Decision{Then: Later, Delay: min(max(age, strangeFloor), strangeMost), Detail: detail}
}

// decideKnown judges a result against an outcome that is journalled: the same fact is fine.
func decideKnown(state idempotency.State, result schemas.NoticeResult) Decision {
	if state.Kind() == result.Kind {
		return Decision{Then: Ack, Detail: "the outcome is journalled"}
	}
	return Decision{Reason: schemas.ReasonContradiction, Then: Terminate,
		Detail: fmt.Sprintf("the notice says %s, but the refund is journalled as %s", result.Kind, state.Kind())}
}

// settleResult takes a result in. That money moved is true whoever holds the lease, and journalled at once.
func (p *processor) settleResult(ctx context.Context, r *report) Decision {
	result := *r.notice.Result
	if r.claim.Record.State.Settled() {
		return decideKnown(r.claim.Record.State, result)
	}
	if result.Kind == schemas.KindFailed {
		return p.settleFailed(ctx, r)
	}
	return decideResult(p.situation(r.delivery), resultOf(result), schemas.FoundByNotice)
}

// settleFailed takes in that nothing moved. It must not speak for an attempt that is under way or about to be, so it is
// journalled under the refund's lease and behind the fence.
func (p *processor) settleFailed(ctx context.Context, r *report) Decision {
	claim, err := p.claim(ctx, r.notice.RefundRequestID, r.claim.Record.Fingerprint)
	if err != nil {
		return Decision{Then: Nak, Delay: notReadyNak, Detail: err.Error()}
	}
	r.claim, r.previous, r.attempts = claim, claim.Record.Last, claim.Record.Attempts
	s := p.situation(r.delivery)
	until := claim.Until.Sub(s.now)
	decision := decideResult(s, resultOf(*r.notice.Result), schemas.FoundByNotice)
	switch claim.Answer {
	case idempotency.Settled:
		return decideKnown(claim.Record.State, *r.notice.Result)
	case idempotency.Pending: // nobody makes an attempt while the provider owes a result
		return decision
	case idempotency.Parked: // nobody holds the lease; whoever resumes the refund meanwhile wants the same attempt
		r.claim.Until = s.now.Add(p.cfg.lease(p.in))
		return p.fencedFailure(ctx, r, decision)
	case idempotency.Doubt, idempotency.Retry, idempotency.Fresh:
		return p.fencedFailure(ctx, r, decision)
	case idempotency.Busy, idempotency.Wait:
		return Decision{Then: Later, Delay: min(max(until, scheduleFloor), strangeMost), Detail: "the refund is at work or waits"}
	}
	return Decision{Then: Nak, Delay: notReadyNak, Detail: "claims are not answered now"}
}

// fencedFailure takes the attempt that the failure speaks for, under the key of the last one.
func (p *processor) fencedFailure(ctx context.Context, r *report, decision Decision) Decision {
	if err := p.readHistory(ctx, r.delivery); err != nil {
		return Decision{Release: Abandon, Then: Later, Delay: time.Minute, Detail: err.Error()}
	}
	return p.fenced(ctx, r.delivery, decision)
}

// resultOf is a noticed result as a provider's answer.
func resultOf(n schemas.NoticeResult) providers.Result {
	r := providers.Result{Reason: n.Reason, ProviderRefundID: n.ProviderRefundID, Raw: n.ProviderResult}
	switch n.Kind {
	case schemas.KindSucceeded:
		r.Status = providers.Succeeded
	case schemas.KindCancelled:
		r.Status = providers.Cancelled
	case schemas.KindFailed:
		r.Status = providers.Declined
	}
	return r
}

// finishNotice does what was decided, as finish does for commands.
func (p *processor) finishNotice(ctx context.Context, r *report, decision Decision) Disposition {
	err := p.record(ctx, r.delivery, decision)
	if errors.Is(err, errContradiction) {
		decision = Decision{Then: Terminate, Reason: schemas.ReasonContradiction, Detail: err.Error()}
	} else if err != nil {
		p.obs.log.WarnContext(ctx, "notice not settled, given back", "requestId", string(r.notice.RefundRequestID),
			"error", err.Error())
		return p.nak(ctx, r.delivery, giveBack)
	}
	if decision.Reason == schemas.ReasonContradiction {
		p.obs.log.ErrorContext(ctx, "contradicting notice, nothing overwritten", "provider", string(p.in.Name),
			"requestId", string(r.notice.RefundRequestID), "detail", decision.Detail)
	}
	p.release(ctx, r.delivery, decision)
	if decision.Kind.Outcome() {
		// Best effort: the refund's schedule would find it settled when it is due, too.
		if err := p.journal.hurry(ctx, p.in.Name, r.notice.RefundRequestID); err != nil {
			p.obs.log.DebugContext(ctx, "schedule left as it is", "error", err.Error())
		}
	}
	if decision.Then == Later && decision.Delay >= scheduleFloor {
		return p.postpone(ctx, r, decision)
	}
	return p.dispose(ctx, r.delivery, decision)
}

// postpone stores the notice in a schedule of its own, then ends the delivery.
func (p *processor) postpone(ctx context.Context, r *report, decision Decision) Disposition {
	keeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	id := r.notice.MsgID(r.msg.Data())
	msg := p.journal.schedule(scheduled{subject: p.journal.subjects.LaterNotice(p.in.Name, id),
		target: p.journal.subjects.RetryNotices(p.in.Name), id: r.laterID(id), at: time.Now().Add(decision.Delay),
		copied: copied{body: r.msg.Data(), header: r.msg.Headers(), since: r.since}})
	err := p.keep(keeping, msg)
	if err == nil {
		err = r.msg.Ack()
	}
	if err != nil {
		p.obs.log.WarnContext(ctx, "notice not postponed, given back", "error", err.Error())
		return p.nak(ctx, r.delivery, giveBack)
	}
	return Later
}
