package idempotency

import (
	"errors"
	"testing"
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
		if err := store.watchOnce(t.Context(), journal); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != ProjectionMissing {
			t.Errorf("before a projector ran: %q, want %q", got, ProjectionMissing)
		}
		position := []any{posSeq, 0, posID, "", posCreated, journal.created.UnixNano()}
		rdb.HSet(t.Context(), store.posKey(0), position...)
		if err := store.watchOnce(t.Context(), journal); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != Starting {
			t.Errorf("with the event not applied: %q, want %q", got, Starting)
		}
		position[1], position[3] = 1, "a:outcome"
		rdb.HSet(t.Context(), store.posKey(0), position...)
		if err := store.watchOnce(t.Context(), journal); err != nil {
			t.Fatal(err)
		}
		if got := store.Gate().Reason(); got != Ready {
			t.Errorf("with the event applied: %q, want ready", got)
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
		store := &Store{rdb: rdb, cfg: s.store.cfg, scripts: newBatcher(rdb), gate: s.store.gate}
		t.Cleanup(store.Close)
		rdb.HSet(t.Context(), store.posKey(0), posSeq, 0)
		c, err := store.Claim(t.Context(), "b", fingerprintOf("b"), time.Minute)
		if err != nil || c.Answer != NotReady {
			t.Errorf("claim below the floor: %s, %v; want NOT_READY", c.Answer, err)
		}
		if got := store.Gate().Reason(); got == Ready {
			t.Error("the gate stays open after a claim met a position below the floor")
		}
	})
}

func TestLagIsBounded(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	gate.sawJournal(JournalState{Last: 10}, start)
	at := func(d time.Duration, applied uint64) Reason {
		now := start.Add(d)
		gate.sawJournal(JournalState{Last: gate.Highest()}, now)
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

func TestSilenceClosesTheGate(t *testing.T) {
	gate := newGate(Config{}.WithDefaults())
	start := time.Now()
	gate.sawJournal(JournalState{}, start)
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
	rdb.Set(t.Context(), s.store.evictedKey(), -1, 0) // as if a key had been evicted since
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
