package drills

import (
	"fmt"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// audit is everything that can be read back after a drill.
type audit struct {
	commands []schemas.Command
	ledger   []simulator.Movement
	// journal is the whole event stream, in order.
	journal []journalled
	// waiting counts, by requestId, the messages that carry the refund's command: commands and schedules.
	waiting map[schemas.RequestID]int
	// dead is the number of dead letters.
	dead int
	// records are Redis's, once for each layout that is in use; none when it cannot be read from outside. residue
	// names what should not be there.
	records []map[schemas.RequestID]ledger.Record
	// open counts, by requestId, in how many layouts the refund is listed as open.
	open    map[schemas.RequestID]int
	residue []string
}

// journalled is one stored event, and the sequence of its refund's event before, as it says.
type journalled struct {
	ledger.Entry
	previous uint64
}

// problems holds all of it against all the rest. None means that the promises were kept.
func (a audit) problems() []string {
	var found []string
	wrong := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	known := map[schemas.RequestID]bool{}
	stories := a.stories(wrong)
	movements := a.movements(wrong)
	for _, c := range a.commands {
		known[c.RequestID] = true
		a.refund(c, stories[c.RequestID], movements[c.Payment.Reference], wrong)
		delete(movements, c.Payment.Reference)
	}
	for reference := range movements {
		wrong("payment %s: money moved, and no command asked for it", reference)
	}
	for id := range stories {
		if !known[id] {
			wrong("%s: journalled, and no command asked for it", id)
		}
	}
	for id := range a.waiting {
		if !known[id] {
			wrong("%s: waits, and no command asked for it", id)
		}
	}
	if a.dead > 0 {
		wrong("%d dead letters", a.dead)
	}
	return append(found, a.residue...)
}

// movements are the ledger's lines by payment; each payment of a drill belongs to one refund.
func (a audit) movements(wrong func(string, ...any)) map[string][]simulator.Movement {
	moved := map[string][]simulator.Movement{}
	for _, m := range a.ledger {
		moved[m.Reference] = append(moved[m.Reference], m)
		if n := len(moved[m.Reference]); n > 1 {
			wrong("payment %s: money moved %d times", m.Reference, n)
		}
	}
	return moved
}

// story is what the journal tells about one refund.
type story struct {
	record   ledger.Record
	outcomes []schemas.Event
}

// stories folds the journal, and tells what no journal may hold: an id twice, an illegal move, a broken chain.
func (a audit) stories(wrong func(string, ...any)) map[schemas.RequestID]*story {
	stories, ids := map[schemas.RequestID]*story{}, map[string]bool{}
	for _, e := range a.journal {
		id := e.Event.RequestID
		if ids[e.ID] {
			wrong("event %d: id %s occurs twice", e.Seq, e.ID)
		}
		ids[e.ID] = true
		if e.Event.Kind == schemas.KindRejected {
			continue
		}
		s := stories[id]
		if s == nil {
			s = &story{}
			stories[id] = s
		}
		if e.previous != s.record.Last {
			wrong("event %d: %s of %s names event %d as the one before, want %d", e.Seq, e.Event.Kind, id, e.previous, s.record.Last)
		}
		next, legal := s.record.Apply(e.Entry, drillRetain)
		if !legal {
			wrong("event %d: %s of %s after %s", e.Seq, e.Event.Kind, id, s.record.State)
		}
		s.record = next
		if e.Event.Kind.Outcome() {
			s.outcomes = append(s.outcomes, e.Event)
		}
	}
	return stories
}

// refund judges one refund.
func (a audit) refund(c schemas.Command, s *story, moved []simulator.Movement, wrong func(string, ...any)) {
	for _, m := range moved {
		if !m.Amount.Equal(c.Amount) {
			wrong("%s: %s moved, want %s", c.RequestID, m.Amount, c.Amount)
		}
	}
	if s == nil {
		if a.waiting[c.RequestID] == 0 {
			wrong("%s: forgotten, with neither an event nor a message", c.RequestID)
		}
		if len(moved) > 0 {
			wrong("%s: money moved and nothing is journalled", c.RequestID)
		}
		return
	}
	a.outcome(c, s, len(moved), wrong)
	open := 0
	for _, records := range a.records {
		sameRecord(c.RequestID, records[c.RequestID], s.record, wrong)
		if len(s.outcomes) == 0 {
			open++
		}
	}
	if a.open[c.RequestID] != open {
		wrong("%s: listed %d times among the open refunds, want %d", c.RequestID, a.open[c.RequestID], open)
	}
}

func (a audit) outcome(c schemas.Command, s *story, moved int, wrong func(string, ...any)) {
	switch len(s.outcomes) {
	case 0:
		if a.waiting[c.RequestID] == 0 {
			wrong("%s: forgotten as %s, no message carries it", c.RequestID, s.record.State)
		}
		return
	case 1:
	default:
		wrong("%s: %d outcomes", c.RequestID, len(s.outcomes))
	}
	last := s.outcomes[len(s.outcomes)-1]
	want := 1
	if last.Kind == schemas.KindFailed {
		want = 0
	}
	if moved != want {
		wrong("%s: %s, and money moved %d times, want %d", c.RequestID, last.Kind, moved, want)
	}
	if last.Amount == nil || !last.Amount.Equal(c.Amount) {
		wrong("%s: %s with amount %v, want %s", c.RequestID, last.Kind, last.Amount, c.Amount)
	}
}

// drillRetain is how long the drills' journals are kept.
const drillRetain = 90 * 24 * time.Hour

// sameRecord holds what Redis says against the fold of the journal.
func sameRecord(id schemas.RequestID, got, want ledger.Record, wrong func(string, ...any)) {
	want.Begun, want.Since = want.Begun.UTC().Truncate(time.Millisecond), want.Since.UTC().Truncate(time.Millisecond)
	if got != want {
		wrong("%s: record %+v, want the journal's fold %+v", id, got, want)
	}
}

// count is how many refunds have an outcome of a kind.
func (a audit) count(k schemas.Kind) int {
	n := 0
	for _, e := range a.journal {
		if e.Event.Kind == k {
			n++
		}
	}
	return n
}
