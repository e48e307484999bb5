package idempotency

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// payment is what the journal says about one payment: what was captured, what went back, and whose refunds may still
// take from it. It is the fold of its refunds' events and nothing else.
type payment struct {
	// Captured is what the first command that named it says; the zero value while it is not known.
	Captured schemas.Money
	// Refunded is what succeeded and was cancelled, less what was reversed, for each currency that there was.
	Refunded []schemas.Money
	// Once is set when a refund of it ever succeeded, or it was voided.
	Once bool
	// Holds are the refunds that may move money and have not ended, oldest first.
	Holds []hold
	// Ended is the sequence of the last outcome or reversal of one of its refunds, Last of the last event applied.
	Ended, Last uint64
}

// hold is a refund's share of its payment, from the intent that got it, at since, to the refund's outcome.
type hold struct {
	id     schemas.RequestID
	amount schemas.Money
	since  uint64
}

// judge is the guard's one rule, for the fold and for whoever looks before asking. What the payment's refunds in another
// currency come to says nothing about what was captured.
func (p payment) judge(a ledger.Asked) ledger.Verdict {
	if p.holds(a.ID) {
		return ledger.Fits
	}
	if captured := p.Captured; captured.Currency != "" {
		refunded, others := sum(p.Refunded, captured.Currency), int64(0)
		for _, h := range p.Holds {
			if h.amount.Currency == captured.Currency {
				others = plus(others, h.amount.Micros)
			}
		}
		switch {
		case a.Captured != nil && *a.Captured != captured:
			return ledger.Contradicts
		case a.Amount.Currency != captured.Currency || plus(refunded, a.Amount.Micros) > captured.Micros:
			return ledger.Exceeds
		case plus(plus(refunded, others), a.Amount.Micros) > captured.Micros:
			return ledger.Held
		}
	}
	if a.Sole && len(p.Holds) > 0 {
		return ledger.Held
	}
	return ledger.Fits
}

// sum is what amounts of one currency come to, of which there is one entry at most.
func sum(amounts []schemas.Money, c schemas.Currency) int64 {
	for _, m := range amounts {
		if m.Currency == c {
			return m.Micros
		}
	}
	return 0
}

// plus adds amounts that are not negative. What does not fit is more than any payment.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// intend folds an intent in: it may be the first to name what was captured, and gets its hold where there is room and
// the provider's pace allows it.
func (p payment) intend(e ledger.Entry, pace func() bool) payment {
	asked := ledger.Asked{ID: e.Event.RequestID, Amount: *e.Event.Amount, Captured: e.Event.Payment.Amount,
		Sole: e.Hold != nil && e.Hold.Kind == ledger.SoleHold}
	if p.Captured.Currency == "" && asked.Captured != nil {
		p.Captured = *asked.Captured
	}
	if p.holds(asked.ID) {
		return p
	}
	switch {
	case e.Hold == nil: // it is called whatever stands here
	case e.Hold.Kind == ledger.NoHold, p.judge(asked) != ledger.Fits, asked.Sole && p.Ended > e.Hold.LookedAt, !pace():
		return p
	}
	p.Holds = append(slices.Clip(p.Holds), hold{asked.ID, asked.Amount, e.Seq})
	return p
}

// end folds an outcome in.
func (p payment) end(e ledger.Entry) payment {
	p.Holds = slices.DeleteFunc(slices.Clone(p.Holds), func(h hold) bool { return h.id == e.Event.RequestID })
	p.Ended = e.Seq
	if e.Event.Kind == schemas.KindFailed {
		return p
	}
	p.Once = true
	if amount := e.Event.Amount; amount != nil {
		p = p.refund(amount.Currency, plus(sum(p.Refunded, amount.Currency), amount.Micros))
	}
	return p
}

// reverse gives back what a reversal took back. It never gives back more than was counted: what is older may have
// aged out.
func (p payment) reverse(e ledger.Entry) payment {
	p.Ended = e.Seq
	if r := e.Event.Reversal; r != nil {
		p = p.refund(r.Amount.Currency, max(sum(p.Refunded, r.Amount.Currency)-r.Amount.Micros, 0))
	}
	return p
}

// refund sets what went back in one currency.
func (p payment) refund(c schemas.Currency, micros int64) payment {
	p.Refunded = slices.DeleteFunc(slices.Clone(p.Refunded), func(m schemas.Money) bool { return m.Currency == c })
	p.Refunded = append(p.Refunded, schemas.Money{Micros: micros, Currency: c})
	return p
}

func (p payment) holds(id schemas.RequestID) bool {
	return slices.ContainsFunc(p.Holds, func(h hold) bool { return h.id == id })
}

// apply folds one event that is legal for its refund; pace tells whether the provider's lets an intent go ahead that the
// payment has room for. It reports whether anything changed.
func (p payment) apply(e ledger.Entry, pace func() bool) (payment, bool) {
	kind := e.Event.Kind
	if e.Seq <= p.Last || kind == schemas.KindFailed && p.Last == 0 {
		return p, false
	}
	switch {
	case kind == schemas.KindDispatched:
		p = p.intend(e, pace)
	case kind.Outcome():
		p = p.end(e)
	case kind == schemas.KindReversed:
		p = p.reverse(e)
	}
	p.Last = e.Seq
	return p, true
}

// touchesPayment tells whether an event may change its payment.
func touchesPayment(e ledger.Entry) bool {
	kind := e.Event.Kind
	return e.Event.Payment != nil && (kind.Outcome() || kind == schemas.KindReversed ||
		kind == schemas.KindDispatched && e.Event.Amount != nil)
}

// paymentField is where a payment is stored, as one text: each field costs bytes of its own.
const paymentField = "p"

const paymentBase = 36

// text is how a payment is stored: captured, once, ended, last, and then each currency's sum and each hold. An amount is
// its currency and its micros.
func (p payment) text() string {
	once := uint64(0)
	if p.Once {
		once = 1
	}
	out := appendMoney(nil, p.Captured)
	for _, n := range []uint64{once, p.Ended, p.Last} {
		out = strconv.AppendUint(append(out, ' '), n, paymentBase)
	}
	for _, m := range p.Refunded {
		out = appendMoney(append(out, ' '), m)
	}
	for _, h := range p.Holds {
		out = append(append(append(out, ' '), h.id...), '=')
		out = append(appendMoney(out, h.amount), '=')
		out = strconv.AppendUint(out, h.since, paymentBase)
	}
	return string(out)
}

func appendMoney(out []byte, m schemas.Money) []byte {
	return strconv.AppendInt(append(out, m.Currency...), m.Micros, paymentBase)
}

// readMoney is appendMoney's opposite; an amount without a currency is none.
func readMoney(text string) schemas.Money {
	if len(text) <= currencyLen {
		return schemas.Money{}
	}
	micros, _ := strconv.ParseInt(text[currencyLen:], paymentBase, 64)
	return schemas.Money{Micros: micros, Currency: schemas.Currency(text[:currencyLen])}
}

// readPayment is text's opposite; no text is a payment of which nothing is known.
func readPayment(text string) payment {
	parts := strings.Split(text, " ")
	if len(parts) < 4 {
		return payment{}
	}
	number := func(text string) uint64 { n, _ := strconv.ParseUint(text, paymentBase, 64); return n }
	p := payment{Captured: readMoney(parts[0]), Once: parts[1] == "1", Ended: number(parts[2]), Last: number(parts[3])}
	for _, part := range parts[4:] {
		id, rest, isHold := strings.Cut(part, "=")
		if !isHold {
			p.Refunded = append(p.Refunded, readMoney(part))
			continue
		}
		amount, since, _ := strings.Cut(rest, "=")
		p.Holds = append(p.Holds, hold{schemas.RequestID(id), readMoney(amount), number(since)})
	}
	return p
}
