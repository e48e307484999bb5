package idempotency

import (
	"maps"
	"slices"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// modelPosition is where a partition's projection stands; nil where there is no position.
type modelPosition = *uint64

// modelRecord is a refund as the design describes it: what happened, and the leases on it.
type modelRecord struct {
	fingerprint schemas.Fingerprint
	state       schemas.Kind
	// intent is the sequence of the last attempt, and clean the one up to which all of them surely did nothing.
	intent, clean uint64
	begun, since  time.Time
	last          uint64
	undone        uint64 // up to which attempts did nothing, as owners have said

	owner    string
	lease    time.Time
	released string    // the claim that gave the lease back last
	pause    time.Time // until then duplicates wait
	expires  time.Time // zero: never
}

// modelRedis is all that Redis holds.
type modelRedis struct {
	records map[schemas.RequestID]modelRecord
	// pos and rebuild are by partition; a partition that is rebuilt has its position under rebuild.
	pos, rebuild []modelPosition
	leader       string
	leaderUntil  time.Time
}

func newModelRedis(partitions int) *modelRedis {
	return &modelRedis{records: map[schemas.RequestID]modelRecord{}, pos: make([]modelPosition, partitions),
		rebuild: make([]modelPosition, partitions)}
}

func (m *modelRedis) copy() *modelRedis {
	c := *m
	c.records, c.pos, c.rebuild = maps.Clone(m.records), slices.Clone(m.pos), slices.Clone(m.rebuild)
	return &c
}

// expire drops what has run out.
func (m *modelRedis) expire(now time.Time) {
	maps.DeleteFunc(m.records, func(_ schemas.RequestID, r modelRecord) bool {
		return !r.expires.IsZero() && !r.expires.After(now)
	})
	if !m.leaderUntil.After(now) {
		m.leader = ""
	}
}

func (r modelRecord) settled() bool { return r.state.Outcome() }

// fold takes in one event. It reports false for one that is ignored where it stands.
func (r modelRecord) fold(e ledger.Entry) (modelRecord, bool) {
	kind := e.Event.Kind
	switch {
	case e.Seq <= r.last:
		return r, true
	case kind == schemas.KindReversed && (r.state == schemas.KindSucceeded || r.state == schemas.KindCancelled):
		r.last = e.Seq
		return r, true
	case r.settled(), kind == schemas.KindReversed && r.last > 0:
		return r, false
	case kind == schemas.KindReversed: // only what succeeded comes back
		kind = schemas.KindSucceeded
	}
	if r.last == 0 {
		r.fingerprint, _ = schemas.ParseFingerprint(e.Event.Fingerprint)
		r.begun = e.Stored
	}
	switch kind {
	case schemas.KindDispatched:
		r.intent = e.Seq
	case schemas.KindDeferred, schemas.KindResumed:
		r.clean = e.Seq
	}
	r.state, r.since, r.last = kind, e.Stored, e.Seq
	if e.Event.Kind == schemas.KindReversed {
		r.since = time.Time{} // nobody knows since when
	}
	if r.settled() { // what only an open refund needs
		r.intent, r.clean, r.begun = 0, 0, time.Time{}
	}
	return r, true
}

// modelClaim is a claim as it reaches Redis.
type modelClaim struct {
	token       string
	fingerprint schemas.Fingerprint
	lease       time.Duration
	floor       uint64
}

// modelAnswer is what a claim must be answered.
type modelAnswer struct {
	answer      Answer
	until       time.Time
	pos         uint64
	head, clean uint64
}

// claim answers by the table of the design, the first row that fits.
func (m *modelRedis) claim(id schemas.RequestID, partition int, c modelClaim, now time.Time) modelAnswer {
	at := m.pos[partition]
	behind := at == nil || *at < c.floor
	r := m.records[id]
	owned := r.last > 0 || r.undone > 0 // what was only ever claimed owns nothing
	a := modelAnswer{head: max(r.last, r.undone), clean: r.undone}
	if at != nil {
		a.pos = *at
	}
	switch {
	case !behind && owned && r.fingerprint != c.fingerprint:
		a.answer = Conflict
	case !behind && r.settled():
		a.answer = Settled
	case r.owner != "" && r.owner != c.token && r.lease.After(now):
		a.answer, a.until = Busy, r.lease
	case r.released == c.token: // a claim that was given back, sent again: nobody hears the answer
		a.answer, a.until = Busy, now
	case r.intent <= max(r.clean, r.undone) && r.pause.After(now):
		a.answer, a.until = Busy, r.pause
	case behind:
		a.answer = Behind
	case r.state == schemas.KindParked:
		a.answer = Parked
	case r.state == schemas.KindDeferred:
		a.answer = Wait
	case r.state == schemas.KindAcknowledged:
		a.answer = Pending
	case r.intent > max(r.clean, r.undone):
		a.answer = Doubt
	case r.last > 0 || r.undone > 0:
		a.answer = Retry
	default:
		a.answer = Fresh
	}
	switch a.answer {
	case Fresh, Retry, Doubt, Pending, Parked, Wait, Behind:
		a.until = now.Add(c.lease)
		if !owned {
			r.fingerprint = c.fingerprint
		}
		r.owner, r.lease = c.token, a.until
		if r.last == 0 {
			r.expires = now.Add(unjournalledTTL)
		}
		m.records[id] = r
	}
	return a
}

// modelRelease is how a claim ends without an outcome.
type modelRelease struct {
	token string
	clean uint64
	pause time.Duration
}

// release gives a lease back, if the token is the current one's and the lease still runs.
func (m *modelRedis) release(id schemas.RequestID, u modelRelease, now time.Time) bool {
	r := m.records[id]
	switch {
	case r.owner != u.token:
		return r.released == u.token // sent again
	case !r.lease.After(now):
		return false
	}
	r.undone = max(r.undone, u.clean)
	if u.pause > 0 {
		r.pause = now.Add(u.pause)
	}
	r.owner, r.lease, r.released = "", time.Time{}, u.token
	m.records[id] = r
	return true
}

// modelGate is what one worker knows.
type modelGate struct {
	// floor is by partition the highest position seen; applied the lowest of all at the last good look.
	floor   []uint64
	applied uint64
	// known[i] is when sequence i+1 became known.
	known []time.Time
	start uint64
	// open is what the last look found, or a claim since: that all was applied which is to be.
	open   bool
	looked time.Time
}

func (g *modelGate) knows(seq uint64, now time.Time) {
	for uint64(len(g.known)) < seq {
		g.known = append(g.known, now)
	}
}

// lagBound is how long an event may be known and not applied, and how long a worker may hear nothing.
const lagBound = 30 * time.Second

// look is the look of every second. One after a silence is a start: what came meanwhile may be long known to others.
func (g *modelGate) look(m *modelRedis, last uint64, now time.Time) {
	if now.Sub(g.looked) > lagBound {
		g.start = last
	}
	g.knows(last, now)
	g.looked, g.open = now, false
	lowest := ^uint64(0)
	for p, at := range m.pos {
		if at == nil || *at < g.floor[p] {
			return
		}
		g.floor[p], lowest = *at, min(lowest, *at)
	}
	g.applied, g.open = lowest, lowest >= g.start
}

// lets tells whether claims are sent to Redis at all.
func (g *modelGate) lets(now time.Time) bool { return now.Sub(g.looked) <= lagBound }

// relies tells whether the projection can be relied on.
func (g *modelGate) relies(now time.Time) bool {
	lags := g.applied < uint64(len(g.known)) && now.Sub(g.known[g.applied]) > lagBound
	return g.open && g.lets(now) && !lags
}
