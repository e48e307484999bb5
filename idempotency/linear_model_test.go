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

	// state is what the last event led to, intent the sequence of the last attempt, clean what is known to have done nothing.
	state               schemas.Kind
	intent, clean, last uint64
	undone              uint64 // up to which attempts did nothing, as owners have said
	applied             int    // how many of the refund's events are applied

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

// releasing is a release. Its output is what it reported, or nil.
type releasing struct {
	window
	token string
	clean uint64 // attempts up to this sequence surely did nothing; 0 says nothing
	pause int64
}

// applying is the projection of one event: the n-th of its refund. It has no output.
type applying struct {
	n     int
	entry ledger.Entry
}

// reading is Store.Read. Its output is a ledger.Record.
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
		if seen := output.(ledger.Record); seen.Fingerprint == r.fingerprint && seen.State == r.state && seen.Intent == r.intent &&
			seen.Clean == r.clean && seen.Last == r.last {
			return []register{r}
		}
	}
	return nil
}

func (r register) inDoubt() bool { return r.intent > max(r.clean, r.undone) }

// claimed judges an answer, row by row of the table of answers.
func (r register) claimed(in claiming, c Claim) []register {
	t, until := c.RedisTime.UnixMilli(), int64(0)
	if !c.Until.IsZero() {
		until = c.Until.UnixMilli()
	}
	if t < r.now || !span(in.window).has(t) || c.Head != max(r.last, r.undone) || c.Clean != r.undone {
		return nil
	}
	r.now = t
	switch {
	case (r.last > 0 || r.undone > 0) && r.fingerprint != in.fingerprint:
		return r.when(c.Answer == Conflict)
	case r.state.Outcome():
		return r.when(c.Answer == Settled)
	case c.Answer == Busy:
		return r.busy(in, until)
	case r.owner != "" && r.owner != in.token && !r.lease.endedBy(t), !r.inDoubt() && !r.pause.endedBy(t):
		return nil
	}
	want := r.held()
	r.fingerprint, r.owner, r.lease = in.fingerprint, in.token, at(t+in.lease)
	return r.when(c.Answer == want && until == t+in.lease)
}

// when is the register when an answer is the right one.
func (r register) when(right bool) []register {
	if !right {
		return nil
	}
	return []register{r}
}

// busy is what may be when a claim is told to wait: for a lease, or for a pause once no lease is in the way.
func (r register) busy(in claiming, until int64) (out []register) {
	if until <= r.now {
		return nil
	}
	others := r.owner != "" && r.owner != in.token
	if leased := r; others && r.lease.has(until) {
		leased.lease = at(until)
		out = append(out, leased)
	}
	if paused := r; !r.inDoubt() && r.pause.has(until) && (!others || paused.lease.endedBy(r.now)) {
		paused.pause = at(until)
		out = append(out, paused)
	}
	return out
}

// held is what a claim is told that gets the lease.
func (r register) held() Answer {
	switch {
	case r.state == schemas.KindParked:
		return Parked
	case r.state == schemas.KindDeferred:
		return Wait
	case r.state == schemas.KindAcknowledged:
		return Pending
	case r.inDoubt():
		return Doubt
	case r.last > 0 || r.undone > 0:
		return Retry
	}
	return Fresh
}

// maybeClaimed is a claim whose answer is unknown: it may have taken the lease from the first moment at which it could.
func (r register) maybeClaimed(in claiming) []register {
	out := []register{r}
	conflict := (r.last > 0 || r.undone > 0) && r.fingerprint != in.fingerprint
	if conflict || r.state.Outcome() {
		return out
	}
	t := max(r.now, in.from)
	if r.owner != "" && r.owner != in.token {
		t = max(t, r.lease.from)
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
	r.undone = max(r.undone, in.clean)
	if in.pause > 0 {
		r.pause = span{t + in.pause, latest + in.pause}
	}
	r.owner, r.lease = "", span{}
	r.released += in.token + " "
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

// apply projects an event. The events of one refund come in the order of the journal.
func (r register) apply(in applying) []register {
	if in.n != r.applied {
		return nil
	}
	r.applied++
	e := in.entry.Event
	if r.state.Outcome() {
		return []register{r}
	}
	r.state, r.last, r.fingerprint = e.Kind, in.entry.Seq, fingerprintOf(e.RequestID)
	switch e.Kind {
	case schemas.KindDispatched:
		r.intent = r.last
	case schemas.KindDeferred, schemas.KindResumed:
		r.clean = r.last
	}
	if e.Kind.Outcome() { // what belongs to claims goes
		r.owner, r.lease, r.pause, r.released, r.intent, r.clean, r.undone = "", span{}, span{}, "", 0, 0, 0
	}
	return []register{r}
}
