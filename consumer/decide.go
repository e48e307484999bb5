package consumer

import (
	"errors"
	"time"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// Disposition says what becomes of a delivery.
type Disposition int

// Dispositions. The zero value gives the delivery back, which never loses anything.
const (
	// Nak has the stream deliver the command again after the delay.
	Nak Disposition = iota
	// Ack ends the delivery: the refund is settled.
	Ack
	// Later stores a schedule that carries the command, then ends the delivery.
	Later
	// Terminate stores a dead letter, then ends the delivery for good.
	Terminate
)

func (d Disposition) String() string { return [...]string{"nak", "ack", "later", "terminate"}[d] }

// Release says how a claim's lease ends.
type Release int

// Releases.
const (
	// Keep leaves the lease to the event that is journalled, or to run out.
	Keep Release = iota
	// Abandon gives it back: nothing was journalled under the claim.
	Abandon
	// Undo gives it back: the attempt surely did nothing, earlier ones may have.
	Undo
	// UndoClean gives it back: every attempt up to this one surely did nothing.
	UndoClean
)

// Decision is what to do with a delivery: journal an event (none when Kind is empty), release the claim, then
// dispose of the message.
type Decision struct {
	Kind    schemas.Kind
	Reason  schemas.Reason
	FoundBy schemas.FoundBy
	// Result is what the provider answered, for the event's details.
	Result providers.Result
	// NotBefore is when a deferred refund may be tried again.
	NotBefore time.Time

	Release Release
	Then    Disposition
	// Delay is how long Nak and Later wait.
	Delay time.Duration
	// Round is carried by the schedule: how many rounds brought no progress.
	Round int
	// Detail says why in words, for logs and dead letters.
	Detail   string
	Problems []schemas.Problem
}

// situation is all that a decision may depend on.
type situation struct {
	claim idempotency.Claim
	// cleared is set when doubt about every earlier attempt was ended under this claim.
	cleared bool
	// round counts the rounds without progress so far.
	round int
	// now is Redis's time, which leases and due times are written in.
	now time.Time
	// since is when the refund came into its state of doubt or waiting.
	since time.Time
	// conclusive is when "not found" counts; zero when it never does.
	conclusive time.Time
	// scheduled is set when a schedule brought the command, not a publisher.
	scheduled   bool
	requestedAt time.Time
	notAfter    *time.Time
	spread      float64

	caps           providers.Capabilities
	backoff        Backoff
	maxAttempts    int
	retryAfterMax  time.Duration
	pendingTimeout time.Duration
}

// clean reports whether every attempt before this claim's surely did nothing.
func (s situation) clean() bool {
	return s.cleared || s.claim.Answer == idempotency.Fresh || s.claim.Answer == idempotency.Retry
}

// attempt is the number of the next attempt, not counting those that the payment's guard did not let through.
func (s situation) attempt() int { return s.claim.Attempt - s.claim.Record.Denied }

func (s situation) expired() bool { return s.notAfter != nil && s.now.After(*s.notAfter) }

const (
	// scheduleFloor is the shortest wait that a schedule is used for.
	scheduleFloor = 2 * time.Second
	// busyLook bounds the wait for another claim, which usually ends long before its lease.
	busyLook    = 5 * time.Second
	notReadyNak = time.Second
	parkedWeek  = idempotency.ParkedAgain
	// prepareLimit is for how long, at least, preparations may fail before a person is asked.
	prepareLimit = 24 * time.Hour
	// doubtLimit is how long lookups may fail before a person is asked.
	doubtLimit = 7 * 24 * time.Hour
	// unauthorizedFloor keeps wrong credentials from hammering a provider.
	unauthorizedFloor = time.Minute
)

// decideClaim settles deliveries that end at the claim; it reports false when work goes on.
func decideClaim(s situation) (Decision, bool) {
	until := s.claim.Until.Sub(s.now)
	switch s.claim.Answer {
	case idempotency.Conflict:
		return Decision{Kind: schemas.KindRejected, Reason: schemas.ReasonRequestIDConflict, Then: Terminate,
			Detail: "the requestId belongs to a command with other content"}, true
	case idempotency.Settled:
		return Decision{Then: Ack}, true
	case idempotency.Busy:
		return Decision{Then: Later, Delay: min(max(until, scheduleFloor), busyLook), Round: s.round,
			Detail: "another claim is at work"}, true
	case idempotency.Parked:
		if until <= 0 {
			return Decision{Kind: schemas.KindParked, Then: Later, Delay: parkedWeek, Detail: "still parked"}, true
		}
		return Decision{Then: Later, Delay: until, Detail: "parked"}, true
	case idempotency.Wait:
		return Decision{Then: Later, Delay: until, Detail: "not due"}, true
	case idempotency.Fresh, idempotency.Retry, idempotency.Doubt, idempotency.Pending:
		return Decision{}, false
	}
	return Decision{Then: Nak, Delay: notReadyNak, Round: s.round, Detail: "claims are not answered now"}, true
}

// decideAttempt tells whether another attempt may be made; it reports false when one may.
func decideAttempt(s situation) (Decision, bool) {
	if s.expired() && s.clean() {
		return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonExpired, FoundBy: schemas.FoundByCall, Then: Ack,
			Detail: "notAfter has passed and nothing was executed"}, true
	}
	if s.attempt() <= s.maxAttempts && !s.expired() {
		return Decision{}, false
	}
	return s.giveUp("no further attempt may be made"), true
}

// giveUp asks a person, and tells them whether an earlier attempt may have moved money.
func (s situation) giveUp(detail string) Decision {
	if s.clean() {
		return park(schemas.ReasonRetriesExhausted, providers.Result{}, detail)
	}
	return park(schemas.ReasonOutcomeUnknown, providers.Result{}, detail)
}

// decidePrepared takes in what Prepare said before an attempt; it reports false when the attempt goes on.
func decidePrepared(s situation, r providers.Result, err error) (Decision, bool) {
	if err != nil {
		return decideUnprepared(s, err), true
	}
	switch {
	case r.Status == providers.NoResult:
		return Decision{}, false
	case !s.clean():
		// What the payment looks like now may be our own doing: only a lookup can tell.
		return Decision{Release: Abandon, Then: Later, Delay: nextLook(s.since, s.now),
			Detail: "the payment changed while an attempt is in doubt"}, true
	}
	return decideResult(s, r, schemas.FoundByLookup), true
}

func decideUnprepared(s situation, err error) Decision {
	kind, problems, after := describe(err)
	if kind == providers.Invalid {
		if s.claim.Answer == idempotency.Fresh {
			d := refuse(schemas.ReasonUnsupported, problems)
			d.Detail = err.Error() + "; " + d.Detail
			return d
		}
		return s.giveUp(err.Error())
	}
	if s.round >= s.maxAttempts && s.now.Sub(s.requestedAt) > prepareLimit {
		return s.giveUp(err.Error())
	}
	// A schedule, however short the wait: a delivery that is given back would forget how many rounds there were.
	d := Decision{Release: Abandon, Then: Later, Delay: max(s.wait(s.round+1, after), scheduleFloor), Round: s.round + 1,
		Detail: err.Error()}
	if kind == providers.Unauthorized {
		d.Delay = max(d.Delay, unauthorizedFloor)
	}
	return d
}

// decideCalled takes in what the call said. An unknown outcome is never failed and never repeated: the lease
// is left to run out, and whoever claims next looks up first.
func decideCalled(s situation, r providers.Result, err error) Decision {
	if err == nil {
		return decideResult(s, r, schemas.FoundByCall)
	}
	kind, _, after := describe(err)
	if kind == providers.Unknown {
		delay := max(s.claim.Until.Sub(s.now), 0) + time.Second
		if !s.caps.Lookup { // what comes next is another call, not a look
			delay = max(delay, s.wait(s.attempt(), after))
		}
		return Decision{Then: Later, Delay: delay, Detail: err.Error()}
	}
	if kind == providers.Invalid || s.attempt() >= s.maxAttempts {
		return s.giveUp(err.Error())
	}
	d := s.undo(s.wait(s.attempt(), after), err.Error())
	if kind == providers.Unauthorized {
		d.Delay = max(d.Delay, unauthorizedFloor)
	}
	return d
}

// undo ends a claim whose attempt was journalled and surely did nothing.
func (s situation) undo(delay time.Duration, detail string) Decision {
	d := Decision{Release: Undo, Then: Later, Delay: delay, Detail: detail}
	if s.clean() {
		d.Release = UndoClean
	}
	return d
}

// decideResult turns a provider's answer into an event. An answer is conclusive: to a first call, after a
// conclusive lookup, and to a call repeated under the key of the attempt in doubt.
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
	default:
		// An adapter that returns neither answer nor error has told nothing.
		return Decision{Then: Later, Delay: max(s.claim.Until.Sub(s.now), 0) + time.Second,
			Detail: "the adapter gave no answer"}
	}
	return d
}

func decideNotNow(s situation, r providers.Result) Decision {
	if s.attempt() >= s.maxAttempts {
		return park(schemas.ReasonRetriesExhausted, r, "the provider said \"not now\" to the last attempt")
	}
	at := deferral(r, s.caps, s.claim.Record.Deferrals, s.now)
	return Decision{Kind: schemas.KindDeferred, Reason: r.Reason, Result: r, NotBefore: at, Then: Later,
		Delay: at.Sub(s.now)}
}

// decideFound takes in a lookup of a refund in doubt or pending; it reports false when doubt is ended and a
// further attempt may be made.
func decideFound(s situation, f providers.Finding, err error) (Decision, bool) {
	if err != nil {
		return decideUnfound(s, err.Error()), true
	}
	failed := f.Kind == providers.Found || f.Kind == providers.NotFound
	if s.claim.Answer == idempotency.Pending && failed && f.Result.Status == providers.NotNow {
		return decideNotNow(s, f.Result), true // what was taken on failed, and may be asked for again later
	}
	switch f.Kind {
	case providers.Found:
		if f.Result.Status == providers.NotNow || f.Result.Status == providers.NoResult {
			return decideUnfound(s, "the lookup found no end"), true
		}
		if f.Result.Status == providers.Acknowledged && s.claim.Answer == idempotency.Pending {
			return decideUnfound(s, "the provider is still at it"), true
		}
		return decideResult(s, f.Result, schemas.FoundByLookup), true
	case providers.Contradiction:
		if s.claim.Answer == idempotency.Doubt && s.now.Before(s.conclusive) { // what changed it may be our own refund
			break
		}
		return park(schemas.ReasonContradiction, f.Result, f.Detail), true
	case providers.NotFound:
		if s.claim.Answer == idempotency.Doubt && !s.conclusive.IsZero() && !s.now.Before(s.conclusive) {
			return Decision{}, false
		}
	}
	if s.claim.Answer == idempotency.Doubt && s.now.Before(s.conclusive) {
		return Decision{Release: Abandon, Then: Later, Delay: s.conclusive.Sub(s.now), Round: s.round,
			Detail: "it is too early to tell"}, true
	}
	return decideUnfound(s, "the lookup cannot tell yet"), true
}

// decideUnfound waits on, patiently, and at last asks a person.
func decideUnfound(s situation, detail string) Decision {
	age := s.now.Sub(s.since)
	if s.claim.Answer == idempotency.Pending {
		if age > s.pendingTimeout {
			return park(schemas.ReasonOutcomeOverdue, providers.Result{}, detail)
		}
	} else if age > doubtLimit {
		return park(schemas.ReasonOutcomeUnknown, providers.Result{}, detail)
	}
	return Decision{Release: Abandon, Then: Later, Delay: nextLook(s.since, s.now), Round: s.round + 1, Detail: detail}
}

// decideUnasked holds off a duplicate that would have the provider asked before its time. The time does not move
// with the duplicates: each leads to the same next look.
func decideUnasked(s situation) Decision {
	if s.claim.Answer == idempotency.Pending {
		d := decideUnfound(s, "it is not time to ask")
		d.Round = s.round
		return d
	}
	delay := nextLook(s.since, s.now)
	if early := s.conclusive.Sub(s.now); early > 0 {
		delay = min(delay, early)
	}
	return Decision{Release: Abandon, Then: Later, Delay: delay, Round: s.round, Detail: "it is not time to ask"}
}

// refuse rejects a command under whose claim nothing was journalled.
func refuse(reason schemas.Reason, problems []schemas.Problem) Decision {
	rejection := schemas.Rejection{Reason: reason, Problems: problems}
	return Decision{Kind: schemas.KindRejected, Reason: reason, Problems: problems, Release: Abandon, Then: Terminate,
		Detail: rejection.Error()}
}

func park(reason schemas.Reason, r providers.Result, detail string) Decision {
	return Decision{Kind: schemas.KindParked, Reason: reason, Result: r, Then: Later, Delay: parkedWeek, Detail: detail}
}

// wait is the backoff after n rounds, or what the provider asked for if that is longer, up to a bound.
func (s situation) wait(n int, after time.Duration) time.Duration {
	return max(s.backoff.delay(n, s.spread), min(after, s.retryAfterMax))
}

func describe(err error) (providers.Kind, []schemas.Problem, time.Duration) {
	var e *providers.Error
	if errors.As(err, &e) {
		return e.Kind, e.Problems, e.RetryAfter
	}
	return providers.Unknown, nil, 0
}
