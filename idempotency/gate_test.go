package idempotency

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

func TestClaimsWaitForTheJournalAsItStoodAtTheStart(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		journal := newMemoryJournal()
		store, err := New(rdb, Config{Namespace: "start", Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		journal.add(event("a", schemas.KindFailed))
		if err := store.newWatch(journal).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != ProjectionMissing {
			t.Errorf("before a projector ran: %q, want %q", got, ProjectionMissing)
		}
		position := []any{posSeq, 0, posID, "", posCreated, journal.created.UnixNano()}
		rdb.HSet(t.Context(), store.keys.position(0), position...)
		if err := store.newWatch(journal).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != Starting {
			t.Errorf("with the event not applied: %q, want %q", got, Starting)
		}
		// The payment is there to be read, and may have got its captured amount with the event.
		if look, err := store.LookPayment(t.Context(), "bank", "4922"); !errors.Is(err, ErrNotReady) {
			t.Errorf("a payment with the event not applied: %+v, %v; want %v", look, err, ErrNotReady)
		}
		position[1], position[3] = 1, "a:outcome"
		rdb.HSet(t.Context(), store.keys.position(0), position...)
		if err := store.newWatch(journal).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != Ready {
			t.Errorf("with the event applied: %q, want ready", got)
		}
		if _, err := store.LookPayment(t.Context(), "bank", "4922"); err != nil {
			t.Errorf("a payment with the event applied: %v", err)
		}
	})
}

// A message that a server stored in the future tells of a clock that is ahead, whichever stream the server leads.
func TestMessageFromTheFutureClosesTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Config{Partitions: 1, ClockBound: 5 * time.Second, LagBound: time.Hour})
		g.reason, g.journal, g.redis, g.compared = Ready, time.Now(), time.Now(), time.Now()
		g.Delivered(time.Now().Add(4 * time.Second))
		if got := g.Closed(); got != Ready {
			t.Errorf("4 s ahead: %q, want ready", got)
		}
		g.Delivered(time.Now().Add(6 * time.Second))
		if got := g.Closed(); got != NATSClock {
			t.Errorf("6 s ahead: %q, want %q", got, NATSClock)
		}
		time.Sleep(aheadFor)
		if got := g.Closed(); got != Ready {
			t.Errorf("with no more of them: %q, want ready", got)
		}
	})
}

// The floor is part of the claim's script: between two looks nobody reads a position that went back.
func TestFloorRefusesAnOlderPosition(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		seq := s.add(event("a", schemas.KindFailed))
		eventually(t, "the floor rises", func() bool { return s.store.Gate().floorOf(0) == seq })
		s.stop()
		store := &Store{rdb: rdb, cfg: s.store.cfg, keys: s.store.keys, scripts: newBatcher(rdb), gate: s.store.gate}
		t.Cleanup(store.Close)
		if _, err := store.LookPayment(t.Context(), "bank", "4922"); err != nil {
			t.Errorf("look: %v, want none", err)
		}
		rdb.HSet(t.Context(), store.keys.position(0), posSeq, 0)
		if _, err := store.LookPayment(t.Context(), "bank", "4922"); !errors.Is(err, ErrNotReady) {
			t.Errorf("look below the floor: %v, want not ready", err)
		}
		c, err := store.Claim(t.Context(), "b", fingerprintOf("b"), time.Minute)
		if err != nil || c.Answer != Behind {
			t.Errorf("claim below the floor: %s, %v; want %s", c.Answer, err, Behind)
		}
		if got := store.Gate().Reason(); got == Ready {
			t.Error("the gate stays open after a claim met a position below the floor")
		}
	})
}

// What comes back after a disconnection may be another server: its stream is trusted once it was compared.
func TestStreamIsTrustedByConnection(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	gate.trustJournal(time.Now(), 1)
	if !gate.Trusts(1) || gate.Trusts(2) {
		t.Error("trust does not follow the connection")
	}
	gate.suspectJournal()
	gate.trustJournal(time.Now(), 2)
	if gate.Trusts(1) || !gate.Trusts(2) {
		t.Error("trust does not follow the connection that was compared last")
	}
}

func TestLagIsBounded(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	gate.sawJournal(JournalState{Last: 10}, start)
	at := func(d time.Duration, applied uint64) Reason {
		now := start.Add(d)
		gate.sawJournal(JournalState{Last: gate.Highest()}, now)
		gate.trustJournal(now, 0)
		gate.sawRedis(look{at: now, redisTime: now, positions: []position{{Seq: applied, Created: 1}}})
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.current(now)
	}
	if got := at(time.Second, 10); got != Ready {
		t.Fatalf("caught up: %q", got)
	}
	gate.mu.Lock()
	gate.saw(11, start.Add(1500*time.Millisecond)) // known, and then the stream falls silent
	gate.mu.Unlock()
	if got := at(20*time.Second, 10); got != Ready {
		t.Errorf("an event unapplied for 18 s: %q, want ready", got)
	}
	if got := at(32*time.Second, 10); got != ProjectionLags {
		t.Errorf("an event unapplied for 30 s: %q, want %q", got, ProjectionLags)
	}
	if got := at(33*time.Second, 11); got != Ready {
		t.Errorf("applied: %q, want ready", got)
	}
}

// An event that becomes known within a second of an earlier one counts as known since then, and goes on counting
// when the earlier one is applied.
func TestLagIsCountedFromWhenAnEventWasKnown(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	at := func(d time.Duration, applied uint64) Reason {
		now := start.Add(d)
		gate.sawJournal(JournalState{Last: 200}, now)
		gate.trustJournal(now, 0)
		gate.sawRedis(look{at: now, redisTime: now, positions: []position{{Seq: applied, Created: 1}}})
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.current(now)
	}
	gate.sawJournal(JournalState{Last: 100}, start)
	gate.trustJournal(start, 0)
	gate.sawRedis(look{at: start, redisTime: start, positions: []position{{Seq: 100, Created: 1}}})
	gate.mu.Lock()
	gate.saw(101, start.Add(1000*time.Millisecond))
	gate.saw(200, start.Add(1500*time.Millisecond))
	gate.mu.Unlock()
	for second := 2; second <= 60; second++ {
		applied, want := uint64(100), Ready
		if second >= 29 { // the first of the two, and not the second
			applied = 150
		}
		if second > 31 {
			want = ProjectionLags
		}
		if got := at(time.Duration(second)*time.Second, applied); got != want {
			t.Fatalf("after %d s, with event %d applied of 200: %q, want %q", second, applied, got, want)
		}
	}
	if got := at(61*time.Second, 200); got != Ready {
		t.Errorf("applied: %q, want ready", got)
	}
}

func TestStoppedGateStaysClosed(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	now := time.Now()
	good := look{at: now, redisTime: now, positions: []position{{Created: 1}}}
	gate.sawJournal(JournalState{}, now)
	gate.trustJournal(now, 0)
	gate.sawRedis(good)
	if got := gate.Reason(); got != Ready {
		t.Fatalf("before: %q, want ready", got)
	}
	changed := gate.Changed()
	gate.Stop()
	select {
	case <-changed:
	default:
		t.Error("who waits for a change does not hear of the stop")
	}
	gate.sawRedis(good)
	gate.sawRedis(look{err: errors.New("no route to host")})
	gate.sawRedis(good)
	if got := gate.Reason(); got != Stopped {
		t.Errorf("after good looks: %q, want %q", got, Stopped)
	}
}

// hung is a journal whose server does not answer any more.
type hung struct{ Journal }

func (hung) State(ctx context.Context) (JournalState, error) {
	<-ctx.Done()
	return JournalState{}, ctx.Err()
}

// A stream that hangs uses up its own time only: Redis is looked at all the same, and is not blamed.
func TestHungJournalIsNotBlamedOnRedis(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		// A look at a hung stream takes longer than this bound, so that one is enough to see it reported.
		s := startSystem(t, rdb, newMemoryJournal(), Config{LagBound: watchTimeout / 2}).ready()
		s.stop()
		watch := s.store.newWatch(hung{})
		for range 2 { // the second look at Redis comes after the first at the stream
			if err := watch.once(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		gate := s.store.Gate()
		gate.mu.Lock()
		defer gate.mu.Unlock()
		if gate.reason != Ready {
			t.Errorf("the look at Redis found %q, want nothing wrong", gate.reason)
		}
		if got := gate.current(gate.redis); got != JournalUnreachable {
			t.Errorf("right after a good look at Redis: %q, want %q", got, JournalUnreachable)
		}
		if got := gate.current(gate.journal.Add(gate.cfg.LagBound)); got != Ready {
			t.Errorf("within the bound: %q, want ready", got)
		}
	})
}

func TestSilenceClosesTheGate(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	gate.sawJournal(JournalState{}, start)
	gate.trustJournal(start, 0)
	gate.sawRedis(look{at: start, redisTime: start, positions: []position{{Created: 1}}})
	gate.mu.Lock()
	defer gate.mu.Unlock()
	if got := gate.current(start.Add(29 * time.Second)); got != Ready {
		t.Errorf("after 29 s: %q, want ready", got)
	}
	gate.redis = start.Add(20 * time.Second)
	if got := gate.current(start.Add(31 * time.Second)); got != JournalUnreachable {
		t.Errorf("journal unheard for 31 s: %q, want %q", got, JournalUnreachable)
	}
	gate.redis = start
	if got := gate.current(start.Add(31 * time.Second)); got != RedisUnreachable {
		t.Errorf("redis unheard for 31 s: %q, want %q", got, RedisUnreachable)
	}
}

func TestRedisClockMustAgree(t *testing.T) {
	mini := miniredis.RunT(t)
	s := startSystem(t, dialRedis(t, mini.Addr()), newMemoryJournal(), Config{}).ready()
	mini.SetTime(time.Now().Add(10 * time.Second))
	if c := s.claim("a"); c.Answer != NotReady {
		t.Errorf("claim on a clock 10 s ahead: %s, want NOT_READY", c.Answer)
	}
	eventually(t, "the gate closes", func() bool { return s.store.Gate().Reason() == RedisClock })
	mini.SetTime(time.Now())
	eventually(t, "a clock that went backwards is noticed or already forgiven", func() bool {
		return s.store.Gate().Reason() == RedisClock || s.store.Gate().Reason() == Ready
	})
	mini.SetTime(time.Time{}) // its own clock again
	s.ready()
	if c := s.claim("a"); c.Answer != Fresh {
		t.Errorf("with the clock right again: %s, want FRESH: the lease taken on the wrong clock was given back", c.Answer)
	}
}

func TestRedisThatEvictsIsRefused(t *testing.T) {
	rdb := realRedis(t)
	s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
	s.store.cfg.Volatile = false
	rdb.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru")
	eventually(t, "the policy is noticed", func() bool { return s.store.Gate().Reason() == RedisEvicts })
	rebuilds := s.store.Stats().Rebuilds
	rdb.Set(t.Context(), s.store.keys.evicted(), -1, 0) // as if a key had been evicted since
	rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction")
	eventually(t, "evicted keys lead to a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
	s.ready()
}

func TestRedisThatCannotBeReachedOrWritten(t *testing.T) {
	rdb := realRedis(t)
	s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
	rdb.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1")
	if c, err := s.store.Claim(t.Context(), "a", fingerprintOf("a"), time.Minute); err == nil && c.Answer != NotReady {
		t.Errorf("claim on a read-only replica: %s, want an error or NOT_READY", c.Answer)
	}
	eventually(t, "the gate closes", func() bool { return s.store.Gate().Reason() == RedisReadOnly })
	rdb.Do(t.Context(), "REPLICAOF", "NO", "ONE")
	s.ready()
	rdb.Shutdown(t.Context())
	eventually(t, "the gate closes", func() bool { return s.store.Gate().Reason() == RedisUnreachable })
	if c, err := s.store.Claim(t.Context(), "a", fingerprintOf("a"), time.Minute); err != nil || c.Answer != NotReady {
		t.Errorf("claim without Redis: %s, %v; want NOT_READY", c.Answer, err)
	}
}

func TestSettingsAreCheckedAtOnce(t *testing.T) {
	_, err := New(redis.NewClient(&redis.Options{}), Config{Partitions: -1, Retain: time.Minute, LagBound: time.Hour,
		ClockBound: -1})
	if err == nil {
		t.Fatal("no error")
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 4 {
		t.Errorf("error lists %v, want all four problems", err)
	}
}
