package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"refundworker/schemas"
)

// longHistory is what became of one payment's refunds over more than a year: each is asked for, ends within days or waits for
// a person, who is told again every week, and may be reversed in the end. What did not get its hold does not succeed.
func longHistory(r *rand.Rand) []Entry {
	hours := func(most int) time.Duration { return time.Duration(1+r.IntN(most)) * time.Hour }
	var planned []Entry
	for n := range 16 {
		at, units := noon.Add(hours(400*24)), 10+r.Int64N(60)
		captured := money(100)
		add := func(k schemas.Kind) {
			e := on(0, schemas.RequestID(fmt.Sprint(n)), k, units)
			e.Stored, e.Event.OccurredAt, e.Event.Payment.Amount = at, at, nil
			if n%3 > 0 { // some do not name what was captured
				e.Event.Payment.Amount = &captured
			}
			planned = append(planned, e)
			at = at.Add(hours(72))
		}
		add(schemas.KindDispatched)
		for range max(r.IntN(32)-16, 0) {
			add(schemas.KindParked)
			at = at.Add(4 * 24 * time.Hour)
		}
		add([]schemas.Kind{schemas.KindSucceeded, schemas.KindFailed}[r.IntN(2)])
		if r.IntN(4) == 0 {
			at = at.Add(hours(80 * 24))
			add(schemas.KindReversed)
		}
	}
	slices.SortStableFunc(planned, func(a, b Entry) int { return a.Stored.Compare(b.Stored) })
	var entries []Entry
	a := newAccount()
	for _, e := range planned {
		e.Seq = uint64(len(entries) + 1)
		switch holds := a.payment.Holding(e.Event.RequestID); {
		case e.Hold != nil:
			e.Hold.First = a.payment.At(e.Stored, aged).Last == 0 // what a worker sees that looks just before
		case e.Event.Kind == schemas.KindSucceeded && !holds:
			e.Event.Kind = schemas.KindFailed
		case e.Event.Kind == schemas.KindReversed && !moves(a.records[e.Event.RequestID].State):
			continue
		}
		entries = append(entries, e)
		a.add(e)
	}
	return entries
}

// A journal that has lost its oldest entries meanwhile comes to the same verdict on every intent of a payment that is whole.
// Of others, some come out the other way round.
func TestVerdictsOnWholePayments(t *testing.T) {
	granted := func(entries []Entry, now time.Time) (map[uint64]bool, Payment) {
		verdicts, a := map[uint64]bool{}, newAccount()
		for _, e := range entries {
			a.add(e)
			if e.Event.Kind == schemas.KindDispatched {
				verdicts[e.Seq] = a.payment.Holding(e.Event.RequestID)
			}
		}
		return verdicts, a.payment.At(now, aged)
	}
	type counts struct{ same, other int }
	seen := map[bool]*counts{true: {}, false: {}} // by whether the payment is whole
	for seed := range uint64(40) {
		all := longHistory(rand.New(rand.NewPCG(seed, 1)))
		first, _ := granted(all, noon)
		for day := 1; day < 420; day += 10 {
			now := noon.AddDate(0, 0, day)
			left := slices.DeleteFunc(younger(all, day), func(e Entry) bool { return e.Stored.After(now) })
			again, payment := granted(left, now)
			for seq, was := range again {
				if c := seen[payment.Whole > 0]; was == first[seq] {
					c.same++
				} else {
					c.other++
				}
			}
		}
	}
	if whole := seen[true]; whole.other > 0 || whole.same < 500 {
		t.Errorf("of whole payments, %d verdicts came out the same and %d otherwise", whole.same, whole.other)
	}
	if seen[false].other == 0 {
		t.Error("no verdict ever came out otherwise: the histories show nothing")
	}
	t.Logf("whole: %+v, others: %+v", *seen[true], *seen[false])
}
