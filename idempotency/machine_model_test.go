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
	attempts    int
	clean       int
	deferrals   int
	due         time.Time
	reversed    int64
	last        uint64

	owner    string
	lease    time.Time
	released string    // the claim that gave the lease back last
	pause    time.Time // until then duplicates wait
	told     uint64    // the sequence that the last undo told
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
	if e.Seq <= r.last {
		return r, true
	}
	reversible := r.state == schemas.KindSucceeded || r.state == schemas.KindCancelled
	switch k := e.Event.Kind; {
	case k == schemas.KindReversed && !reversible, k != schemas.KindReversed && r.settled(),
		k == schemas.KindResumed && r.state != schemas.KindParked:
		return r, false
	case k == schemas.KindReversed:
		r.reversed, r.last = e.Event.Reversal.Total.Micros, e.Seq
		return r, true
	}
	if r.last == 0 {
		r.fingerprint, _ = schemas.ParseFingerprint(e.Event.Fingerprint)
	}
	r.last = e.Seq
	stays := r.state == schemas.KindParked || r.state == schemas.KindAcknowledged
	switch e.Event.Kind {
	case schemas.KindDispatched:
		r.attempts = max(r.attempts, e.Event.Attempt)
		if stays {
			return r, true
		}
	case schemas.KindDeferred:
		r.attempts, r.clean = max(r.attempts, e.Event.Attempt), max(r.clean, e.Event.Attempt)
		r.deferrals++
	case schemas.KindResumed:
		r.clean = r.attempts
	}
	r.state, r.due = e.Event.Kind, time.Time{}
	switch e.Event.Kind {
	case schemas.KindDeferred:
		r.due = *e.Event.NotBefore
	case schemas.KindParked:
		r.due = e.Event.OccurredAt.Add(7 * 24 * time.Hour)
	}
	return r, true
}

// leases takes in what an event says about the lease of the claim that it was written under.
func (r *modelRecord) leases(e ledger.Entry) {
	switch e.Event.Kind {
	case schemas.KindDispatched:
		if e.Owner == "" || e.Owner == r.released {
			return
		}
		if r.owner == "" {
			r.owner = e.Owner
		}
		if e.Event.LeaseUntil.After(r.lease) { // it never shortens
			r.lease = *e.Event.LeaseUntil
		}
	case schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked:
		if e.Owner != "" && e.Owner == r.owner {
			r.owner, r.lease, r.released = "", time.Time{}, e.Owner
		}
	}
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
	answer  Answer
	attempt int
	until   time.Time
	pos     uint64
}

// claim answers by the table of the design, the first row that fits.
func (m *modelRedis) claim(id schemas.RequestID, partition int, c modelClaim, now time.Time) modelAnswer {
	at := m.pos[partition]
	behind := at == nil || *at < c.floor
	r, known := m.records[id]
	a := modelAnswer{attempt: max(r.attempts, r.clean) + 1}
	if at != nil {
		a.pos = *at
	}
	switch {
	case !behind && known && r.fingerprint != c.fingerprint:
		a.answer = Conflict
	case !behind && r.settled():
		a.answer = Settled
	case r.owner != "" && r.owner != c.token && r.lease.After(now):
		a.answer, a.until = Busy, r.lease
	case r.released == c.token: // a claim that was given back, sent again: nobody hears the answer
		a.answer, a.until = Busy, now
	case !behind && r.state == schemas.KindParked:
		a.answer, a.until = Parked, r.due
	case !behind && r.state == schemas.KindDeferred && r.due.After(now):
		a.answer, a.until = Wait, r.due
	case r.attempts <= r.clean && r.pause.After(now):
		a.answer, a.until = Wait, r.pause
	case behind:
		a.answer = Behind
	case r.state == schemas.KindAcknowledged:
		a.answer = Pending
	case r.attempts > r.clean:
		a.answer = Doubt
	case r.clean > 0:
		a.answer = Retry
	default:
		a.answer = Fresh
	}
	switch a.answer {
	case Fresh, Retry, Doubt, Pending, Behind:
		a.until = now.Add(c.lease)
		if !known {
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

// modelRelease is how a claim ends without an event.
type modelRelease struct {
	token     string
	cleanUpTo int
	pause     time.Duration
	last      uint64
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
	r.clean = max(r.clean, u.cleanUpTo)
	if u.pause > 0 {
		r.pause = now.Add(u.pause)
	}
	if u.last > 0 {
		r.told = u.last
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
	// open is what the last look found, or a claim since: that all is applied which was known.
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
func (g *modelGate) lets(now time.Time) bool {
	lags := g.applied < uint64(len(g.known)) && now.Sub(g.known[g.applied]) > lagBound
	return g.open && now.Sub(g.looked) <= lagBound && !lags
}
