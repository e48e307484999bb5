package explore

import (
	"refundworker/providers"
	"refundworker/schemas"
)

// result is what a provider says to a call or a lookup.
type result int8

const (
	noAnswer result = iota
	nothing         // surely nothing happened
	paid
	declined
	notNow
	acknowledged
	notFound
	refunded // in Prepare: the payment has been refunded
)

var resultNames = [...]string{"no answer", "surely nothing", "paid", "declined", "not now", "taken on", "not found", "refunded already"}

func (r result) answer() (providers.Result, error) {
	switch r {
	case paid:
		return providers.Result{Status: providers.Succeeded}, nil
	case declined:
		return providers.Result{Status: providers.Declined, Reason: schemas.ReasonDeclined}, nil
	case notNow:
		return providers.Result{Status: providers.NotNow, Reason: schemas.ReasonProviderBusy}, nil
	case acknowledged:
		return providers.Result{Status: providers.Acknowledged}, nil
	case refunded:
		return providers.Result{Status: providers.Declined, Reason: schemas.ReasonAlreadyRefunded}, nil
	case notFound:
		return providers.Result{}, nil // in Prepare: nothing stands against it
	case nothing:
		return providers.Result{}, errNothing
	}
	return providers.Result{}, errUnknown
}

func (r result) finding() (providers.Finding, error) {
	switch r {
	case noAnswer:
		return providers.Finding{}, providers.Harmless(errUnknown)
	case notFound:
		return providers.Finding{Kind: providers.NotFound}, nil
	case notNow:
		found, _ := r.answer()
		return providers.Finding{Kind: providers.NotFound, Result: found}, nil
	}
	found, _ := r.answer()
	return providers.Finding{Kind: providers.Found, Result: found}, nil
}

// effect is what a call does at the provider, and what its caller hears.
type effect int8

const (
	pays effect = iota
	paysUnheard
	paysLate // it is still on its way when its caller gives up
	declines
	declinesUnheard
	putsOff
	doesNothing // and its caller hears nothing
	isAway      // and its caller knows that nothing happened
	takesOn     // and pays later
	takesOnInVain
	takesOnUnheard
	takesOnInVainUnheard
)

var effectNames = [...]string{"pays", "pays, reply lost", "arrives late and pays, caller told nothing", "declines", "declines, reply lost", "puts off",
	"does nothing, caller told nothing", "is away", "takes on, will pay", "takes on, will fail", "takes on, will pay, reply lost",
	"takes on, will fail, reply lost"}

func (e effect) unheard() bool {
	switch e {
	case paysUnheard, paysLate, declinesUnheard, doesNothing, takesOnUnheard, takesOnInVainUnheard:
		return true
	}
	return false
}

// Times of the model's provider, in seconds.
const (
	timeout   = 20
	margin    = 30
	straggler = 5  // what a call may be late after its lease
	arrived   = 15 // after a lease's end, by anybody's clock, nothing arrives that was sent under it
	lookDelay = 15
	grace     = 40 // for how long a run tries to journal that money moved
	keyLife   = 300
	takesLong = 150
	takesOnce = 10
	soon      = 2 // a schedule that fires so soon is not woken
)

// move is a refund at the provider: made, on its way, or taken on.
type move struct {
	refund, key, attempt int8
	taken, fails, no     bool   // no: it was refused, which only a notice tells
	at, shown            second // when the money moves, and when a lookup shows it
}

// bank is what a call does. Where the key is honoured, what the provider knows under it is answered again.
func (w *world) bank(o op, e effect) result {
	if w.now >= o.until {
		return noAnswer
	}
	if w.sc.keyed {
		for i, m := range w.moves {
			if m.no || m.refund != o.refund || m.key != o.key || m.at+keyLife <= w.now && !m.taken {
				continue
			}
			if m.at > w.now && !m.taken { // still on its way: the provider does not know it yet
				return w.make(o, e, i)
			}
			switch {
			case e.unheard():
				return noAnswer
			case e == isAway:
				return nothing
			case m.taken && m.at > w.now:
				return acknowledged
			case m.fails:
				return notNow
			}
			return paid
		}
	}
	return w.make(o, e, -1)
}

// make makes a new refund at the provider, or has one under the same key come sooner.
func (w *world) make(o op, e effect, own int) result {
	m := move{refund: o.refund, key: o.key, attempt: o.attempt, at: w.now, shown: w.now}
	said := paid
	switch e {
	case declines, declinesUnheard:
		m.no, m.fails, said, own = true, true, declined, -1
	case putsOff:
		return notNow
	case doesNothing:
		return noAnswer
	case isAway:
		return nothing
	case paysLate:
		m.at = o.lease + straggler - 1
		m.shown = m.at + lookDelay
	case takesOn, takesOnUnheard:
		m.taken, m.at, said = true, w.now+takesLong, acknowledged
		m.shown = m.at
	case takesOnInVain, takesOnInVainUnheard:
		m.taken, m.fails, m.at, m.shown, said = true, true, w.now+takesOnce, w.now+takesOnce, acknowledged
	}
	moves := append([]move(nil), w.moves...)
	switch {
	case own < 0:
		moves = append(moves, m)
	case m.taken || m.at < moves[own].at:
		moves[own] = m
	}
	w.moves = moves
	if e.unheard() {
		return noAnswer
	}
	return said
}

// lookup is what the provider shows of a refund.
func (w *world) lookup(refund int8) result {
	r := notFound
	for _, m := range w.moves {
		switch {
		case m.no || m.refund != refund:
		case m.shown <= w.now && !m.fails:
			return paid
		case m.shown <= w.now:
			if r != acknowledged {
				r = notNow
			}
		case m.taken && !w.sc.blind:
			r = acknowledged
		}
	}
	return r
}

// moved counts the movements of money of a refund, made and to be made.
func (w *world) moved(refund int8) (n int) {
	for _, m := range w.moves {
		if m.refund == refund && !m.fails {
			n++
		}
	}
	return n
}
