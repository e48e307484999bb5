package idempotency

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"refundworker/schemas"
)

// payment is what the journal says about one payment of which only one refund may run: who holds it, and when
// a refund of it last ended.
type payment struct {
	Holder schemas.RequestID
	// Ended is the sequence of the last outcome of one of its refunds, Last of the last event applied.
	Ended, Last uint64
}

var paymentFields = []string{"h", "e", fieldLast}

func readPayment(values []any) payment {
	text := func(i int) string { s, _ := values[i].(string); return s }
	number := func(i int) uint64 { n, _ := strconv.ParseUint(text(i), 10, 64); return n }
	return payment{Holder: schemas.RequestID(text(0)), Ended: number(1), Last: number(2)}
}

func (p payment) fields() []any {
	return []any{"h", string(p.Holder), "e", p.Ended, fieldLast, p.Last}
}

// apply folds one event. A dispatched event that asks for the hold gets it when nobody else has it and no
// refund of the payment ended since the payment was looked at: what was read before the intent still stands.
// An outcome ends its refund's hold. It reports whether anything changed.
func (p payment) apply(e Entry) (payment, bool) {
	if e.Seq <= p.Last {
		return p, false
	}
	switch {
	case e.Event.Kind == schemas.KindDispatched && e.Hold != nil:
		if p.Holder == "" && p.Ended <= e.Hold.LookedAt {
			p.Holder = e.Event.RequestID
		}
	case e.Event.Kind.Outcome() && p.Last > 0:
		p.Ended = e.Seq
		if p.Holder == e.Event.RequestID {
			p.Holder = ""
		}
	default:
		return p, false
	}
	p.Last = e.Seq
	return p, true
}

// paymentOf names the payment that an event may touch: one that asks for a hold, or one that may end it.
func (s *Store) paymentOf(e Entry) (key string, partition int, ok bool) {
	asks := e.Event.Kind == schemas.KindDispatched && e.Hold != nil
	if e.Event.Payment == nil || !asks && !e.Event.Kind.Outcome() {
		return "", 0, false
	}
	key, partition = s.paymentKey(e.Event.Provider, e.Event.Payment.Reference)
	return key, partition, true
}

// PaymentLook is what was seen of a payment.
type PaymentLook struct {
	// Holder is the refund that holds the payment; empty when none does.
	Holder schemas.RequestID
	// Ended is the sequence of the last outcome of one of the payment's refunds; 0 when there was none.
	Ended uint64
	// Last is the last event that touched the payment. It is 0 only when nothing ever asked for the payment's hold: for
	// whoever did ask, 0 means that Redis has lost it.
	Last uint64
	// At is the journal position as of which this was so.
	At uint64
}

// LookPayment tells who holds a payment.
func (s *Store) LookPayment(ctx context.Context, p schemas.ProviderName, reference string) (PaymentLook, error) {
	key, partition := s.paymentKey(p, reference)
	pipe := s.rdb.Pipeline()
	// The position first: what is read after it is at least as new.
	pos := pipe.HMGet(ctx, s.posKey(partition), positionFields...)
	values := pipe.HMGet(ctx, key, paymentFields...)
	if _, err := pipe.Exec(ctx); err != nil {
		return PaymentLook{}, fmt.Errorf("look at payment: %w", err)
	}
	at := readPosition(pos.Val())
	if at.missing() {
		return PaymentLook{}, fmt.Errorf("look at payment: %s", ProjectionMissing)
	}
	seen := readPayment(values.Val())
	return PaymentLook{Holder: seen.Holder, Ended: seen.Ended, Last: seen.Last, At: at.Seq}, nil
}

// AwaitPayment looks at a payment once the event at seq is applied. A hold, once granted, ends only with the
// refund's own outcome: a refund that does not hold the payment then, while no outcome came after seq, was
// never granted it by an event up to seq.
func (s *Store) AwaitPayment(ctx context.Context, p schemas.ProviderName, reference string,
	seq uint64) (PaymentLook, error) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return PaymentLook{}, fmt.Errorf("wait for the payment's hold: %w", ctx.Err())
		case <-wait.C:
		}
		look, err := s.LookPayment(ctx, p, reference)
		if err != nil {
			return PaymentLook{}, err
		}
		if look.At >= seq {
			return look, nil
		}
		if s.gate.Reason() == Stopped { // nothing is applied any more
			return PaymentLook{}, fmt.Errorf("wait for the payment's hold: %s", Stopped)
		}
		wait.Reset(pause)
	}
}
