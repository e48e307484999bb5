package idempotency

import (
	"maps"
	"slices"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// modelFold is what a journal says, from its first event on: of refunds, of payments, and of the one provider's pace. It
// knows no Redis, no partitions and no batches: whatever Redis went through, it must say the same.
type modelFold struct {
	refunds  map[schemas.RequestID]modelRecord
	payments map[string]modelPayment
	pace     modelPace
}

// modelPayment is a payment as the design describes it.
type modelPayment struct {
	captured, refunded int64
	once               bool
	ended              uint64
	holders            []schemas.RequestID
	shares             map[schemas.RequestID]int64
	seen               time.Time // when its last event occurred; zero: nothing was ever heard of it
}

// modelPace is a provider whose refunds are bounded in number, in a window longer than any run.
type modelPace struct {
	stop, gone    int
	stopped, said bool
	bound         bool // some refund has named what was captured
}

func foldModel(entries []ledger.Entry) *modelFold {
	f := &modelFold{refunds: map[schemas.RequestID]modelRecord{}, payments: map[string]modelPayment{}}
	for _, e := range entries {
		f.take(e)
	}
	return f
}

func (f *modelFold) take(e ledger.Entry) {
	switch e.Event.Kind {
	case schemas.KindRejected:
		return
	case schemas.KindStopped, schemas.KindStarted:
		f.pace.hear(e.Event)
		return
	}
	id, reference := e.Event.RequestID, e.Event.Payment.Reference
	before := f.refunds[id]
	refund, legal := before.fold(e)
	if !legal {
		return // it says nothing about the payment either
	}
	f.refunds[id] = refund
	p := f.payments[reference]
	p.holders, p.shares = slices.Clone(p.holders), maps.Clone(p.shares)
	switch kind := e.Event.Kind; {
	case kind == schemas.KindDispatched:
		p.grant(e, &f.pace)
		f.pace.bound = f.pace.bound || e.Event.Payment.Amount != nil
	case kind == schemas.KindFailed && p.seen.IsZero():
		return // what failed before anything was tried has touched no payment
	case kind.Outcome():
		p.outcome(e)
	case kind == schemas.KindReversed:
		if p.ended = e.Seq; before.settled() && !before.since.IsZero() { // else it was never counted
			p.refunded = max(0, p.refunded-e.Event.Reversal.Amount.Micros)
		}
	case kind == schemas.KindParked && before.intent == 0 && e.Event.Attempt > 0 && !slices.Contains(p.holders, id):
		if p.shares == nil {
			p.shares = map[schemas.RequestID]int64{}
		}
		p.holders, p.shares[id] = append(p.holders, id), e.Event.Amount.Micros
	default:
		return
	}
	p.seen = e.Event.OccurredAt
	f.payments[reference] = p
}

// grant gives the refund its hold if it may have it. A granted intent may be the first to say what was captured.
func (p *modelPayment) grant(e ledger.Entry, pace *modelPace) {
	id, amount, captured := e.Event.RequestID, e.Event.Amount.Micros, p.captured
	named := e.Event.Payment.Amount
	if named != nil && captured == 0 {
		captured = named.Micros
	}
	switch {
	case slices.Contains(p.holders, id):
		p.captured = captured
		return
	case e.Hold == nil: // called unasked
	case named != nil && named.Micros != captured, captured != 0 && p.taken()+amount > captured:
		return
	case e.Hold.Kind == ledger.SoleHold && (len(p.holders) > 0 || p.ended > e.Hold.LookedAt):
		return
	case e.Hold.Velocity != nil && !pace.lets(*e.Hold.Velocity):
		return
	}
	if p.shares == nil {
		p.shares = map[schemas.RequestID]int64{}
	}
	p.captured, p.holders, p.shares[id] = captured, append(p.holders, id), amount
}

// taken is what went back and what may still go.
func (p *modelPayment) taken() int64 {
	sum := p.refunded
	for _, share := range p.shares {
		sum += share
	}
	return sum
}

func (p *modelPayment) outcome(e ledger.Entry) {
	id := e.Event.RequestID
	p.holders = slices.DeleteFunc(p.holders, func(holder schemas.RequestID) bool { return holder == id })
	delete(p.shares, id)
	p.ended = e.Seq
	if e.Event.Kind != schemas.KindFailed {
		p.once, p.refunded = true, p.refunded+e.Event.Amount.Micros
	}
}

// lets counts one more refund, unless that is more than the bound, which stops the provider.
func (v *modelPace) lets(asked ledger.Pace) bool {
	switch {
	case v.stopped:
		return false
	case asked.Exempt:
		return true
	case v.gone >= asked.Bounds[0].Count:
		v.stopped, v.said = true, false
		return false
	}
	v.gone++
	return true
}

// hear takes in a stop, and the start that answers the last one.
func (v *modelPace) hear(e schemas.Event) {
	switch {
	case e.Kind == schemas.KindStopped && e.N > v.stop:
		v.stop, v.stopped, v.said = e.N, true, true
	case e.Kind == schemas.KindStarted && v.said && e.N == v.stop:
		v.stopped, v.said, v.gone = false, false, 0
	case e.Kind == schemas.KindStarted && !v.stopped && e.N > v.stop:
		v.stop = e.N
	}
}
