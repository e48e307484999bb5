package idempotency

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// moody is a journal that sometimes does not answer, or once seems to have lost an event.
type moody struct {
	*memoryJournal
	noState, noID, lost atomic.Bool
}

func (m *moody) State(ctx context.Context) (JournalState, error) {
	if m.noState.Load() {
		return JournalState{}, errors.New("no servers available")
	}
	return m.memoryJournal.State(ctx)
}

func (m *moody) EventID(ctx context.Context, seq uint64) (string, error) {
	switch {
	case m.noID.Load():
		return "", errors.New("no answer")
	case m.lost.Swap(false):
		return "", ErrNoEvent
	}
	return m.memoryJournal.EventID(ctx, seq)
}

// When a silence ends the gate is shut until Redis was looked at again: what the last look found is long ago.
func TestGateIsShutWhenASilenceEnds(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	at := func(now time.Time) Reason {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.current(now)
	}
	look := look{at: start, redisTime: start, positions: []position{{Seq: 10, Created: 1}}}
	if err := gate.sawJournal(JournalState{Last: 10}, start); err != nil {
		t.Fatal(err)
	}
	gate.trustJournal(start, 0)
	gate.sawRedis(look)
	if got := at(start); got != Ready {
		t.Fatalf("at the start: %q, want ready", got)
	}
	end := start.Add(15 * time.Minute)
	look.at, look.redisTime = end, end
	gate.sawRedis(look)
	gate.trustJournal(end, 0)
	if err := gate.sawJournal(JournalState{Last: 5000}, end); err != nil {
		t.Fatal(err)
	}
	if got := at(end); got != Starting {
		t.Errorf("heard again, and Redis not looked at since: %q, want %q", got, Starting)
	}
}

// A stream whose event at the position cannot be compared is not trusted.
func TestPositionIsComparedBeforeAnyClaim(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		journal := &moody{memoryJournal: newMemoryJournal()}
		journal.add(event("a", schemas.KindFailed))
		s := startSystem(t, rdb, journal.memoryJournal, Config{}).ready()
		s.stop()
		store, err := New(rdb, s.store.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		rdb.HSet(t.Context(), store.keys.position(0), posID, "another event")
		for _, answers := range []bool{false, true} {
			journal.noID.Store(!answers)
			if err := store.newWatch(journal).once(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := map[bool]Reason{false: JournalUnreachable, true: JournalSuspect}[answers]
			if got := store.Gate().Reason(); got != want {
				t.Errorf("the stream answers: %t: %q, want %q", answers, got, want)
			}
		}
	})
}

// A projector that cannot read the stream lets another worker project.
func TestProjectorThatCannotReadGivesWay(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.stop()
		cut := &moody{memoryJournal: s.journal}
		cut.noState.Store(true)
		store, err := New(rdb, s.store.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- store.NewProjector(cut, slog.New(slog.DiscardHandler)).Run(ctx) }()
		defer func() { cancel(); <-ended }()
		healthy := startSystem(t, rdb, s.journal, s.store.cfg)
		healthy.add(event("a", schemas.KindFailed))
		healthy.ready()
	})
}

// What looks wrong once in a while, and right every time that it is looked at again, does not add up.
func TestPassingSuspicionsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := newFakeGround()
		defer stop()
		journal := &moody{memoryJournal: newMemoryJournal()}
		journal.add(event("a", schemas.KindFailed))
		store, err := New(g.rdb, Config{Namespace: "moody", Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- store.NewProjector(journal, slog.New(slog.DiscardHandler)).Run(ctx) }()
		for range 2 * suspicionsMax {
			time.Sleep(time.Minute)
			journal.lost.Store(true)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("after looks that were wrong once a minute: %v, want patience", err)
		}
	})
}

// A position that came to another server, which has dropped other keys than the one before, is built anew. It is not
// waited for until it fits.
func TestPositionOfAnotherServerIsBuiltAnew(t *testing.T) {
	rdb := realRedis(t)
	s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
	s.store.cfg.Volatile = false
	s.add(event("a", schemas.KindFailed))
	rebuilds := s.store.Stats().Rebuilds
	rdb.HSet(t.Context(), s.store.keys.position(0), "e", 7)
	eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
	s.ready()
	if c := s.claim("b"); c.Answer != Fresh {
		t.Errorf("after the rebuild: %s, want FRESH", c.Answer)
	}
	if c := s.claim("a"); c.Answer != Settled {
		t.Errorf("after the rebuild: %s, want SETTLED", c.Answer)
	}
}
