package refund

import (
	"errors"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// Disposition says what becomes of a delivery.
type Disposition int

// Dispositions. The zero value gives the delivery back, which never loses anything.
const (
	// Nak has the stream deliver the message again after the delay.
	Nak Disposition = iota
	// Ack ends the delivery: the refund is settled, or another message carries it on.
	Ack
	// Later stores a schedule that carries the message, then ends the delivery.
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
	// Undo gives it back: the attempt surely did nothing.
	Undo
)

// Decision is what to do with a delivery: journal an event (none when Kind is empty), release the claim, then dispose
// of the message.
type Decision struct {
	Kind    schemas.Kind
	Reason  schemas.Reason
	FoundBy schemas.FoundBy
	// Result is what the provider answered, for the event's details.
	Result providers.Result
	// NotBefore is when a deferred refund may be tried again.
	NotBefore time.Time

	Release Release
	// Clean is, for Undo, the sequence up to which every intent surely did nothing; 0 says nothing about any.
	Clean uint64
	Then  Disposition
	// Delay is how long Nak and Later wait.
	Delay time.Duration
	// Round is carried by the schedule: how many rounds brought no progress.
	Round int
	// Detail says why in words, for logs and dead letters.
	Detail   string
	Problems []schemas.Problem
}

// moved reports whether the decision's event says that money moved.
func (d Decision) moved() bool { return moved(d.Kind) }

func moved(k schemas.Kind) bool { return k == schemas.KindSucceeded || k == schemas.KindCancelled }

// situation is all that a decision may depend on.
type situation struct {
	Rules
	claim  Claim
	refund ledger.Refund
	// cleared is set when doubt about every attempt before the own one was ended in this run, and own is the sequence of
	// the own intent; 0 before it is journalled.
	cleared bool
	own     uint64
	// asked is when the provider was asked what a lookup answers.
	now, asked time.Time
	command    schemas.Command
	conflict   bool
	scheduled  bool
	round      int
	arrived    time.Time
	spread     float64
}

func (r *run) situation() situation { return r.situationAt(time.Time{}) }

func (r *run) situationAt(asked time.Time) situation {
	s := situation{Rules: r.Rules, claim: r.claim, refund: r.refund, cleared: r.cleared, own: r.own, now: r.Clock.Now(),
		asked: asked, command: r.Command, scheduled: r.Scheduled, round: r.Round, arrived: r.Arrived, spread: r.Spread}
	first := r.refund.First
	s.conflict = first != nil && first.Fingerprint != "" && first.Fingerprint != r.Fingerprint.String()
	return s
}

// standing is where a refund is.
type standing int

const (
	fresh   standing = iota // no attempt is journalled
	retry                   // each attempt surely did nothing
	doubt                   // some attempt is not proven to have done nothing
	pending                 // the provider took it on
	waiting                 // deferred and not due
	parked                  // a person must decide
	settled                 // an outcome is there
)

func (s situation) stand() standing {
	switch r := s.refund; {
	case r.Outcome != nil:
		return settled
	case r.State == schemas.KindParked:
		return parked
	case r.State == schemas.KindAcknowledged:
		return pending
	case r.State == schemas.KindDeferred && r.Due.After(s.now):
		return waiting
	case len(r.Doubt()) > 0:
		return doubt
	case len(r.Intents) > 0:
		return retry
	}
	return fresh
}

// clean reports whether every attempt before the own one surely did nothing.
func (s situation) clean() bool {
	if s.cleared {
		return true
	}
	for _, i := range s.refund.Doubt() {
		if i.Seq != s.own {
			return false
		}
	}
	return true
}

func (s situation) expired() bool {
	return s.command.NotAfter != nil && s.now.After(*s.command.NotAfter)
}

// since is when it was begun to try: the message's coming, the first event, or the last time that a person let it go on.
func (s situation) since() time.Time {
	if s.refund.State == schemas.KindResumed {
		return s.refund.Since
	}
	if s.refund.First != nil && (s.arrived.IsZero() || s.refund.First.OccurredAt.Before(s.arrived)) {
		return s.refund.First.OccurredAt
	}
	return s.arrived
}

// worn reports whether it was tried for long, and often: what waited where nobody tried is as good as new.
func (s situation) worn() bool {
	return s.round >= s.MaxAttempts && s.now.Sub(s.since()) > s.GiveUpAfter
}

// calls counts the attempts that may have reached the provider, the own one among them.
func (s situation) calls() int { return s.refund.Reached() }

// conclusive is when "not found" counts.
func (s situation) conclusive() time.Time {
	return s.refund.LeaseUntil.Add(arrived + s.Capabilities.LookupDelay)
}

// decideClaim settles deliveries that end at the claim; it reports false when work goes on. That a claim says "conflict"
// is looked into: what it remembers may be another command's that was never begun.
func decideClaim(s situation) (Decision, bool) {
	switch s.claim.Answer {
	case Settled:
		return Decision{Then: Ack}, true
	case Busy:
		return later(min(max(s.claim.Until.Sub(s.now), scheduleFloor), busyLook), s.round, "another claim is at work"), true
	case Taken, Conflict:
		return Decision{}, false
	}
	return Decision{Then: Nak, Delay: notReady, Detail: "claims are not answered now"}, true
}

// decideState settles deliveries that end by what the chain says; it reports false when work goes on.
func decideState(s situation) (Decision, bool) {
	if s.conflict {
		return conflict("the requestId belongs to a command with other content"), true
	}
	switch s.stand() {
	case settled:
		return Decision{Release: Abandon, Then: Ack}, true
	case parked:
		if left := s.refund.Since.Add(parkedAgain).Sub(s.now); left > 0 {
			return abandon(left, 0, "parked"), true
		}
		d := park(s.refund.ParkedFor, providers.Result{}, "still parked")
		return d, true
	case waiting:
		return abandon(s.refund.Due.Sub(s.now), 0, "not due"), true
	case fresh:
		switch {
		case s.refund.First != nil:
		case s.scheduled && s.now.Sub(s.arrived) > s.Accept: // it may have been begun, and its events have aged out
			return park(schemas.ReasonOutcomeUnknown, providers.Result{}, "it waited for longer than its events may be kept"), true
		case !s.scheduled && s.now.Sub(s.command.RequestedAt) > s.Accept:
			return refuse(schemas.ReasonTooOld, []schemas.Problem{{Pointer: "/requestedAt",
				Rule: "must not be older than " + s.Accept.String()}}), true
		}
	}
	return Decision{}, false
}

// decideAttempt tells whether another attempt may be made; it reports false when one may.
func decideAttempt(s situation) (Decision, bool) {
	switch {
	case s.expired() && s.clean():
		return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonExpired, FoundBy: schemas.FoundByLookup, Then: Ack,
			Detail: "notAfter has passed and nothing was executed"}, true
	case s.expired(), s.calls() >= s.MaxAttempts, s.calls() == 0 && s.worn(), s.refund.Tried() >= maxTried:
		return s.giveUp("no further attempt may be made"), true
	}
	return Decision{}, false
}

// giveUp asks a person, and tells them whether an earlier attempt may have moved money.
func (s situation) giveUp(detail string) Decision {
	if s.clean() {
		return park(schemas.ReasonRetriesExhausted, providers.Result{}, detail)
	}
	return park(schemas.ReasonOutcomeUnknown, providers.Result{}, detail)
}

// refused ends a refund that the provider can never take, once nothing is in doubt.
func (s situation) refused(detail string) Decision {
	if !s.clean() {
		return park(schemas.ReasonOutcomeUnknown, providers.Result{}, detail)
	}
	return Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonDeclined, FoundBy: schemas.FoundByCall, Then: Ack, Detail: detail}
}

// undo ends a claim whose attempt was journalled and surely did nothing.
func (s situation) undo(delay time.Duration, detail string) Decision {
	d := Decision{Release: Undo, Then: Later, Delay: max(delay, scheduleFloor), Round: s.round + 1, Detail: detail}
	if s.clean() {
		d.Clean = s.own
	}
	return d
}

// backoff is the wait after the rounds so far, or what the provider asked for if that is longer, up to a bound.
func (s situation) backoff(after time.Duration) time.Duration {
	return max(s.Backoff.delay(s.round+1, s.spread), min(after, s.RetryAfterMax))
}

// wait looks again at the next of the fixed times.
func (s situation) wait(detail string, round int) Decision {
	return abandon(nextLook(s.refund.Since, s.now), round, detail)
}

func abandon(delay time.Duration, round int, detail string) Decision {
	return Decision{Release: Abandon, Then: Later, Delay: delay, Round: round, Detail: detail}
}

// later leaves the lease as it is.
func later(delay time.Duration, round int, detail string) Decision {
	return Decision{Then: Later, Delay: delay, Round: round, Detail: detail}
}

func park(reason schemas.Reason, r providers.Result, detail string) Decision {
	return Decision{Kind: schemas.KindParked, Reason: reason, Result: r, Then: Later, Delay: parkedAgain, Detail: detail}
}

// refuse rejects a command about which nothing was journalled.
func refuse(reason schemas.Reason, problems []schemas.Problem) Decision {
	rejection := schemas.Rejection{Reason: reason, Problems: problems}
	return Decision{Kind: schemas.KindRejected, Reason: reason, Problems: problems, Release: Abandon, Then: Terminate,
		Detail: rejection.Error()}
}

func conflict(detail string) Decision {
	return Decision{Kind: schemas.KindRejected, Reason: schemas.ReasonRequestIDConflict, Release: Abandon, Then: Terminate,
		Detail: detail}
}

func describe(err error) (providers.Kind, []schemas.Problem, time.Duration) {
	var e *providers.Error
	if errors.As(err, &e) {
		return e.Kind, e.Problems, e.RetryAfter
	}
	return providers.Unknown, nil, 0
}
