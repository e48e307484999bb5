package idempotency

import (
	"math"
	"strings"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// register is the sequential model of one refund: a lease with an owner, and what the journal says, one operation
// after another. It is written from the rules, apart from the scripts. Times are Redis's, in milliseconds; where an
// operation does not tell its time, or its answer got lost, they are spans that later answers narrow down.
type register struct {
	now         int64 // Redis's clock shows at least this
	fingerprint schemas.Fingerprint

	state                      State
	attempts, clean, deferrals int
	due                        int64
	last, noted                uint64 // the last event applied, and the last one that an owner told of
	applied                    int    // how many of the refund's events are applied

	owner string
	lease span
	pause span
	// released lists the tokens that gave their lease back, the latest last, each followed by a space.
	released string
}

// span is when something ends: at the earliest and at the latest.
type span struct{ from, to int64 }

func at(ms int64) span { return span{ms, ms} }

func (s span) has(ms int64) bool { return s.from <= ms && ms <= s.to }

// endedBy reports whether the end may have come by then, and from now on takes it to have.
func (s *span) endedBy(ms int64) bool {
	s.to = min(s.to, ms)
	return s.from <= s.to
}

// window is when an operation ran, by the wall clock, which is Redis's, too.
type window struct{ from, to int64 }

// whenever is the end of an operation whose answer never came: it may take effect at any later time.
const whenever = math.MaxInt64 / 2

// claiming is a claim. Its output is a Claim, or nil when the answer got lost.
type claiming struct {
	window
	token       string
	fingerprint schemas.Fingerprint
	lease       int64
}

// releasing is abandon or undo. Its output is what it reported, or nil.
type releasing struct {
	window
	token string
	clean int // attempts up to this one surely did nothing; 0 says nothing
	pause int64
	last  uint64
}

// applying is the projection of one event: the n-th of its refund. It has no output.
type applying struct {
	n     int
	entry ledger.Entry
}

// reading is Store.Read. Its output is a Record.
type reading struct{}

// step lists what the register may be after an operation with this output; nothing when it cannot have it.
func (r register) step(input, output any) []register {
	switch in := input.(type) {
	case claiming:
		c, answered := output.(Claim)
		switch {
		case !answered:
			return r.maybeClaimed(in)
		case c.Answer == NotReady:
			return []register{r}
		}
		return r.claimed(in, c)
	case releasing:
		given, answered := output.(bool)
		switch {
		case !answered:
			return append(r.givenBack(in), r)
		case given:
			return r.gaveBack(in)
		}
		return r.kept(in)
	case applying:
		return r.apply(in)
	case reading:
		if r.shows(output.(Record), r.last) {
			return []register{r}
		}
	}
	return nil
}

func (r register) inDoubt() bool { return r.attempts > r.clean }

func (r register) shows(seen Record, last uint64) bool {
	due := int64(0)
	if !seen.Due.IsZero() {
		due = seen.Due.UnixMilli()
	}
	return seen.Fingerprint == r.fingerprint && seen.State == r.state && seen.Attempts == r.attempts &&
		seen.Clean == r.clean && seen.Deferrals == r.deferrals && due == r.due && seen.Last == last
}

// claimed judges an answer, row by row of the table of answers.
func (r register) claimed(in claiming, c Claim) []register {
	t, until := c.RedisTime.UnixMilli(), int64(0)
	if !c.Until.IsZero() {
		until = c.Until.UnixMilli()
	}
	if t < r.now || !span(in.window).has(t) || c.Attempt != max(r.attempts, r.clean)+1 ||
		!r.shows(c.Record, r.last) || c.Told != r.toldAt(c.Pos) {
		return nil
	}
	r.now = t
	if c.Answer == Busy {
		if r.owner == "" || r.owner == in.token || !r.lease.has(until) || until <= t {
			return nil
		}
		r.lease = at(until)
	}
	var want Answer
	switch {
	case r.fingerprint != schemas.Fingerprint{} && r.fingerprint != in.fingerprint:
		want = Conflict
	case r.state.Settled():
		want = Settled
	case c.Answer == Busy:
		want = Busy
	case r.owner != "" && r.owner != in.token && !r.lease.endedBy(t):
		return nil
	default:
		want = r.unowned(in, c.Answer, until)
	}
	if c.Answer != want {
		return nil
	}
	return []register{r}
}

// toldAt is what a claim at a position is told of the last owner's event.
func (r register) toldAt(pos uint64) uint64 {
	if r.noted > pos { // not applied yet
		return r.noted
	}
	return 0
}

// unowned is what a claim is told when no lease is in its way, and what comes of it.
func (r *register) unowned(in claiming, answer Answer, until int64) Answer {
	switch {
	case r.state == StateParked:
		return when(until == r.due, Parked)
	case r.state == StateDeferred && r.due > r.now:
		return when(until == r.due, Wait)
	case answer == Wait:
		possible := !r.inDoubt() && r.pause.has(until) && until > r.now
		r.pause = at(until)
		return when(possible, Wait)
	case !r.inDoubt() && !r.pause.endedBy(r.now):
		return ""
	}
	r.fingerprint, r.owner, r.lease = in.fingerprint, in.token, at(r.now+in.lease)
	return when(until == r.now+in.lease, r.held())
}

// when is the answer, or none when something else about it is not so.
func when(so bool, answer Answer) Answer {
	if so {
		return answer
	}
	return ""
}

// held is what a claim is told that gets the lease.
func (r register) held() Answer {
	switch {
	case r.state == StateAcknowledged:
		return Pending
	case r.inDoubt():
		return Doubt
	case r.attempts > 0 || r.clean > 0:
		return Retry
	}
	return Fresh
}

// maybeClaimed is a claim whose answer is unknown: it may have taken the lease from the first moment at which it could.
func (r register) maybeClaimed(in claiming) []register {
	out := []register{r}
	conflict := r.fingerprint != schemas.Fingerprint{} && r.fingerprint != in.fingerprint
	if conflict || r.state.Settled() || r.state == StateParked {
		return out
	}
	t := max(r.now, in.from)
	if r.owner != "" && r.owner != in.token {
		t = max(t, r.lease.from)
	}
	if r.state == StateDeferred {
		t = max(t, r.due)
	}
	if !r.inDoubt() {
		t = max(t, r.pause.from)
	}
	if t > in.to {
		return out
	}
	r.now, r.fingerprint, r.owner, r.lease = t, in.fingerprint, in.token, span{t + in.lease, in.to + in.lease}
	return append(out, r)
}

// lastReleased reports whether a token was the last to give its lease back.
func (r register) lastReleased(token string) bool { return strings.HasSuffix(r.released, token+" ") }

// gaveBack is a release that reported true: it did it, or the same release sent before did.
func (r register) gaveBack(in releasing) []register {
	if r.owner != in.token && r.lastReleased(in.token) {
		return []register{r}
	}
	return r.givenBack(in)
}

// givenBack is a release that took effect: only the owner's does, and only before the lease's end.
func (r register) givenBack(in releasing) []register {
	t, latest := max(r.now, in.from), min(in.to, r.lease.to-1)
	if r.owner != in.token || t > latest {
		return nil
	}
	r.now = t
	r.clean = max(r.clean, in.clean)
	if in.pause > 0 {
		r.pause = span{t + in.pause, latest + in.pause}
	}
	if in.last > 0 {
		r.noted = in.last
	}
	r.disown(in.token)
	return []register{r}
}

// kept is a release that reported false: the lease was another's by then, or had ended.
func (r register) kept(in releasing) []register {
	if r.owner != in.token {
		if r.lastReleased(in.token) {
			return nil
		}
		return []register{r}
	}
	t := max(r.now, in.from, r.lease.from)
	if t > in.to {
		return nil
	}
	r.now = t
	return []register{r}
}

func (r *register) disown(token string) {
	r.owner, r.lease = "", span{}
	r.released += token + " "
}

// apply projects an event. The events of one refund come in the order of the journal.
func (r register) apply(in applying) []register {
	if in.n != r.applied {
		return nil
	}
	r.applied++
	e := in.entry.Event
	if r.state.Settled() || e.Kind == schemas.KindResumed && r.state != StateParked {
		return []register{r}
	}
	r.last, r.fingerprint = in.entry.Seq, fingerprintOf(e.RequestID)
	switch e.Kind {
	case schemas.KindDispatched:
		return r.dispatch(in.entry)
	case schemas.KindDeferred:
		r.state, r.due = StateDeferred, e.NotBefore.UnixMilli()
		r.attempts, r.clean, r.deferrals = max(r.attempts, e.Attempt), max(r.clean, e.Attempt), r.deferrals+1
	case schemas.KindAcknowledged:
		r.state, r.due = StateAcknowledged, 0
	case schemas.KindParked:
		r.state, r.due = StateParked, e.OccurredAt.Add(ParkedAgain).UnixMilli()
	case schemas.KindResumed:
		r.state, r.due, r.clean = StateResumed, 0, r.attempts
		return []register{r}
	default:
		settled := register{now: r.now, fingerprint: r.fingerprint, state: stateAfter[e.Kind], attempts: r.attempts,
			clean: r.clean, deferrals: r.deferrals, last: r.last, applied: r.applied}
		return []register{settled}
	}
	if r.owner != "" && r.owner == in.entry.Owner {
		r.disown(in.entry.Owner)
	}
	return []register{r}
}

// dispatch counts an attempt, and makes the lease last as long as its claim's: unless that very claim has released
// since. Only the latest release is remembered for sure; an earlier one's lease may come back and cost a wait.
func (r register) dispatch(intent ledger.Entry) []register {
	r.attempts = max(r.attempts, intent.Event.Attempt)
	if r.state != StateParked && r.state != StateAcknowledged {
		r.state, r.due = StateDispatched, 0
	}
	if r.lastReleased(intent.Owner) {
		return []register{r}
	}
	until, leased := intent.Event.LeaseUntil.UnixMilli(), r
	if leased.owner == "" {
		leased.owner = intent.Owner
	}
	leased.lease = span{max(r.lease.from, until), max(r.lease.to, until)}
	if strings.Contains(r.released, intent.Owner+" ") {
		return []register{r, leased}
	}
	return []register{leased}
}
