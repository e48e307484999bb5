package idempotency

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// runaway journals intents of so many refunds, each of a payment of its own, from a number on.
func (s *system) runaway(from, n int, pace *ledger.Pace) {
	for i := range n {
		id := requestID(from + i)
		s.journal.add(event(id, schemas.KindDispatched, attempt(1), of(string(id), 1),
			func(e *ledger.Entry) {
				e.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules, Velocity: pace}
			}))
	}
}

// granted lists which of the refunds hold their payment.
func (s *system) granted(from, n int) map[schemas.RequestID]bool {
	s.t.Helper()
	granted := map[schemas.RequestID]bool{}
	for i := range n {
		if id := requestID(from + i); s.look(string(id)).Holds(id) {
			granted[id] = true
		}
	}
	return granted
}

func (s *system) velocity() VelocityLook {
	s.t.Helper()
	state, _ := s.journal.State(s.t.Context())
	s.applied(state.Last)
	look, err := s.store.LookVelocity(s.t.Context(), "bank")
	if err != nil {
		s.t.Fatal(err)
	}
	return look
}

func (s *system) brake(kind schemas.Kind, n int) {
	s.journal.add(ledger.Entry{Event: schemas.Event{Kind: kind, Provider: "bank", OccurredAt: time.Now().UTC(), N: n}})
}

// A caller runs away. Exactly as many refunds go ahead as the bound says, the first ones of the journal, and the same
// ones when Redis is lost on the way. Until somebody starts the provider again nothing else does; then those that
// waited go ahead uncounted, and others as many as before.
func TestRunawayIsStoppedAtTheBound(t *testing.T) {
	const bound, crowd = 40, 120
	pace := &ledger.Pace{Bounds: []ledger.Bound{{Window: time.Hour, Count: bound}}}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 3}).ready()
		s.runaway(0, bound/2, pace)
		s.rebuilt(rdb)
		s.runaway(bound/2, crowd-bound/2, pace)
		for round := range 2 {
			granted := s.granted(0, crowd)
			if len(granted) != bound || !granted[requestID(0)] || !granted[requestID(bound-1)] {
				t.Fatalf("round %d: %d refunds go ahead, want the first %d", round, len(granted), bound)
			}
			if got := s.velocity(); !got.Stopped || !got.Said.IsZero() || got.Stop != 0 || got.Currency != "HKD" || got.Window != time.Hour {
				t.Fatalf("round %d: looks %+v, want it stopped by the hour's bound, not said yet", round, got)
			}
			s.rebuilt(rdb)
		}
		s.brake(schemas.KindStopped, 1)
		s.brake(schemas.KindStarted, 1)
		waited := event(requestID(crowd-1), schemas.KindDispatched, attempt(2), of(string(requestID(crowd-1)), 1),
			func(e *ledger.Entry) {
				e.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules, Velocity: &ledger.Pace{Exempt: true}}
			})
		s.journal.add(waited)
		s.runaway(crowd, crowd, pace)
		for round := range 2 {
			if got := len(s.granted(crowd, crowd)); got != bound {
				t.Errorf("round %d: %d refunds go ahead after the start, want %d", round, got, bound)
			}
			if !s.granted(0, crowd)[requestID(crowd-1)] {
				t.Errorf("round %d: the one that waited does not go ahead", round)
			}
			if got := s.velocity(); !got.Stopped || !got.Said.IsZero() || got.Stop != 1 || got.Started.IsZero() {
				t.Errorf("round %d: looks %+v, want it stopped again", round, got)
			}
			s.rebuilt(rdb)
		}
	})
}

// A refund that holds its share already is not counted again, however often it is tried; one that gets none, for its
// payment has no room or no call follows, is not counted at all.
func TestOnlyWhatGoesAheadIsCounted(t *testing.T) {
	pace := &ledger.Pace{Bounds: []ledger.Bound{{Window: time.Hour, Count: 100}}}
	hold := func(kind ledger.HoldKind) func(*ledger.Entry) {
		return func(e *ledger.Entry) { e.Hold = &ledger.Hold{Kind: kind, Rules: ledger.GuardRules, Velocity: pace} }
	}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 3}).ready()
		for n := range 5 {
			s.journal.add(event("a", schemas.KindDispatched, attempt(n+1), of("4922", 60), names(hkd(100)), hold(ledger.ShareHold)))
		}
		s.journal.add(event("b", schemas.KindDispatched, attempt(1), of("4922", 60), hold(ledger.ShareHold)))
		s.journal.add(event("d", schemas.KindDispatched, attempt(1), of("4922", 10), hold(ledger.SoleHold)))
		for round := range 2 {
			want := WindowLook{Currency: "HKD", Window: time.Hour, Count: 1, Micros: hkd(60).Micros}
			if got := s.velocity(); len(got.Windows) != 1 || got.Windows[0] != want {
				t.Errorf("round %d: counts %+v, want %+v", round, got.Windows, want)
			}
			s.rebuilt(rdb)
		}
	})
}
