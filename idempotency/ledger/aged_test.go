package ledger

import (
	"fmt"
	"testing"
	"time"

	"refundworker/schemas"
)

const aged = 90 * 24 * time.Hour

// account folds what a journal says of one payment's refunds.
type account struct {
	records map[schemas.RequestID]Record
	payment Payment
}

func newAccount() *account { return &account{records: map[schemas.RequestID]Record{}} }

func (a *account) add(e Entry) {
	before := a.records[e.Event.RequestID]
	next, legal := before.Apply(e, aged)
	if a.records[e.Event.RequestID] = next; legal && Touches(e) {
		a.payment, _ = a.payment.Apply(e, before, aged, func() bool { return true })
	}
}

// paymentOf is what a payment is behind all of the entries.
func paymentOf(entries []Entry) Payment {
	a := newAccount()
	for _, e := range entries {
		a.add(e)
	}
	return a.payment
}

func money(units int64) schemas.Money {
	return schemas.Money{Micros: units * 1_000_000, Currency: "HKD"}
}

// on is an event on a day, about a refund of some units of a payment of which 200 were captured.
func on(day int, id schemas.RequestID, k schemas.Kind, units int64) Entry {
	amount, captured := money(units), money(200)
	at := noon.AddDate(0, 0, day)
	e := Entry{Seq: uint64(1000*day + len(id)), Stored: at, Event: schemas.Event{Kind: k, RequestID: id, Amount: &amount, OccurredAt: at,
		Payment: &schemas.Payment{Reference: "p"}, Attempt: 1}}
	if k == schemas.KindDispatched {
		e.Event.Payment.Amount, e.Hold = &captured, &Hold{Kind: ShareHold, Rules: GuardRules}
	}
	if k == schemas.KindReversed {
		e.Event.Reversal = &schemas.Reversal{Amount: amount, Total: amount}
	}
	return e
}

// younger are the entries that a journal has on a day.
func younger(entries []Entry, day int) (left []Entry) {
	for _, e := range entries {
		if e.Stored.Add(aged).After(noon.AddDate(0, 0, day)) {
			left = append(left, e)
		}
	}
	return left
}

// A refund is reversed, and its outcome ages out before the reversal does. That takes nothing off what another refund came
// to, whether all was folded as it went or only what is left.
func TestReversalTakesNothingOffAnotherRefund(t *testing.T) {
	all := []Entry{on(1, "a", schemas.KindDispatched, 100), on(2, "a", schemas.KindSucceeded, 100),
		on(50, "b", schemas.KindDispatched, 100), on(51, "b", schemas.KindSucceeded, 100), on(60, "a", schemas.KindReversed, 100)}
	for _, day := range []int{61, 95} {
		for name, entries := range map[string][]Entry{"as it went": all, "what is left": younger(all, day)} {
			p := paymentOf(entries).At(noon.AddDate(0, 0, day), aged)
			captured := money(200)
			for units, want := range map[int64]Verdict{100: Fits, 101: Exceeds} {
				if got := p.Judge(Asked{ID: "next", Amount: money(units), Captured: &captured}); got != want {
					t.Errorf("day %d, %s: %d beside 100 of 200: %s, want %s (%+v)", day, name, units, got, want, p)
				}
			}
		}
	}
}

// A refund has been waiting for a person for longer than its attempts are kept. It may have moved money: it keeps its share.
func TestOpenRefundKeepsItsShare(t *testing.T) {
	all := []Entry{on(1, "x", schemas.KindDispatched, 150)}
	for day := 8; day < 95; day += 7 {
		all = append(all, on(day, "x", schemas.KindParked, 150))
	}
	captured := money(200)
	for name, entries := range map[string][]Entry{"as it went": all, "what is left": younger(all, 95)} {
		p := paymentOf(entries).At(noon.AddDate(0, 0, 95), aged)
		if got := p.Judge(Asked{ID: "next", Amount: money(60), Captured: &captured}); !p.Holding("x") || got != Held {
			t.Errorf("%s: holds %t, and 60 beside it %s; want it held (%s)", name, p.Holding("x"), got, fmt.Sprintf("%+v", p))
		}
	}
	// One that was denied keeps nothing, as long as that is known.
	denied := []Entry{on(1, "x", schemas.KindDispatched, 150), on(2, "y", schemas.KindDispatched, 60), on(3, "y", schemas.KindParked, 60)}
	if p := paymentOf(denied); p.Holding("y") {
		t.Errorf("a refund that was denied its share has it: %+v", p)
	}
}

// An intent of a build with other rules may have been granted there, whatever it would be here: it has its share.
func TestIntentByOtherRulesHasItsShare(t *testing.T) {
	theirs := on(2, "theirs", schemas.KindDispatched, 150)
	theirs.Hold.Rules = GuardRules + 1
	p := paymentOf([]Entry{on(1, "ours", schemas.KindDispatched, 60), theirs, on(3, "ours", schemas.KindFailed, 60)})
	captured := money(200)
	if got := p.Judge(Asked{ID: "next", Amount: money(60), Captured: &captured}); !p.Holding("theirs") || got != Held {
		t.Errorf("it has its share: %t, and 60 of 200 beside it are %s; want held", p.Holding("theirs"), got)
	}
}
