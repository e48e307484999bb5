package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"refundworker/schemas"
)

// Payment is what the journal says about one payment: what was captured, what went back, and whose refunds may still take
// from it. It is the fold of its refunds' events that are younger than a journal is kept, and of nothing else.
type Payment struct {
	// Captured is what the first granted intent that named it says, and Named when one last did; zero while it is not known.
	Captured schemas.Money
	Named    Day
	// Refunded is what succeeded and was cancelled, less what was reversed, for each currency and day, oldest first.
	Refunded []Refunded
	// Once is when a refund of it last succeeded, or it was voided; 0 when neither ever happened.
	Once Day
	// Whole is when the first of its events was stored, where that one found nothing before it and all since are surely still
	// in the journal; 0 where that cannot be told. Of a whole payment, each fold comes to the same verdicts. Of another one, what
	// an older refund had taken may be missing: what was denied is then granted, and in its wake what was granted denied.
	Whole Day
	// Holds are the refunds that may move money and have not ended, oldest first.
	Holds []Share
	// Ended is the sequence of the last outcome or reversal of one of its refunds, Last of the last event applied, and Seen
	// when that was.
	Ended, Last uint64
	Seen        Day
}

// Share is what a refund holds of its payment, from the intent that got it, at Since, to the refund's outcome.
type Share struct {
	ID     schemas.RequestID
	Amount schemas.Money
	Since  uint64
}

// Refunded is what went back on one day.
type Refunded struct {
	Day    Day
	Amount schemas.Money
}

// Day counts days since 1970. What a payment remembers, it remembers by the day: many refunds of it take no more room.
type Day int64

const dayLength = 24 * time.Hour

// DayOf is the day of a time.
func DayOf(t time.Time) Day { return Day(t.Unix() / int64(dayLength/time.Second)) }

// End is when the day is over.
func (d Day) End() time.Time { return time.Unix(int64(d+1)*int64(dayLength/time.Second), 0) }

// Until is the time from which nothing of the payment is remembered, if nothing more happens; the zero time for one that is
// held: its refunds are open.
func (p Payment) Until(retain time.Duration) time.Time {
	if len(p.Holds) > 0 {
		return time.Time{}
	}
	return p.Seen.End().Add(retain)
}

// At is the payment as it is remembered at a time: what a journal that is kept for retain does not have any more is
// forgotten, by the events' own times.
func (p Payment) At(now time.Time, retain time.Duration) Payment {
	aged := func(d Day) bool { return d.End().Add(retain).Before(now) }
	if len(p.Holds) == 0 {
		if aged(p.Seen) {
			return Payment{}
		}
		if aged(p.Named) {
			p.Captured, p.Named = schemas.Money{}, 0
		}
	}
	if aged(p.Whole - 2) { // before the journal can have lost it
		p.Whole = 0
	}
	if aged(p.Once) {
		p.Once = 0
	}
	p.Refunded = slices.DeleteFunc(slices.Clone(p.Refunded), func(r Refunded) bool { return aged(r.Day) })
	return p
}

// Judge is the guard's one rule, for the fold and for whoever looks before asking. What the payment's refunds in another
// currency come to says nothing about what was captured.
func (p Payment) Judge(a Asked) Verdict {
	if p.Holding(a.ID) {
		return Fits
	}
	captured := p.Captured
	if captured.Currency == "" && a.Captured != nil {
		captured = *a.Captured
	}
	if captured.Currency != "" {
		refunded, others := p.refunded(captured.Currency), int64(0)
		for _, h := range p.Holds {
			if h.Amount.Currency == captured.Currency {
				others = plus(others, h.Amount.Micros)
			}
		}
		switch {
		case a.Captured != nil && *a.Captured != captured:
			return Contradicts
		case a.Amount.Currency != captured.Currency || plus(refunded, a.Amount.Micros) > captured.Micros:
			return Exceeds
		case plus(plus(refunded, others), a.Amount.Micros) > captured.Micros:
			return Held
		}
	}
	if a.Sole && len(p.Holds) > 0 {
		return Held
	}
	return Fits
}

// refunded is what went back in one currency.
func (p Payment) refunded(c schemas.Currency) int64 {
	sum := int64(0)
	for _, r := range p.Refunded {
		if r.Amount.Currency == c {
			sum = plus(sum, r.Amount.Micros)
		}
	}
	return sum
}

// plus adds amounts that are not negative. What does not fit is more than any payment.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Holding reports whether a refund has its share.
func (p Payment) Holding(id schemas.RequestID) bool {
	return slices.ContainsFunc(p.Holds, func(h Share) bool { return h.ID == id })
}

// Touches reports whether an event may change its payment.
func Touches(e Entry) bool {
	kind := e.Event.Kind
	return e.Event.Payment != nil && (kind.Outcome() || kind == schemas.KindReversed ||
		(kind == schemas.KindDispatched || kind == schemas.KindParked && e.Event.Attempt > 0) && e.Event.Amount != nil)
}

// Apply folds in one event that says something about its refund, which was as before says until then; pace tells whether the
// provider's lets an intent go ahead that the payment has room for. It reports whether anything changed.
func (p Payment) Apply(e Entry, before Record, retain time.Duration, pace func() bool) (Payment, bool) {
	if e.Seq <= p.Last {
		return p, false
	}
	p = p.At(e.Stored, retain)
	kind := e.Event.Kind
	switch {
	case kind == schemas.KindFailed && p.Last == 0: // it never asked for anything
		return p, false
	case kind == schemas.KindParked && (before.Intent > 0 || p.Holding(e.Event.RequestID)):
		return p, false
	}
	if p.Last == 0 && e.Hold != nil && e.Hold.First {
		p.Whole = DayOf(e.Stored)
	}
	switch {
	case kind == schemas.KindDispatched:
		p = p.intend(e, pace)
	case kind.Outcome():
		p = p.end(e)
	case kind == schemas.KindParked: // its attempts have aged out, and may have moved money: it keeps its share
		p.Holds = append(slices.Clip(p.Holds), Share{e.Event.RequestID, *e.Event.Amount, e.Seq})
	case kind == schemas.KindReversed:
		p = p.reverse(e, before)
	}
	p.Last, p.Seen = e.Seq, DayOf(e.Stored)
	return p, true
}

// intend folds an intent in: it may be the first to name what was captured, and gets its share where there is room and
// the provider's pace allows it.
func (p Payment) intend(e Entry, pace func() bool) Payment {
	asked := Asked{ID: e.Event.RequestID, Amount: *e.Event.Amount, Captured: e.Event.Payment.Amount,
		Sole: e.Hold != nil && e.Hold.Kind == SoleHold}
	if p.Holding(asked.ID) {
		return p.named(asked.Captured, e)
	}
	if e.Hold != nil && e.Hold.Rules == GuardRules && (p.Judge(asked) != Fits || asked.Sole && p.Ended > e.Hold.LookedAt || !pace()) {
		return p
	} // without a hold it is called whatever stands here, and by other rules it may have been granted
	p.Holds = append(slices.Clip(p.Holds), Share{asked.ID, asked.Amount, e.Seq})
	return p.named(asked.Captured, e)
}

// named takes in what a granted intent says was captured: the first one's word binds all others.
func (p Payment) named(captured *schemas.Money, e Entry) Payment {
	if captured != nil && (p.Captured.Currency == "" || p.Captured == *captured) {
		p.Captured, p.Named = *captured, DayOf(e.Stored)
	}
	return p
}

// end folds an outcome in.
func (p Payment) end(e Entry) Payment {
	p.Holds = slices.DeleteFunc(slices.Clone(p.Holds), func(h Share) bool { return h.ID == e.Event.RequestID })
	p.Ended = e.Seq
	if e.Event.Kind == schemas.KindFailed {
		return p
	}
	p.Once = DayOf(e.Stored)
	if amount := e.Event.Amount; amount != nil {
		p = p.refund(DayOf(e.Stored), *amount)
	}
	return p
}

func (p Payment) refund(day Day, amount schemas.Money) Payment {
	p.Refunded = slices.Clone(p.Refunded)
	at := slices.IndexFunc(p.Refunded, func(r Refunded) bool { return r.Day == day && r.Amount.Currency == amount.Currency })
	if at < 0 {
		p.Refunded = append(p.Refunded, Refunded{Day: day, Amount: schemas.Money{Currency: amount.Currency}})
		slices.SortStableFunc(p.Refunded, func(a, b Refunded) int { return cmp.Compare(a.Day, b.Day) })
		return p.refund(day, amount)
	}
	p.Refunded[at].Amount.Micros = plus(p.Refunded[at].Amount.Micros, amount.Micros)
	return p
}

// reverse gives back what a reversal took back, of what went on the day of its refund's outcome. Where that is not known, it
// has aged out, and so has what it counted.
func (p Payment) reverse(e Entry, before Record) Payment {
	p.Ended = e.Seq
	reversal := e.Event.Reversal
	day, known := before.SettledOn()
	if reversal == nil || !known {
		return p
	}
	p.Refunded = slices.Clone(p.Refunded)
	for i, r := range p.Refunded {
		if r.Day == day && r.Amount.Currency == reversal.Amount.Currency {
			p.Refunded[i].Amount.Micros = max(r.Amount.Micros-reversal.Amount.Micros, 0)
		}
	}
	p.Refunded = slices.DeleteFunc(p.Refunded, func(r Refunded) bool { return r.Amount.Micros == 0 })
	return p
}
