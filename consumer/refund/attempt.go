package refund

import (
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// attempt makes one attempt: prepare, journal the intent, ask the guard, call. It reports false when somebody else
// stored something first.
func (r *run) attempt() (Decision, bool) {
	if decision, done := decideAttempt(r.situation()); done {
		return decision, true
	}
	room, err := r.Payments.Look(r.asked())
	if err != nil {
		return decideUnlooked(r.situation(), err.Error()), true
	}
	if decision, done := decideRoom(r.situation(), room); done {
		return decision, true
	}
	baseline, decision, done := r.prepare()
	if done {
		return decision, true
	}
	before := r.request()
	intent := r.intent(baseline, room.Hold)
	seq, put := r.put(intent, r.refund.Head, r.lastCall())
	switch put {
	case stale:
		return Decision{}, false
	case unknown: // it may be stored: a doubt that somebody looks up
		return later(scheduleFloor, r.Round, "the attempt could not be journalled in time"), true
	}
	intent.Seq = seq
	r.intended(intent)
	if decision, done := r.passGuard(room.Hold, seq); done {
		return decision, true
	}
	before.Attempt++
	if before.Baseline == nil {
		before.Baseline = baseline
	}
	return r.call(before), true
}

func (r *run) prepare() (providers.Baseline, Decision, bool) {
	calls := 1 // the call's own turn is taken here, too: waiting for it after the intent could cost the attempt
	if r.Capabilities.Prepares {
		calls = 2
	}
	if err := r.Provider.Admit(calls, r.lastCall()); err != nil {
		return nil, abandon(scheduleFloor, r.Round, err.Error()), true
	}
	until := r.Clock.Now().Add(r.Timeout)
	if last := r.lastCall(); last.Before(until) {
		until = last
	}
	baseline, result, err := r.Provider.Prepare(Call{Request: r.request(), Until: until})
	decision, done := decidePrepared(r.situation(), result, err)
	return baseline, decision, done
}

// intent says, before anything leaves, that a call may have left, and until when.
func (r *run) intent(baseline providers.Baseline, hold *ledger.Hold) ledger.Entry {
	e := r.about(schemas.KindDispatched)
	until := r.deadline
	e.Attempt, e.LeaseUntil, e.IdempotencyKey, e.Baseline = r.refund.Attempts+1, &until, r.key(), baseline
	return ledger.Entry{Event: e, ID: e.ID(), Owner: r.claim.Token, Hold: hold, Undone: r.refund.Undone}
}

// intended takes the own intent in: it is the head now.
func (r *run) intended(e ledger.Entry) {
	r.own, r.refund.Head, r.refund.Attempts, r.refund.LeaseUntil = e.Seq, e.Seq, e.Event.Attempt, *e.Event.LeaseUntil
	r.refund.State, r.refund.Since = e.Event.Kind, e.Event.OccurredAt
	r.refund.Intents = append(r.refund.Intents[:len(r.refund.Intents):len(r.refund.Intents)],
		ledger.Intent{Seq: e.Seq, Attempt: e.Event.Attempt, At: e.Event.OccurredAt, Baseline: e.Event.Baseline, Hold: e.Hold})
}

// passGuard waits for the payment's word where the intent asked for it, and makes sure that there is time for the call.
// No call is made before it was granted.
func (r *run) passGuard(hold *ledger.Hold, seq uint64) (Decision, bool) {
	if hold != nil {
		grant, err := r.Payments.Await(r.asked(), seq, r.lastCall())
		if err != nil {
			return r.situation().undo(scheduleFloor, err.Error()), true
		}
		if grant.Since == 0 || grant.Since > seq {
			return decideDenied(r.situation(), grant.Verdict), true
		}
	}
	if s := r.situation(); s.expired() || !r.fits() {
		return s.undo(scheduleFloor, "too late for a call"), true
	}
	return Decision{}, false
}

// call asks the provider for the refund.
func (r *run) call(request providers.Request) Decision {
	result, err := r.Provider.Refund(Call{Request: request, Until: r.Clock.Now().Add(r.Timeout)})
	decision := decideCalled(r.situation(), result, err)
	if err == nil || providers.KindOf(err) != providers.Unknown || !r.Capabilities.Lookup || !r.fits() {
		return decision
	}
	// The lease still runs, so a lookup tells at once when the refund was made. That it was not cannot be told yet: the
	// request may still be on its way.
	finding, asked, err := r.lookup(request)
	if err != nil || finding.Kind != providers.Found {
		return decision
	}
	if found, done := decideFound(r.situationAt(asked), finding, nil); done && found.moved() {
		return found
	}
	return decision
}
