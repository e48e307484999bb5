package idempotency

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// The journal's order decides who is alone with a payment, and a rebuild decides the same.
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
		s.rebuilt(rdb)
		state, _ := s.journal.State(t.Context())
		if !s.holds("b", state.Last) || s.holds("a", state.Last) {
			t.Error("after a rebuild another refund holds the payment")
		}
	})
}

// An intent is journalled, and Redis is lost before anybody applied it. The other refund's intent comes while all is
// rebuilt. One of them holds, whoever asks, and however often Redis is lost.
func TestIntentJournalledWhileRedisIsLost(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, kind := range []ledger.HoldKind{ledger.ShareHold, ledger.SoleHold} {
			t.Run(string(kind), func(t *testing.T) {
				journal, cfg := newMemoryJournal(), Config{Partitions: 5, Namespace: t.Name()}
				startSystem(t, rdb, journal, cfg).ready().stop()
				intent := func(id schemas.RequestID) uint64 {
					return journal.add(event(id, schemas.KindDispatched, attempt(1), of("4922", 60), names(hkd(100)), asks(kind)))
				}
				first := intent("a")
				if err := rdb.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				s := startSystem(t, rdb, journal, cfg)
				other := s.waitedFor(patiently(t), intent("b"))
				if err := <-other; err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if !s.holds("a", first) || s.holds("b", first+1) {
						t.Fatalf("hold: %t, %t; want the first one alone", s.holds("a", first), s.holds("b", first+1))
					}
					s.ready().rebuilt(rdb)
				}
			})
		}
	})
}

// A refund's first intent was denied and its second one granted. Whoever made the first one, and looks late, has no hold.
func TestHoldAnswersForNoEarlierIntent(t *testing.T) {
	var denied, granted, again uint64
	guarded(t, func(j *memoryJournal) {
		intent := func(id schemas.RequestID, n int) uint64 {
			return j.add(event(id, schemas.KindDispatched, attempt(n), of("4922", 60), names(hkd(100)), asks(ledger.ShareHold)))
		}
		intent("b", 1)
		denied = intent("a", 1)
		j.add(event("b", schemas.KindFailed, of("4922", 60)))
		granted, again = intent("a", 2), intent("a", 3)
	}, func(t *testing.T, s *system) {
		if got := s.look("4922").Since("a"); got != granted || got <= denied || got >= again {
			t.Errorf("it holds since %d, want %d: after %d, and before %d", got, granted, denied, again)
		}
	})
}
