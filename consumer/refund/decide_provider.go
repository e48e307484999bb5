package refund

import (
	"errors"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// decidePrepared takes in what Prepare said before an attempt; it reports false when the attempt goes on.
func decidePrepared(s situation, r providers.Result, err error) (Decision, bool) {
	switch {
	case err != nil:
		return decideUnprepared(s, err), true
	case r.Status == providers.NoResult:
		return Decision{}, false
	case !s.clean(): // what the payment looks like now may be our own doing: only a lookup can tell
		return s.wait("the payment changed while an attempt is in doubt", s.round+1), true
	}
	return decideResult(s, r, schemas.FoundByLookup), true
}

func decideUnprepared(s situation, err error) Decision {
	kind, problems, after := describe(err)
	if kind == providers.Invalid {
		if s.refund.First == nil {
			d := refuse(schemas.ReasonUnsupported, problems)
			d.Detail = err.Error() + "; " + d.Detail
			return d
		}
		return s.refused(err.Error())
	}
	if s.worn() {
		return s.giveUp(err.Error())
	}
	// A schedule, however short the wait: a delivery that is given back would forget how many rounds there were.
	d := abandon(max(s.backoff(after), scheduleFloor), s.round+1, err.Error())
	if kind == providers.Unauthorized {
		d.Delay = max(d.Delay, unauthorizedFloor)
	}
	return d
}

// decideCalled takes in what the call said. An unknown outcome is never failed and never repeated: the lease is left to
// run out, and whoever claims next looks up first.
func decideCalled(s situation, r providers.Result, err error) Decision {
	switch {
	case err == nil:
		return decideResult(s, r, schemas.FoundByCall)
	case errors.Is(err, ErrNotAsked):
		return s.undo(scheduleFloor, err.Error())
	}
	kind, _, after := describe(err)
	switch {
	case kind == providers.Unknown:
		return s.inDoubt(err.Error())
	case kind == providers.Invalid:
		return s.refused(err.Error())
	case s.worn():
		return s.giveUp(err.Error())
	}
	d := s.undo(s.backoff(after), err.Error())
	if kind == providers.Unauthorized {
		d.Delay = max(d.Delay, unauthorizedFloor)
	}
	return d
}

// inDoubt leaves the lease to run out: whoever claims next finds the attempt in doubt.
func (s situation) inDoubt(detail string) Decision {
	delay := max(s.refund.LeaseUntil.Sub(s.now), 0) + time.Second
	if !s.Capabilities.Lookup { // what comes next is another call, not a lookup
		delay = max(delay, s.backoff(0))
	}
	return later(delay, s.round+1, detail)
}

// decideResult turns a provider's answer into an event. An answer is conclusive: to a first call, after a conclusive
// lookup, and to a call repeated under the key of the attempt in doubt.
func decideResult(s situation, r providers.Result, by schemas.FoundBy) Decision {
	d := Decision{Result: r, Reason: r.Reason, FoundBy: by, Then: Ack}
	switch r.Status {
	case providers.Succeeded:
		d.Kind = schemas.KindSucceeded
	case providers.Cancelled:
		d.Kind = schemas.KindCancelled
	case providers.Declined:
		d.Kind = schemas.KindFailed
	case providers.Acknowledged:
		d.Kind, d.Then, d.Delay = schemas.KindAcknowledged, Later, nextLook(s.now, s.now)
	case providers.NotNow:
		return decideNotNow(s, r)
	case providers.Partial:
		return park(schemas.ReasonPartial, r, "some of the refund happened and some did not")
	case providers.Conflicting:
		return park(schemas.ReasonContradiction, r, "the provider holds another refund under the same key")
	default: // an adapter that returns neither answer nor error has told nothing
		return s.inDoubt("the adapter gave no answer")
	}
	return d
}

func decideNotNow(s situation, r providers.Result) Decision {
	if s.calls() >= s.MaxAttempts {
		return park(schemas.ReasonRetriesExhausted, r, "the provider said \"not now\" to the last attempt")
	}
	at := deferral(r, s.Capabilities, s.refund.Deferrals, s.now)
	return Decision{Kind: schemas.KindDeferred, Reason: r.Reason, Result: r, NotBefore: at, Then: Later, Delay: at.Sub(s.now)}
}

// decideUnasked holds off a lookup, or a repeat, before its time. The time does not move with duplicates: each leads to
// the same next look. It reports false when it may be asked.
func decideUnasked(s situation) (Decision, bool) {
	if early := s.conclusive().Sub(s.now); early > 0 && s.Capabilities.Lookup && !s.scheduled {
		return abandon(min(nextLook(s.refund.Since, s.now), early), s.round, "it is not time to ask"), true
	}
	return Decision{}, false
}

// decideRepeat tells what becomes of doubt that no lookup can end; it reports false when the call may be repeated under
// the key of the attempt in doubt. Neither a repeat nor a person's decision may overtake a call that is still on its way.
func decideRepeat(s situation) (Decision, bool) {
	if early := s.refund.LeaseUntil.Add(arrived).Sub(s.now); early > 0 {
		return abandon(early, s.round, "an attempt may still be on its way"), true
	}
	life := s.Capabilities.KeyLife
	if life == 0 || s.now.After(s.refund.KeySince.Add(life-s.lease()-clocksApart)) {
		return park(schemas.ReasonOutcomeUnknown, providers.Result{}, "nothing can tell whether the refund was made"), true
	}
	return Decision{}, false
}

// decideFound takes in a lookup of a refund in doubt or pending; it reports false when doubt is ended and a further
// attempt may be made. What was not found, or failed for now, counts only if it was asked for late enough.
func decideFound(s situation, f providers.Finding, err error) (Decision, bool) {
	inDoubt := s.stand() == doubt
	late := !s.asked.Before(s.conclusive())
	status := f.Result.Status
	switch {
	case errors.Is(err, ErrNotAsked):
		return abandon(scheduleFloor, s.round, err.Error()), true
	case err != nil:
		return decideUnfound(s, err.Error()), true
	case status == providers.NotNow && f.Kind != providers.Contradiction && !inDoubt:
		return decideNotNow(s, f.Result), true // what was taken on failed, and may be asked for again later
	case f.Kind == providers.Found && status == providers.Acknowledged && !inDoubt:
		return decideUnfound(s, "the provider is still at it"), true
	case f.Kind == providers.Found && status != providers.NotNow && status != providers.NoResult &&
		(late || !inDoubt || status != providers.Declined): // a "no" to an earlier call may be shown beside one on its way
		return decideResult(s, f.Result, schemas.FoundByLookup), true
	case inDoubt && !late:
		return abandon(s.conclusive().Sub(s.now), s.round, "it is too early to tell"), true
	case f.Kind == providers.Contradiction:
		return park(schemas.ReasonContradiction, f.Result, f.Detail), true
	case f.Kind == providers.NotFound && inDoubt:
		return Decision{}, false
	}
	return decideUnfound(s, "the lookup cannot tell yet"), true
}

// decideUnfound waits on, patiently, and at last asks a person.
func decideUnfound(s situation, detail string) Decision {
	age := s.now.Sub(s.refund.Since)
	if s.stand() == pending {
		if age > s.PendingTimeout {
			return park(schemas.ReasonOutcomeOverdue, providers.Result{}, detail)
		}
	} else if age > doubtLimit {
		return park(schemas.ReasonOutcomeUnknown, providers.Result{}, detail)
	}
	return s.wait(detail, s.round+1)
}

// decideUnlooked has a refund wait for the look at its payment: seconds at first, and then no more often than a backlog bears.
func decideUnlooked(s situation, detail string) Decision {
	return abandon(min(max(s.now.Sub(s.since()), scheduleFloor), verdictLook), s.round, detail)
}

// decideRoom tells what becomes of a refund that its payment has no room for; it reports false when an intent may be
// journalled.
func decideRoom(s situation, room Room) (Decision, bool) {
	switch {
	case room.Spent && room.Verdict != ledger.Contradicts:
		if !s.clean() {
			return s.wait("the payment was refunded while an attempt is in doubt", s.round+1), true
		}
		return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonAlreadyRefunded, FoundBy: schemas.FoundByLookup, Then: Ack,
			Detail: "another refund of the payment has succeeded, and it takes one only"}, true
	case room.Rival != "" && s.SameAmount && s.clean():
		return s.held("refund " + string(room.Rival) + " of the same payment and amount is in doubt"), true
	}
	switch room.Verdict {
	case ledger.Fits:
		return Decision{}, false
	case ledger.Held:
		return s.held("another refund of the payment is at work"), true
	}
	if !s.clean() {
		return s.wait("the payment has no room while an attempt is in doubt", s.round+1), true
	}
	if room.Verdict == ledger.Contradicts && s.refund.First == nil {
		return refuse(schemas.ReasonInvalid, []schemas.Problem{{Pointer: "/payment/amount",
			Rule: "must be the captured amount that was named before"}}), true
	}
	return exceeds(), true
}

// decideDenied tells what becomes of a refund whose intent did not get its hold: no call follows it.
func decideDenied(s situation, v ledger.Verdict) Decision {
	switch {
	case !s.clean():
		return s.undo(s.heldDelay(), "the payment has no room while an attempt is in doubt")
	case v == ledger.Exceeds, v == ledger.Contradicts:
		return exceeds()
	}
	return s.undo(s.heldDelay(), "another refund of the payment was first")
}

func exceeds() Decision {
	return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonExceedsRemaining, FoundBy: schemas.FoundByLookup, Then: Ack,
		Detail: "the payment has less left than the refund"}
}

// held waits for other refunds of the payment.
func (s situation) held(detail string) Decision { return abandon(s.heldDelay(), s.round+1, detail) }

// heldDelay is short at first, for most refunds end within seconds, a minute at most, and not the same for all who wait.
func (s situation) heldDelay() time.Duration {
	delay := min(scheduleFloor<<min(s.round, 5), time.Minute)
	return delay + time.Duration(s.spread*float64(delay)/2)
}

// deferral is when to try again after a provider's "not now": its own wish, or what the reason needs. deferrals counts the
// earlier ones.
func deferral(r providers.Result, caps providers.Capabilities, deferrals int, now time.Time) time.Time {
	if r.After > 0 {
		return now.Add(min(r.After, 24*time.Hour))
	}
	switch r.Reason {
	case schemas.ReasonDayEnd:
		return nextDay(now, caps.DayEnd)
	case schemas.ReasonInsufficientBalance: // tomorrow's sales may cover it: an hour first, then longer
		return now.Add(min(time.Hour<<min(deferrals, 5), 24*time.Hour))
	}
	return now.Add(min(time.Minute<<min(deferrals, 10), time.Hour))
}

// nextDay is half past midnight, when the provider's day has surely ended.
func nextDay(now time.Time, zone *time.Location) time.Time {
	if zone == nil {
		zone = time.UTC
	}
	y, m, d := now.In(zone).Date()
	next := time.Date(y, m, d+1, 0, 30, 0, 0, zone)
	if next.Day() == d { // summer time begins at midnight there: half past does not exist, and became half past eleven
		next = next.Add(time.Hour)
	}
	return next.UTC()
}
