package idempotency

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// onPayment puts an event on a payment that several refunds share.
func onPayment(reference string) func(*Entry) {
	return func(e *Entry) { e.Event.Payment = &schemas.Payment{Reference: reference} }
}

func asksHold(lookedAt uint64) func(*Entry) {
	return func(e *Entry) { e.Hold = &Hold{Kind: SoleHold, LookedAt: lookedAt} }
}

func (s *system) holds(id schemas.RequestID, seq uint64) bool {
	s.t.Helper()
	look, err := s.store.AwaitPayment(s.t.Context(), "bank", "4922", seq)
	if err != nil {
		s.t.Fatal(err)
	}
	return look.Holds(id)
}

// The journal's order decides who holds a payment, and a rebuild decides the same.
func TestHoldOfAPayment(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 5}).ready()
		p := onPayment("4922")
		intent := func(id schemas.RequestID, n int, lookedAt uint64) uint64 {
			return s.journal.add(event(id, schemas.KindDispatched, attempt(n), p, asksHold(lookedAt)))
		}
		first, second := intent("a", 1, 0), intent("b", 1, 0)
		if !s.holds("a", first) || s.holds("b", second) {
			t.Fatal("want the first intent granted and the second denied")
		}
		parked := s.journal.add(event("a", schemas.KindParked, number(1), p))
		if !s.holds("a", parked) {
			t.Error("a parked refund lost its hold")
		}
		failed := s.journal.add(event("a", schemas.KindFailed, p))
		if s.holds("a", failed) {
			t.Error("a failed refund keeps its hold")
		}
		if seq := intent("b", 2, second); s.holds("b", seq) {
			t.Error("granted although a refund of the payment ended after it was looked at")
		}
		if seq := intent("b", 3, failed); !s.holds("b", seq) {
			t.Error("denied although the payment is free and was looked at after the last outcome")
		}
		if seq := intent("b", 4, 0); !s.holds("b", seq) {
			t.Error("a refund lost its own hold by a further attempt")
		}
		s.add(event("c", schemas.KindFailed, p))
		if seq := intent("c", 1, 0); s.holds("c", seq) || !s.holds("b", seq) {
			t.Error("an intent after its own refund's outcome took the hold, which nothing would end")
		}
		rebuilds := s.store.Stats().Rebuilds
		rdb.FlushAll(t.Context())
		eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
		state, _ := s.journal.State(t.Context())
		s.applied(state.Last)
		if !s.holds("b", state.Last) || s.holds("a", state.Last) {
			t.Error("after a rebuild another refund holds the payment")
		}
	})
}

// A worker that must not go on applies nothing more: who waits for an event to be applied hears so.
func TestWaitForAHoldEndsWithTheWorker(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.store.Gate().Stop()
		if look, err := s.store.AwaitPayment(t.Context(), "bank", "4922", 1000); err == nil {
			t.Errorf("waiting for an event that nobody applies: %+v, want an error", look)
		}
	})
}
