package idempotency

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// What Redis may lose of a payment while it keeps what the payment's refunds and its provider are told from.
var partialLosses = []struct {
	name string
	lose func(t *testing.T, s *system, rdb redis.UniversalClient, reference string)
}{
	{"the payment's partition", func(t *testing.T, s *system, rdb redis.UniversalClient, reference string) {
		_, p := s.store.keys.payment("bank", reference)
		(&ground{rdb: rdb}).lose(t, s.store.keys.tag(p))
	}},
	{"the payment, dropped for want of memory", func(t *testing.T, s *system, rdb redis.UniversalClient, reference string) {
		key, _ := s.store.keys.payment("bank", reference)
		if err := rdb.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.store.positions.forget(t.Context()); err != nil { // as whoever notices does
			t.Fatal(err)
		}
	}},
	{"every position", func(t *testing.T, s *system, _ redis.UniversalClient, _ string) {
		if err := s.store.positions.forget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}},
}

// apart runs a test of a journal on what Redis holds after each partial loss. The payment it is given lies in another
// partition than the refunds and the provider do.
func apart(t *testing.T, journal func(s *system, reference string), check func(t *testing.T, s *system, reference string)) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, loss := range partialLosses {
			t.Run(loss.name, func(t *testing.T) {
				s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 5, Namespace: t.Name()}).ready()
				reference := s.farPayment()
				journal(s, reference)
				check(t, s, reference)
				rebuilds := s.store.Stats().Rebuilds
				loss.lose(t, s, rdb, reference)
				eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
				state, _ := s.journal.State(t.Context())
				s.applied(state.Last)
				t.Log(loss.name, "was lost")
				check(t, s.ready(), reference)
			})
		}
	})
}

func (s *system) farPayment() string {
	_, v := s.store.keys.velocity("bank")
	near := []int{v}
	for _, id := range []schemas.RequestID{"a", "b"} {
		_, p := s.store.keys.record(id)
		near = append(near, p)
	}
	for i := 0; ; i++ {
		reference := fmt.Sprint(4922 + i)
		if _, p := s.store.keys.payment("bank", reference); !slices.Contains(near, p) {
			return reference
		}
	}
}

// A refund that was granted its share before the provider was stopped keeps it, though Redis forgets the payment and not
// the stop: its call may have left.
func TestStopTakesNoHoldAwayInARebuild(t *testing.T) {
	pace := &ledger.Pace{Bounds: []ledger.Bound{{Window: time.Hour, Count: 1}}}
	apart(t, func(s *system, reference string) {
		for _, id := range []schemas.RequestID{"a", "b"} {
			s.add(event(id, schemas.KindDispatched, attempt(1), of(reference, 40), names(hkd(100)),
				func(e *ledger.Entry) {
					e.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules, Velocity: pace}
				}))
		}
	}, func(t *testing.T, s *system, reference string) {
		if look := s.look(reference); !look.Holds("a") || look.Holds("b") {
			t.Errorf("hold: %t, %t; want the one before the stop", look.Holds("a"), look.Holds("b"))
		}
		if got := s.velocity(); !got.Stopped || len(got.Windows) != 1 || got.Windows[0].Count != 1 {
			t.Errorf("looks %+v, want it stopped with one counted", got)
		}
	})
}

// What was not legal when it was journalled says nothing about the payment, though Redis forgets the payment and not
// how its refunds ended.
func TestIllegalEventsSayNothingInARebuild(t *testing.T) {
	apart(t, func(s *system, reference string) {
		p, ask := of(reference, 70), asks(ledger.ShareHold)
		back := func(e *ledger.Entry) {
			e.Event.Reversal, e.ID = &schemas.Reversal{Amount: *hkd(10), Total: *hkd(10)}, newToken()
		}
		s.journal.add(event("a", schemas.KindDispatched, attempt(1), p, names(hkd(100)), ask))
		s.journal.add(event("a", schemas.KindReversed, p, back)) // nothing has gone yet
		s.journal.add(event("a", schemas.KindSucceeded, p))
		s.journal.add(event("a", schemas.KindDispatched, attempt(2), p, ask))
		s.journal.add(event("b", schemas.KindFailed, p))
		s.journal.add(event("b", schemas.KindReversed, p, back)) // nothing has ever gone
		s.journal.add(event("a", schemas.KindReversed, p, back))
	}, func(t *testing.T, s *system, reference string) {
		look := s.look(reference)
		if look.Holds("a") {
			t.Error("an intent after the refund's outcome holds")
		}
		for units, want := range map[int64]ledger.Verdict{40: ledger.Fits, 41: ledger.Exceeds} {
			if got := look.Judge(ledger.Asked{ID: "next", Amount: *hkd(units)}); got != want {
				t.Errorf("%d beside 60 of 100: %s, want %s", units, got, want)
			}
		}
	})
}
