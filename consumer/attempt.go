package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// attempt makes one attempt at the refund: prepare, journal the intent, pass the guard, call.
func (p *processor) attempt(ctx context.Context, d *delivery) Decision {
	if decision, done := decideAttempt(p.situation(d)); done {
		return p.fenced(ctx, d, decision)
	}
	if decision, done := p.lookAtPayment(ctx, d); done {
		return p.fenced(ctx, d, decision)
	}
	baseline, decision, done := p.prepare(ctx, d)
	if done {
		return p.fenced(ctx, d, decision)
	}
	before := preparation{baseline, p.hold(d)}
	seq, decision, done := p.journalIntent(ctx, d, before, p.lastCall(d))
	if done {
		return decision
	}
	if decision, done := p.passGuard(ctx, d, before.hold, seq); done {
		return decision
	}
	return p.call(ctx, d, baseline)
}

// preparation is what was seen of the payment before an attempt.
type preparation struct {
	baseline providers.Baseline
	hold     *ledger.Hold
}

// uncalled is the preparation of an intent that no call follows: it takes the attempt's number and nothing else.
var uncalled = preparation{hold: &ledger.Hold{Kind: ledger.NoHold}}

// fenced lets what was decided without a call stand only when nobody else can be at the same attempt. An event that
// says "nothing moved" would otherwise speak for a call of a worker that believes it holds the lease, too.
func (p *processor) fenced(ctx context.Context, d *delivery, decision Decision) Decision {
	if decision.Kind != schemas.KindFailed && decision.Kind != schemas.KindDeferred {
		return decision
	}
	if _, stop, done := p.journalIntent(ctx, d, uncalled, d.claim.Deadline.Add(-callMargin)); done {
		return stop
	}
	return decision
}

func (p *processor) prepare(ctx context.Context, d *delivery) (providers.Baseline, Decision, bool) {
	// The call's own permit is taken here, too: waiting for it after the intent could cost the attempt.
	calls := 1
	if p.caps.Prepares {
		calls = 2
	}
	if err := p.permit(ctx, d, calls); err != nil {
		return nil, Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Round: d.round, Detail: err.Error()}, true
	}
	// A preparation that leaves no time for the call is given up, and tried again with more patience.
	until := time.Now().Add(p.in.Timeout)
	if last := p.lastCall(d); last.Before(until) {
		until = last
	}
	callCtx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	baseline, result, err := p.in.Provider.Prepare(callCtx, p.request(d))
	if p.caps.Prepares {
		p.heard(ctx, d, reads, err)
	}
	decision, done := decidePrepared(p.situation(d), result, err)
	return baseline, decision, done
}

// fits reports whether a call that starts now ends inside the lease, by this process's monotonic clock.
func (p *processor) fits(d *delivery) bool { return time.Now().Before(p.lastCall(d)) }

// lastCall is when the last call may start that still ends inside the lease.
func (p *processor) lastCall(d *delivery) time.Time {
	return d.claim.Deadline.Add(-p.in.Timeout - callMargin)
}

// intent is the dispatched event: it says, before anything leaves, that a call may have left.
func (p *processor) intent(d *delivery, before preparation) (*outgoing, error) {
	e := d.about(schemas.KindDispatched)
	e.Attempt = d.claim.Attempt
	until := d.claim.Until
	e.LeaseUntil = &until
	e.IdempotencyKey = idempotencyKey(d)
	e.Baseline = before.baseline
	return p.outgoing(e, entryHeaders{owner: d.claim.Token, previous: d.previous, hold: before.hold, trace: d.trace})
}

// journalIntent is the fence. The attempt's number is the claim's, so of two workers that both believe they
// may go, one finds its event id taken, and stops.
func (p *processor) journalIntent(ctx context.Context, d *delivery, before preparation,
	until time.Time) (uint64, Decision, bool) {
	intent, err := p.intent(d, before)
	if err != nil {
		return 0, Decision{Release: Abandon, Then: Later, Delay: time.Minute, Detail: err.Error()}, true
	}
	seq, decision, stop := p.takeAttempt(ctx, d, intent, until)
	if !stop {
		d.previous, d.attempts = seq, d.claim.Attempt
	}
	return seq, decision, stop
}

// takeAttempt publishes the intent, as long as there is time for what is to follow it, and tells whose the attempt is.
func (p *processor) takeAttempt(ctx context.Context, d *delivery, intent *outgoing,
	until time.Time) (uint64, Decision, bool) {
	taken := Decision{Then: Later, Delay: scheduleFloor, Round: d.round, Detail: "the attempt is taken"}
	if !time.Now().Before(until) {
		return 0, Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Round: d.round + 1,
			Detail: "the claim's lease is too short for a call now"}, true
	}
	for first := true; ; first = false {
		w, err := p.send(ctx, d, intent)
		switch {
		case errors.Is(err, errJournalBackwards):
			return 0, taken, true
		case refused(err) && first: // so it is surely not stored
			return 0, Decision{Release: Abandon, Then: Nak, Delay: giveBack, Detail: err.Error()}, true
		case err != nil:
			stopped := p.store.Gate().Reason() == idempotency.Stopped
			if stopped || pause(ctx, publishPause) != nil || !time.Now().Before(until) { // it may be stored, so nothing is released
				return 0, Decision{Then: Later, Delay: scheduleFloor, Detail: err.Error()}, true
			}
		case w.Duplicate:
			stored, _, err := p.journal.at(ctx, w.Seq)
			if err != nil || stored.Owner != d.claim.Token || stored.ID != intent.event.ID() {
				return 0, taken, true
			}
			return w.Seq, Decision{}, false
		default:
			return w.Seq, Decision{}, false
		}
	}
}

// call asks the provider. From here on a shutdown does not interrupt: the answer must be journalled.
func (p *processor) call(ctx context.Context, d *delivery, baseline providers.Baseline) Decision {
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.in.Timeout)
	defer cancel()
	r := p.request(d)
	r.Attempt++
	if r.Baseline == nil {
		r.Baseline = baseline
	}
	result, err := p.callQuickly(callCtx, r)
	p.heard(ctx, d, answers, err)
	decision := decideCalled(p.situation(d), result, err)
	if err == nil || providers.KindOf(err) != providers.Unknown || !p.caps.Lookup || !p.fits(d) {
		return decision
	}
	// The lease still runs, so a look tells at once when the refund was made. That it was not cannot be
	// told yet: the request may still be on its way.
	finding, lookErr := p.lookup(ctx, d, r)
	if lookErr != nil || finding.Kind != providers.Found {
		return decision
	}
	if found, done := decideFound(p.situation(d), finding, nil); done && found.Kind.Outcome() {
		return found
	}
	return decision
}

const (
	quickRetryFirst = 100 * time.Millisecond
	quickRetryAll   = 2 * time.Second
)

// callQuickly repeats a call, in its own time, only after what surely was not executed. Each repetition takes its turn at the
// provider's rate.
func (p *processor) callQuickly(ctx context.Context, r providers.Request) (providers.Result, error) {
	// A turn that comes late is not waited for: a call that begins late ends without an answer.
	soon, cancel := context.WithTimeout(ctx, quickRetryAll)
	defer cancel()
	policy := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithInitialInterval(quickRetryFirst),
		backoff.WithMaxElapsedTime(quickRetryAll)), ctx)
	var result providers.Result
	var last error
	called := false
	// The last call's own error counts, not that of the waiting between calls.
	_ = backoff.Retry(func() error {
		if called && p.turn(soon, 1) != nil {
			return nil
		}
		called = true
		result, last = p.in.Provider.Refund(ctx, r)
		var e *providers.Error
		if errors.As(last, &e) && e.Kind == providers.Unavailable && e.RetryAfter == 0 {
			return last
		}
		return nil
	}, policy)
	return result, last
}
