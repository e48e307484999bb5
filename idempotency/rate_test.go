package idempotency

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// rated is a store that nothing else works on.
func rated(t *testing.T, rdb redis.UniversalClient) *Store {
	t.Helper()
	s, err := New(rdb, Config{Namespace: "rate", Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// frozen is a Redis whose clock stands until it is set.
func frozen(t *testing.T) (*miniredis.Miniredis, time.Time) {
	t.Helper()
	mini, at := miniredis.RunT(t), time.Date(2026, 1, 1, 0, 0, 0, 123_456_000, time.UTC)
	mini.SetTime(at)
	return mini, at
}

// Turns come one after the other behind a burst; a rest saves up one burst and no more; whoever is refused took nothing
// from the others.
func TestFleetRateByTheClockOfRedis(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		at     time.Duration
		calls  int
		atMost time.Duration
		wait   time.Duration
		ok     bool
	}
	for _, row := range []struct {
		name      string
		perSecond int
		steps     []step
	}{
		{"a burst, then one by one", 100, []step{{0, 10, 0, 0, true}, {0, 1, time.Second, 10 * ms, true}, {0, 2, time.Second, 30 * ms, true}}},
		{"a refusal reserves nothing", 100, []step{{0, 10, 0, 0, true}, {0, 2, 19 * ms, 20 * ms, false}, {0, 2, 19 * ms, 20 * ms, false},
			{0, 1, 10 * ms, 10 * ms, true}}},
		{"nobody is served who has no time left", 100, []step{{0, 1, -ms, 0, false}, {0, 10, 0, 0, true}}},
		{"the clock goes on", 100, []step{{0, 10, 0, 0, true}, {25 * ms, 2, 0, 0, true}, {25 * ms, 1, time.Second, 5 * ms, true},
			{30 * ms, 1, time.Second, 10 * ms, true}}},
		{"what others wait for is behind them", 100, []step{{0, 12, time.Second, 20 * ms, true}, {15 * ms, 1, time.Second, 15 * ms, true}}},
		{"an hour's rest is one burst", 100, []step{{0, 10, 0, 0, true}, {time.Hour, 10, 0, 0, true}, {time.Hour, 1, time.Second, 10 * ms, true}}},
		{"a refund's two at the slowest rate", 1, []step{{0, 2, 0, 0, true}, {0, 2, time.Minute, 2 * time.Second, true}}},
		{"a rate that a second cannot be divided by", 3, []step{{0, 2, 0, 0, true}, {0, 1, time.Second, 333_334 * time.Microsecond, true},
			{0, 2, 2 * time.Second, 1_000_002 * time.Microsecond, true}}},
		{"the highest rate", 100_000, []step{{0, 10_000, 0, 0, true}, {0, 1, time.Second, 10 * time.Microsecond, true}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			mini, start := frozen(t)
			s := rated(t, dialRedis(t, mini.Addr()))
			for i, st := range row.steps {
				mini.SetTime(start.Add(st.at))
				wait, ok, err := s.TakeTurns(t.Context(), Turns{"bank", row.perSecond, st.calls, st.atMost})
				if wait != st.wait || ok != st.ok || err != nil {
					t.Errorf("step %d: got %s, %t, %v, want %s, %t", i, wait, ok, err, st.wait, st.ok)
				}
			}
		})
	}
}

// Many workers that ask at the same moment each get a turn of their own.
func TestFleetRateIsOneForAllWorkers(t *testing.T) {
	mini, _ := frozen(t)
	stores := []*Store{rated(t, dialRedis(t, mini.Addr())), rated(t, dialRedis(t, mini.Addr()))}
	const askers, perSecond, burst = 200, 50, 5
	waits := make([]time.Duration, askers)
	var asking sync.WaitGroup
	for i := range askers {
		asking.Go(func() {
			wait, ok, err := stores[i%2].TakeTurns(t.Context(), Turns{"bank", perSecond, 1, time.Minute})
			if !ok || err != nil {
				t.Errorf("got %t, %v, want a turn", ok, err)
			}
			waits[i] = wait
		})
	}
	asking.Wait()
	slices.Sort(waits)
	for i, got := range waits {
		if want := max(0, time.Duration(i+1-burst)) * time.Second / perSecond; got != want {
			t.Fatalf("turn %d comes after %s, want %s", i, got, want)
		}
	}
}

// However long it takes to ask, and whoever is refused in between: no more turns come due than the rate and one burst allow.
func TestFleetRateIsNeverPassed(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		stores := []*Store{rated(t, rdb), rated(t, rdb)}
		const perSecond, burst = 200, 20
		start := time.Now()
		var mu sync.Mutex
		turns, last := 0, start
		var asking sync.WaitGroup
		for i := range 16 {
			asking.Go(func() {
				for time.Since(start) < 500*time.Millisecond {
					wait, ok, err := stores[i%2].TakeTurns(t.Context(), Turns{"bank", perSecond, 1 + i%2, 50 * time.Millisecond})
					due := time.Now().Add(wait)                   // at the earliest before that, never after
					if errors.Is(err, context.DeadlineExceeded) { // a slow machine: no turn is given
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if ok {
						turns += 1 + i%2
					}
					if ok && due.After(last) {
						last = due
					}
					mu.Unlock()
				}
			})
		}
		asking.Wait()
		if most := burst + int(last.Sub(start)*perSecond/time.Second); turns > most {
			t.Errorf("%d turns within %s, want at most %d", turns, last.Sub(start), most)
		}
		if turns < burst {
			t.Errorf("%d turns, want a burst at least", turns)
		}
		if ttl := rdb.PTTL(t.Context(), stores[0].keys.rate("bank")).Val(); ttl == -1 || ttl > 150*time.Millisecond {
			t.Errorf("the turns spent are kept for %s, want a burst and the longest wait at most", ttl)
		}
	})
}

// One provider's turns are not another's, and no bound asks nobody.
func TestFleetRateOfEachProviderAlone(t *testing.T) {
	mini, _ := frozen(t)
	s := rated(t, dialRedis(t, mini.Addr()))
	for _, p := range []Turns{{Provider: "bank", PerSecond: 10, Calls: 2}, {Provider: "card", PerSecond: 10, Calls: 2}} {
		if wait, ok, err := s.TakeTurns(t.Context(), p); wait != 0 || !ok || err != nil {
			t.Errorf("%s: got %s, %t, %v, want turns at once", p.Provider, wait, ok, err)
		}
	}
	mini.Close()
	if wait, ok, err := s.TakeTurns(t.Context(), Turns{Provider: "free", Calls: 2}); wait != 0 || !ok || err != nil {
		t.Errorf("without a bound: got %s, %t, %v, want turns at once", wait, ok, err)
	}
}

// Without Redis nobody knows what the others call: there is no turn.
func TestFleetRateWithoutRedisGivesNoTurn(t *testing.T) {
	mini, _ := frozen(t)
	s := rated(t, dialRedis(t, mini.Addr()))
	turns := Turns{"bank", 10, 1, time.Minute}
	mini.SetError("READONLY You can't write against a read only replica.")
	if _, ok, err := s.TakeTurns(t.Context(), turns); ok || err == nil {
		t.Errorf("refused by Redis: got %t, %v, want an error and no turn", ok, err)
	}
	mini.SetError("")
	if _, ok, err := s.TakeTurns(t.Context(), turns); !ok || err != nil {
		t.Errorf("served again: got %t, %v, want a turn", ok, err)
	}
	mini.Close()
	if _, ok, err := s.TakeTurns(t.Context(), turns); ok || err == nil {
		t.Errorf("Redis gone: got %t, %v, want an error and no turn", ok, err)
	}
}
