package idempotency

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// onPayment puts an event on a payment that several refunds share.
func onPayment(reference string) func(*ledger.Entry) {
	return func(e *ledger.Entry) { e.Event.Payment = &schemas.Payment{Reference: reference} }
}

// of is an event of a refund of so many units of a payment.
func of(reference string, units int64) func(*ledger.Entry) {
	return func(e *ledger.Entry) { onPayment(reference)(e); e.Event.Amount = hkd(units) }
}

// names has an event's command name the captured amount.
func names(captured *schemas.Money) func(*ledger.Entry) {
	return func(e *ledger.Entry) { e.Event.Payment.Amount = captured }
}

func asks(kind ledger.HoldKind) func(*ledger.Entry) {
	return func(e *ledger.Entry) { e.Hold = &ledger.Hold{Kind: kind, Rules: ledger.GuardRules} }
}

func asksHold(lookedAt uint64) func(*ledger.Entry) {
	return func(e *ledger.Entry) {
		e.Hold = &ledger.Hold{Kind: ledger.SoleHold, Rules: ledger.GuardRules, LookedAt: lookedAt}
	}
}

// cents are hundredths of a unit, the smallest part of it that moves.
func cents(n int64) schemas.Money { return schemas.Money{Micros: n * 10_000, Currency: "HKD"} }

func hkd(units int64) *schemas.Money { m := cents(100 * units); return &m }

// look is a payment as of the last event journalled.
func (s *system) look(reference string) PaymentLook {
	s.t.Helper()
	state, _ := s.journal.State(s.t.Context())
	look, err := s.store.AwaitPayment(patiently(s.t), "bank", reference, state.Last)
	if err != nil {
		s.t.Fatal(err)
	}
	return look
}

func (s *system) holds(id schemas.RequestID, seq uint64) bool {
	s.t.Helper()
	look, err := s.store.AwaitPayment(patiently(s.t), "bank", "4922", seq)
	if err != nil {
		s.t.Fatal(err)
	}
	return look.Holds(id)
}

// rebuilt loses Redis and waits until everything is there again.
func (s *system) rebuilt(rdb redis.UniversalClient) {
	s.t.Helper()
	rebuilds := s.store.Stats().Rebuilds
	if err := rdb.FlushAll(s.t.Context()).Err(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
	state, _ := s.journal.State(s.t.Context())
	s.applied(state.Last)
	s.ready()
}

// guarded runs a test of what a journal makes of payments: on what the projection made of it event by event, and on
// what it makes of it after Redis was lost.
func guarded(t *testing.T, journal func(j *memoryJournal), check func(t *testing.T, s *system)) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 5}).ready()
		journal(s.journal)
		check(t, s)
		if t.Failed() {
			return
		}
		s.rebuilt(rdb)
		t.Log("Redis was lost")
		check(t, s)
	})
}

// A refund of 60 asked 100 for its share. Doubt, pending, deferred and parked keep it; failure ends it, success settles
// it, and a reversal gives back what came back. Another refund of 50 is told so.
func TestWhatBecomesOfAHold(t *testing.T) {
	tests := []struct {
		name  string
		after []schemas.Kind
		holds bool
		other ledger.Verdict
	}{
		{"in doubt", nil, true, ledger.Held},
		{"pending", []schemas.Kind{schemas.KindAcknowledged}, true, ledger.Held},
		{"deferred", []schemas.Kind{schemas.KindDeferred}, true, ledger.Held},
		{"parked", []schemas.Kind{schemas.KindParked}, true, ledger.Held},
		{"resumed", []schemas.Kind{schemas.KindParked, schemas.KindResumed}, true, ledger.Held},
		{"tried again", []schemas.Kind{schemas.KindDeferred, schemas.KindDispatched}, true, ledger.Held},
		{"failed", []schemas.Kind{schemas.KindFailed}, false, ledger.Fits},
		{"parked and failed", []schemas.Kind{schemas.KindParked, schemas.KindFailed}, false, ledger.Fits},
		{"succeeded", []schemas.Kind{schemas.KindSucceeded}, false, ledger.Exceeds},
		{"cancelled", []schemas.Kind{schemas.KindCancelled}, false, ledger.Exceeds},
		{"pending and succeeded", []schemas.Kind{schemas.KindAcknowledged, schemas.KindSucceeded}, false, ledger.Exceeds},
		{"reversed by 9", []schemas.Kind{schemas.KindSucceeded, schemas.KindReversed}, false, ledger.Exceeds},
		{"reversed by 18", []schemas.Kind{schemas.KindSucceeded, schemas.KindReversed, schemas.KindReversed}, false, ledger.Fits},
		{"rejected", []schemas.Kind{schemas.KindRejected}, true, ledger.Held},
	}
	id := func(i int) schemas.RequestID { return requestID(i) }
	guarded(t, func(j *memoryJournal) {
		for i, test := range tests {
			p := of(test.name, 60)
			j.add(event(id(i), schemas.KindDispatched, attempt(1), p, names(hkd(100)), asks(ledger.ShareHold)))
			for n, kind := range test.after {
				e := event(id(i), kind, attempt(1+n), number(1), p, asks(ledger.ShareHold))
				e.Event.Reversal, e.ID = &schemas.Reversal{Amount: *hkd(9), Total: *hkd(int64(9 * n))}, newToken()
				j.add(e)
			}
		}
	}, func(t *testing.T, s *system) {
		for i, test := range tests {
			look := s.look(test.name)
			if got := look.Holds(id(i)); got != test.holds {
				t.Errorf("%s: holds %t, want %t", test.name, got, test.holds)
			}
			if got := look.Judge(ledger.Asked{ID: "other", Amount: *hkd(50), Captured: hkd(100)}); got != test.other {
				t.Errorf("%s: another refund %s, want %s", test.name, got, test.other)
			}
			if got := look.Judge(ledger.Asked{ID: "other", Amount: *hkd(40), Captured: hkd(100)}); got != ledger.Fits {
				t.Errorf("%s: another refund that fits beside it %s, want %s", test.name, got, ledger.Fits)
			}
		}
	})
}

// The first granted command that names what was captured binds it. Who names another amount is told so, and gets nothing.
// What is not granted binds nobody: a refund of more than it says was captured could shut out every other one.
func TestFirstCapturedAmountBinds(t *testing.T) {
	guarded(t, func(j *memoryJournal) {
		p := of("4922", 30)
		j.add(event("unnamed", schemas.KindDispatched, attempt(1), p))
		j.add(event("refused", schemas.KindDispatched, attempt(1), p, names(hkd(20)), asks(ledger.ShareHold)))
		j.add(event("first", schemas.KindDispatched, attempt(1), p, names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("other", schemas.KindDispatched, attempt(1), p, names(hkd(90)), asks(ledger.ShareHold)))
		j.add(event("same", schemas.KindDispatched, attempt(1), p, names(hkd(100)), asks(ledger.ShareHold)))
	}, func(t *testing.T, s *system) {
		look := s.look("4922")
		if got, known := look.Captured(); !known || got != *hkd(100) {
			t.Errorf("captured is %v, %t; want 100", got, known)
		}
		for id, want := range map[schemas.RequestID]bool{"unnamed": true, "refused": false, "first": true, "other": false, "same": true} {
			if got := look.Holds(id); got != want {
				t.Errorf("%s holds: %t, want %t", id, got, want)
			}
		}
		for named, want := range map[*schemas.Money]ledger.Verdict{hkd(90): ledger.Contradicts, hkd(100): ledger.Fits, nil: ledger.Fits,
			{Micros: 100_000_000, Currency: "USD"}: ledger.Contradicts} {
			if got := look.Judge(ledger.Asked{ID: "next", Amount: *hkd(10), Captured: named}); got != want {
				t.Errorf("naming %v: %s, want %s", named, got, want)
			}
		}
	})
}

// Two equal partial refunds with different requestIds are both meant. The sum decides, to the smallest unit.
func TestSharesFitToTheSmallestUnit(t *testing.T) {
	amounts := []struct {
		reference string
		second    schemas.Money
		holds     bool
	}{{"equal", cents(50_00), true}, {"one less", cents(49_99), true}, {"one too much", cents(50_01), false}}
	guarded(t, func(j *memoryJournal) {
		for i, a := range amounts {
			ask := func(id schemas.RequestID, amount schemas.Money) {
				e := event(id, schemas.KindDispatched, attempt(1), of(a.reference, 0), names(hkd(100)), asks(ledger.ShareHold))
				e.Event.Amount = &amount
				j.add(e)
			}
			ask(requestID(2*i), cents(50_00))
			ask(requestID(2*i+1), a.second)
		}
	}, func(t *testing.T, s *system) {
		for i, a := range amounts {
			look := s.look(a.reference)
			if !look.Holds(requestID(2*i)) || look.Holds(requestID(2*i+1)) != a.holds {
				t.Errorf("%s: holds %t and %t, want true and %t", a.reference, look.Holds(requestID(2*i)),
					look.Holds(requestID(2*i+1)), a.holds)
			}
		}
	})
}

// An intent that asks for nothing is called at once: it takes its share, even one that does not fit.
func TestIntentsThatDoNotAsk(t *testing.T) {
	guarded(t, func(j *memoryJournal) {
		j.add(event("a", schemas.KindDispatched, attempt(1), of("unasked", 60)))
		j.add(event("b", schemas.KindDispatched, attempt(1), of("unasked", 50), names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("c", schemas.KindDispatched, attempt(1), of("unasked", 70)))
	}, func(t *testing.T, s *system) {
		unasked := s.look("unasked")
		if !unasked.Holds("a") || unasked.Holds("b") || !unasked.Holds("c") {
			t.Errorf("beside an unasked share: %t, %t, %t; want the unasked ones to hold", unasked.Holds("a"), unasked.Holds("b"),
				unasked.Holds("c"))
		}
	})
}

// What comes after a refund's own outcome says nothing about its payment: no hold that nothing would end, no amount
// counted twice, nothing given back that was never taken.
func TestNothingHoldsOrCountsAfterTheOutcome(t *testing.T) {
	guarded(t, func(j *memoryJournal) {
		again := func(e *ledger.Entry) { e.ID = newToken() }
		ask := func(id schemas.RequestID, n int, units int64) {
			j.add(event(id, schemas.KindDispatched, attempt(n), of("4922", units), names(hkd(100)), asks(ledger.ShareHold)))
		}
		ask("failed", 1, 60)
		j.add(event("failed", schemas.KindFailed, of("4922", 60)))
		ask("failed", 2, 60)
		back := func(e *ledger.Entry) { e.Event.Reversal = &schemas.Reversal{Amount: *hkd(50), Total: *hkd(50)} }
		ask("succeeded", 1, 70)
		j.add(event("succeeded", schemas.KindReversed, of("4922", 70), back)) // nothing has gone yet
		j.add(event("succeeded", schemas.KindSucceeded, of("4922", 70)))
		j.add(event("succeeded", schemas.KindSucceeded, of("4922", 70), again))
		ask("succeeded", 2, 70)
		j.add(event("failed", schemas.KindReversed, of("4922", 60), back))
	}, func(t *testing.T, s *system) {
		look := s.look("4922")
		if look.Holds("failed") || look.Holds("succeeded") {
			t.Errorf("failed holds: %t, succeeded holds: %t; want neither", look.Holds("failed"), look.Holds("succeeded"))
		}
		for units, want := range map[int64]ledger.Verdict{30: ledger.Fits, 31: ledger.Exceeds} {
			if got := look.Judge(ledger.Asked{ID: "next", Amount: *hkd(units)}); got != want {
				t.Errorf("%d beside 70 of 100: %s, want %s", units, got, want)
			}
		}
	})
}

// A refund in a currency that is not the payment's was asked for first, and failed, or was denied. That leaves nothing
// behind: who names the captured amount then binds it, and it bounds the refunds.
func TestFailedRefundLeavesNoCurrencyBehind(t *testing.T) {
	dollars := func(e *ledger.Entry) { e.Event.Amount = &schemas.Money{Micros: 1_000_000, Currency: "USD"} }
	guarded(t, func(j *memoryJournal) {
		j.add(event("a", schemas.KindDispatched, attempt(1), of("4922", 0), dollars))
		j.add(event("a", schemas.KindFailed, of("4922", 0), dollars))
		j.add(event("b", schemas.KindDispatched, attempt(1), of("4922", 60), names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("c", schemas.KindDispatched, attempt(1), of("4922", 60), names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("d", schemas.KindDispatched, attempt(1), of("771", 0), dollars))
	}, func(t *testing.T, s *system) {
		look := s.look("4922")
		if captured, known := look.Captured(); !known || captured != *hkd(100) || !look.Holds("b") || look.Holds("c") {
			t.Errorf("captured is %v, %t, hold: %t, %t; want 100 captured and the first refund alone", captured, known,
				look.Holds("b"), look.Holds("c"))
		}
		if got := s.look("771").Judge(ledger.Asked{ID: "e", Amount: *hkd(60), Captured: hkd(100)}); got != ledger.Fits {
			t.Errorf("HKD named as captured beside a dollar at work: %s, want %s", got, ledger.Fits)
		}
	})
}

// While a refund in a wrong currency is at work, one in the payment's own succeeds. It counts once the captured amount is
// named, whatever became of the other.
func TestEachCurrencyIsCountedByItself(t *testing.T) {
	dollars := func(e *ledger.Entry) { e.Event.Amount = &schemas.Money{Micros: 1_000_000, Currency: "USD"} }
	guarded(t, func(j *memoryJournal) {
		j.add(event("a", schemas.KindDispatched, attempt(1), of("4922", 0), dollars))
		j.add(event("b", schemas.KindDispatched, attempt(1), of("4922", 60)))
		j.add(event("c", schemas.KindDispatched, attempt(1), of("4922", 10)))
		j.add(event("b", schemas.KindSucceeded, of("4922", 60)))
		j.add(event("a", schemas.KindFailed, of("4922", 0), dollars))
		j.add(event("d", schemas.KindDispatched, attempt(1), of("4922", 40), names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("e", schemas.KindDispatched, attempt(1), of("4922", 30), names(hkd(100)), asks(ledger.ShareHold)))
	}, func(t *testing.T, s *system) {
		if look := s.look("4922"); look.Holds("d") || !look.Holds("e") {
			t.Errorf("hold: %t, %t; want only the one that fits beside 60 refunded and 10 at work of 100", look.Holds("d"),
				look.Holds("e"))
		}
	})
}

// Amounts of another currency are never set against what was captured, and near the largest amount nothing overflows.
func TestAmountsThatCannotBeAdded(t *testing.T) {
	most := &schemas.Money{Micros: 9_223_372_036_854_770_000, Currency: "HKD"}
	dollars := func(e *ledger.Entry) { e.Event.Amount = &schemas.Money{Micros: 1_000_000, Currency: "USD"} }
	large := func(e *ledger.Entry) { e.Event.Amount = most }
	guarded(t, func(j *memoryJournal) {
		j.add(event("a", schemas.KindDispatched, attempt(1), of("mixed", 60), names(hkd(100)), asks(ledger.ShareHold)))
		j.add(event("b", schemas.KindDispatched, attempt(1), of("mixed", 0), dollars, asks(ledger.ShareHold)))
		j.add(event("c", schemas.KindDispatched, attempt(1), of("mixed", 0), dollars))
		j.add(event("d", schemas.KindDispatched, attempt(1), of("large", 0), large, names(most), asks(ledger.ShareHold)))
		j.add(event("e", schemas.KindDispatched, attempt(1), of("large", 0), large, names(most), asks(ledger.ShareHold)))
		j.add(event("f", schemas.KindDispatched, attempt(1), of("large", 0), large))
		j.add(event("f", schemas.KindSucceeded, of("large", 0), large))
		j.add(event("d", schemas.KindSucceeded, of("large", 0), large))
	}, func(t *testing.T, s *system) {
		mixed, large := s.look("mixed"), s.look("large")
		if !mixed.Holds("a") || mixed.Holds("b") || !mixed.Holds("c") {
			t.Errorf("hold: %t, %t, %t; want the first, and the one that did not ask", mixed.Holds("a"), mixed.Holds("b"),
				mixed.Holds("c"))
		}
		if got := mixed.Judge(ledger.Asked{ID: "next", Amount: *hkd(40)}); got != ledger.Fits {
			t.Errorf("40 beside 60 of 100 and a dollar: %s, want %s", got, ledger.Fits)
		}
		if got := mixed.Judge(ledger.Asked{ID: "next", Amount: schemas.Money{Micros: 1, Currency: "USD"}}); got != ledger.Exceeds {
			t.Errorf("dollars out of HKD: %s, want %s", got, ledger.Exceeds)
		}
		if large.Holds("e") {
			t.Error("the largest amount is granted twice")
		}
		if got := large.Judge(ledger.Asked{ID: "next", Amount: cents(1)}); got != ledger.Exceeds {
			t.Errorf("a cent beside twice the largest amount: %s, want %s", got, ledger.Exceeds)
		}
	})
}
