package idempotency

import (
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// modelSpell is one projector's spell of leading: where it left every partition, and what it has folded.
type modelSpell struct {
	left       []modelPosition
	rebuilding []bool
	folded     *modelBatch
}

// modelBatch is what some events make of the records as they were read.
type modelBatch struct {
	to      uint64
	changes map[schemas.RequestID]*modelChange
}

type modelChange struct {
	partition int
	record    modelRecord
	touched   bool
}

// begin places every partition: one that has no position, or a lower one than the worker has seen, is rebuilt. It returns
// nothing where they stand apart: then no position holds any more.
func (m *modelRedis) begin(floor []uint64) *modelSpell {
	s := &modelSpell{left: make([]modelPosition, len(m.pos)), rebuilding: make([]bool, len(m.pos))}
	for p, at := range m.pos {
		if at != nil && *at >= floor[p] {
			s.left[p] = at
			continue
		}
		if at != nil {
			m.pos[p], m.rebuild[p] = nil, at
		}
		s.left[p], s.rebuilding[p] = m.rebuild[p], true
	}
	for _, at := range s.left {
		if !equal(at, s.left[0]) {
			clear(m.pos)
			clear(m.rebuild)
			return nil
		}
	}
	return s
}

// lowest is the sequence that the spell goes on from; 0 is what a missing position counts as.
func (s *modelSpell) lowest() uint64 {
	lowest := ^uint64(0)
	for _, at := range s.left {
		lowest = min(lowest, sequence(at))
	}
	return lowest
}

func sequence(at modelPosition) uint64 {
	if at == nil {
		return 0
	}
	return *at
}

// fold reads the records and takes the events in; nothing is stored yet.
func (s *modelSpell) fold(m *modelRedis, entries []ledger.Entry, partition func(schemas.RequestID) int) {
	s.folded = &modelBatch{to: entries[len(entries)-1].Seq, changes: map[schemas.RequestID]*modelChange{}}
	for _, e := range entries {
		id := e.Event.RequestID
		if id == "" || e.Event.Kind == schemas.KindRejected || e.Seq <= sequence(s.left[partition(id)]) {
			continue
		}
		c := s.folded.changes[id]
		if c == nil {
			c = &modelChange{partition: partition(id)}
			if r := m.records[id]; r.last <= sequence(s.left[partition(id)]) { // else it is told anew
				c.record = r
			}
			s.folded.changes[id] = c
		}
		next, legal := c.record.fold(e)
		if !legal {
			continue
		}
		c.record, c.touched = next, true
	}
}

// stands tells whether a partition is where the spell left it. One that is rebuilt has no other position.
func (s *modelSpell) stands(m *modelRedis, p int) bool {
	if s.rebuilding[p] {
		return m.pos[p] == nil && equal(m.rebuild[p], s.left[p])
	}
	return equal(m.pos[p], s.left[p])
}

func (s *modelSpell) allStand(m *modelRedis) bool {
	for p, left := range s.left {
		if held := m.pos[p]; s.rebuilding[p] && !equal(m.rebuild[p], left) || !s.rebuilding[p] && !equal(held, left) {
			return false
		}
	}
	return true
}

func equal(a, b modelPosition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// write stores what was folded, partition by partition, wherever the position is what it was. It reports false
// when one was not.
func (s *modelSpell) write(m *modelRedis, retain time.Duration) bool {
	b, all := s.folded, true
	s.folded = nil
	for p, left := range s.left {
		if left != nil && b.to <= *left {
			continue
		}
		if !s.stands(m, p) {
			all = false
			continue
		}
		for id, c := range b.changes {
			if c.partition == p && c.touched {
				m.records[id] = m.records[id].take(c, retain)
			}
		}
		to := b.to
		s.left[p] = &to
		if s.rebuilding[p] {
			m.rebuild[p] = &to
		} else {
			m.pos[p] = &to
		}
	}
	return all
}

// take stores what happened; what claims wrote since stays, and what they know of attempts counts.
func (r modelRecord) take(c *modelChange, retain time.Duration) modelRecord {
	n := c.record
	if n.settled() {
		n.owner, n.lease, n.released, n.pause, n.undone = "", time.Time{}, "", time.Time{}, 0
		until := n.since.Add(retain)
		if now := time.Now(); until.Before(now) {
			until = now
		}
		n.expires = until.Add(expirySlack)
		return n
	}
	n.owner, n.lease, n.released, n.pause, n.undone, n.expires = r.owner, r.lease, r.released, r.pause, r.undone, time.Time{}
	return n
}

// promote names positions back that have reached the end of the stream. It reports false when one was moved.
func (s *modelSpell) promote(m *modelRedis, last uint64) bool {
	if s.lowest() < last {
		return true
	}
	for p, rebuilding := range s.rebuilding {
		if !rebuilding {
			continue
		}
		if !s.stands(m, p) {
			return false
		}
		m.pos[p], m.rebuild[p], s.rebuilding[p] = m.rebuild[p], nil, false
	}
	return true
}

// checkFold holds the model to the rule that it is there for: what claims are answered from is the fold of the journal
// up to the position, from its first event on, whatever was lost between.
func (m *claimMachine) checkFold(t *rapid.T, id schemas.RequestID, pos uint64, got modelRecord) {
	var want modelRecord
	for _, e := range m.journal.entries[:max(pos, got.last)] {
		if e.Event.RequestID == id && e.Event.Kind != schemas.KindRejected {
			want, _ = want.fold(e)
		}
	}
	if got.state != want.state || got.intent != want.intent || got.clean != want.clean || got.last != want.last ||
		!got.begun.Equal(want.begun) || !got.since.Equal(want.since) {
		t.Fatalf("%s is\n%+v at position %d, want the fold\n%+v", id, got, pos, want)
	}
}
