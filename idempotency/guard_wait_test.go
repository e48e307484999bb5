package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// waitedFor starts a wait for an event to be applied and returns its result.
func (s *system) waitedFor(ctx context.Context, seq uint64) <-chan error {
	done := make(chan error, 1)
	go func() {
		look, err := s.store.AwaitPayment(ctx, "bank", "4922", seq)
		if err == nil && look.At < seq {
			err = fmt.Errorf("looked at %d", look.At)
		}
		done <- err
	}()
	return done
}

// patiently is a context for a wait that should end.
func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// waits tells whether somebody waits.
func (s *system) waits() bool {
	s.store.waits.mu.Lock()
	defer s.store.waits.mu.Unlock()
	return len(s.store.waits.waiting) > 0
}

// Many wait at once, each for an event of its own, in the process that applies the events and in another one. Each goes
// on once its event is applied, and finds there what its event made of the payment.
func TestEachWaitEndsWithItsOwnEvent(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		journal := newMemoryJournal()
		cfg := Config{Partitions: 3}
		processes := []*system{startSystem(t, rdb, journal, cfg).ready(), startSystem(t, rdb, journal, cfg).ready()}
		const events = 60
		var waiting sync.WaitGroup
		ctx := patiently(t)
		for i := range events {
			waiting.Go(func() {
				seq, id := uint64(i+1), requestID(i)
				look, err := processes[i%2].store.AwaitPayment(ctx, "bank", "4922", seq)
				if want := i < 20; err != nil || look.At < seq || look.Holds(id) != want {
					t.Errorf("%s, event %d: holds %t at %d, %v; want %t", id, seq, look.Holds(id), look.At, err, want)
				}
			})
		}
		for i := range events {
			journal.add(event(requestID(i), schemas.KindDispatched, attempt(1), of("4922", 5), names(hkd(100)), asks(ledger.ShareHold)))
			if i%7 == 0 {
				processes[0].applied(uint64(i + 1))
			}
		}
		waiting.Wait()
	})
}

// A wait outlives the loss of Redis: it goes on until the rebuild has come to its event.
func TestWaitOutlivesTheLossOfRedis(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 3}).ready()
		seq := s.add(event("a", schemas.KindDispatched, attempt(1), of("4922", 60), asks(ledger.ShareHold)))
		done := s.waitedFor(patiently(t), seq+1)
		eventually(t, "it waits", s.waits)
		s.rebuilt(rdb)
		select {
		case err := <-done:
			t.Fatalf("the wait ended before its event was there: %v", err)
		default:
		}
		s.journal.add(event("b", schemas.KindDispatched, attempt(1), of("4922", 60), asks(ledger.ShareHold)))
		if err := <-done; err != nil {
			t.Errorf("after the rebuild: %v", err)
		}
		if !s.holds("a", seq) {
			t.Error("the hold is gone")
		}
	})
}

// Redis falls back to before an event that was seen applied: who waits for it waits until it is applied again.
func TestWaitForWhatRedisLostAgain(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		first := s.add(event("a", schemas.KindDispatched, attempt(1), of("4922", 60), asks(ledger.ShareHold)))
		if !s.holds("a", first) {
			t.Fatal("want the hold granted")
		}
		s.stop()
		store, err := New(rdb, s.store.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		store.waits.note(0, position{Seq: first + 1, Created: 1}) // as if it had been there
		late := &system{t: t, store: store, journal: s.journal}
		done := late.waitedFor(patiently(t), first+1)
		eventually(t, "it waits", late.waits)
		s.journal.add(event("b", schemas.KindDispatched, attempt(1), of("4922", 60), asks(ledger.ShareHold)))
		startSystem(t, rdb, s.journal, Config{})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A wait ends with its own time, and with the worker, which must not go on.
func TestWaitsEnd(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		ctx, cancel := context.WithCancel(t.Context())
		given, worker := s.waitedFor(ctx, 1000), s.waitedFor(patiently(t), 1000)
		eventually(t, "they wait", s.waits)
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v, want %v", err, context.Canceled)
		}
		select {
		case err := <-worker:
			t.Errorf("the other wait ended with it: %v", err)
		default:
		}
		s.store.Gate().Stop()
		if err := <-worker; !errors.Is(err, errStopped) {
			t.Errorf("stopped: %v, want %v", err, errStopped)
		}
		if err := <-s.waitedFor(patiently(t), 1000); !errors.Is(err, errStopped) {
			t.Errorf("a wait that begins afterwards: %v, want %v", err, errStopped)
		}
		eventually(t, "nobody waits, and nothing looks for anybody", func() bool {
			s.store.waits.mu.Lock()
			defer s.store.waits.mu.Unlock()
			return len(s.store.waits.waiting) == 0 && !s.store.waits.looking
		})
	})
}

// Where Redis holds less than it did, or nothing, a payment that looks untouched proves nothing.
func TestLookAtAPaymentFailsClosed(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.add(event("a", schemas.KindDispatched, attempt(1), of("4922", 60), asks(ledger.ShareHold)))
		floor := s.store.gate.floorOf(0)
		eventually(t, "the watch has seen it", func() bool { return s.store.gate.floorOf(0) > floor || floor > 0 })
		s.stop() // nothing mends what follows
		store, err := New(rdb, s.store.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if look, err := store.lookPayment(t.Context(), "bank", "4922"); err != nil || !look.Holds("a") {
			t.Errorf("before: %+v, %v; want the hold", look, err)
		}
		store.gate.floor[0] = 2
		if look, err := store.lookPayment(t.Context(), "bank", "4922"); !errors.Is(err, ErrNotReady) {
			t.Errorf("behind what was seen: %+v, %v; want %v", look, err, ErrNotReady)
		}
		if _, err := store.LookVelocity(t.Context(), "bank"); !errors.Is(err, ErrNotReady) {
			t.Errorf("the velocity behind what was seen: %v, want %v", err, ErrNotReady)
		}
		store.gate.floor[0] = 0
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if look, err := store.lookPayment(t.Context(), "bank", "4922"); !errors.Is(err, ErrNotReady) {
			t.Errorf("lost: %+v, %v; want %v", look, err, ErrNotReady)
		}
	})
}
