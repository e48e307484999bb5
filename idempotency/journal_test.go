package idempotency

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// wavering is a journal that says, as long as short is set, that it ends earlier than it does: a leader that was
// elected just now may not know all events yet.
type wavering struct {
	*memoryJournal
	short atomic.Bool
}

func (w *wavering) State(ctx context.Context) (JournalState, error) {
	state, err := w.memoryJournal.State(ctx)
	if w.short.Load() {
		state.Last--
	}
	return state, err
}

// A stream that says for a moment that it ends earlier closes the gate; only one that goes on saying so stops the
// worker.
func TestJournalThatSeemsToHaveGoneBackIsBelievedSlowly(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.add(event("a", schemas.KindFailed))
		s.stop()
		journal, gate := &wavering{memoryJournal: s.journal}, s.store.Gate()
		watch := s.store.newWatch(journal)
		look := func() error { return watch.once(t.Context()) }
		if err := look(); err != nil {
			t.Fatal(err)
		}
		journal.short.Store(true)
		for i := range suspicionsMax - 1 {
			if err := look(); err != nil || gate.Reason() != JournalSuspect {
				t.Fatalf("look %d at an end that went back: %q, %v; want %q and patience", i, gate.Reason(), err, JournalSuspect)
			}
		}
		journal.short.Store(false)
		if err := look(); err != nil || gate.Reason() != Ready {
			t.Fatalf("after the right end was seen again: %q, %v; want ready", gate.Reason(), err)
		}
		journal.short.Store(true)
		for range suspicionsMax - 1 {
			if err := look(); err != nil {
				t.Fatal(err)
			}
		}
		var wrong *JournalError
		if err := look(); !errors.As(err, &wrong) {
			t.Errorf("after %d looks in a row: %v, want a JournalError", suspicionsMax, err)
		}
	})
}

// Events leave the journal by age alone. One that is gone before its time was taken by something else, and others may
// be gone with it.
func TestEventsThatLeaveBeforeTheirTimeAreALoss(t *testing.T) {
	const retain = 24 * time.Hour
	now := time.Now()
	tests := []struct {
		name       string
		stored     time.Time
		next, last uint64
		lost       bool
	}{
		{"aged out", now.Add(-retain - time.Second), 5, 9, false},
		{"aged out by a server whose clock is ahead", now.Add(-retain + agingSlack/2), 5, 9, false},
		{"all aged out", now.Add(-retain - time.Second), 10, 9, false},
		{"none gone", now, 1, 9, false},
		{"gone young", now.Add(-time.Hour), 5, 9, true},
		{"all gone young", now.Add(-time.Hour), 10, 9, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gate := newGate(Config{Retain: retain}.WithDefaults())
			if err := gate.sawJournal(JournalState{First: 1, Last: 9, FirstAt: test.stored}, now); err != nil {
				t.Fatal(err)
			}
			for range 2 { // what was found once is found again
				var wrong *JournalError
				err := gate.sawJournal(JournalState{First: test.next, Last: test.last, FirstAt: now}, now)
				if got := errors.As(err, &wrong); got != test.lost {
					t.Errorf("lost: %t (%v), want %t", got, err, test.lost)
				}
			}
		})
	}
}

// What the caller finds wrong closes the gate, too.
func TestGateClosesForRefusalsAndChangedStreams(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	now := time.Now()
	if err := gate.sawJournal(JournalState{}, now); err != nil {
		t.Fatal(err)
	}
	gate.trustJournal(now, 0)
	gate.sawRedis(look{at: now, redisTime: now, positions: []position{{Created: 1}}})
	at := func(d time.Duration) Reason {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.current(now.Add(d))
	}
	gate.TrustStreams(false)
	if got := at(0); got != StreamsChanged {
		t.Errorf("with a stream changed: %q, want %q", got, StreamsChanged)
	}
	gate.TrustStreams(true)
	if got := at(0); got != Ready {
		t.Errorf("with the stream mended: %q, want ready", got)
	}
	gate.Refused()
	if got := at(refusedFor / 2); got != JournalRefuses {
		t.Errorf("after a refusal: %q, want %q", got, JournalRefuses)
	}
	if got := at(2 * refusedFor); got != Ready {
		t.Errorf("long after a refusal: %q, want ready, so that it is tried again", got)
	}
}
