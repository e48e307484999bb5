package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// PaymentLook is what was seen of a payment.
type PaymentLook struct {
	seen ledger.Payment
	// At is the journal position as of which this was so.
	At uint64
}

// Captured is the captured amount that binds the payment's refunds, and whether it is known.
func (l PaymentLook) Captured() (schemas.Money, bool) {
	return l.seen.Captured, l.seen.Captured.Currency != ""
}

// Once tells whether a refund of the payment ever succeeded, or it was voided.
func (l PaymentLook) Once() bool { return l.seen.Once > 0 }

// Known tells whether any event ever touched the payment. For whoever journalled an intent for it, an unknown payment
// means that Redis has lost it.
func (l PaymentLook) Known() bool { return l.seen.Last != 0 }

// Whole tells whether all that ever happened to the payment is known, so that its verdicts are those of everybody before.
func (l PaymentLook) Whole() bool { return l.seen.Whole > 0 }

// Holds tells whether a refund has its hold.
func (l PaymentLook) Holds(id schemas.RequestID) bool { return l.seen.Holding(id) }

// Since is the sequence of the intent that got a refund its hold; 0 when it has none.
func (l PaymentLook) Since(id schemas.RequestID) uint64 {
	for _, h := range l.seen.Holds {
		if h.ID == id {
			return h.Since
		}
	}
	return 0
}

// SameAmount lists the other refunds of the payment that hold the very amount that a refund asks for.
func (l PaymentLook) SameAmount(a ledger.Asked) []schemas.RequestID {
	var same []schemas.RequestID
	for _, h := range l.seen.Holds {
		if h.ID != a.ID && h.Amount == a.Amount {
			same = append(same, h.ID)
		}
	}
	return same
}

// Judge says what the payment has left for a refund.
func (l PaymentLook) Judge(a ledger.Asked) ledger.Verdict { return l.seen.Judge(a) }

// LookPayment reads what a payment has left. It answers ErrNotReady when the projection is not there, was further on before, or
// cannot be relied on (see Gate.Reason): what it shows then may be old. One round trip, shared with claims.
func (s *Store) LookPayment(ctx context.Context, p schemas.ProviderName, reference string) (PaymentLook, error) {
	reason := s.gate.Reason()
	look, err := s.lookPayment(ctx, p, reference)
	if err == nil && reason != Ready {
		return PaymentLook{}, fmt.Errorf("look at payment: %w: %s", ErrNotReady, reason)
	}
	return look, err
}

// lookPayment is LookPayment for whoever knows as of which position the answer has to be.
func (s *Store) lookPayment(ctx context.Context, p schemas.ProviderName, reference string) (PaymentLook, error) {
	key, partition := s.keys.payment(p, reference)
	text, at, err := s.lookAt(ctx, key, paymentField, partition)
	if err != nil {
		return PaymentLook{}, fmt.Errorf("look at payment: %w", err)
	}
	return PaymentLook{seen: readPayment(text).At(time.Now(), s.cfg.Retain), At: at}, nil
}

// lookAt reads one field of a key, and the position as of which it stands.
func (s *Store) lookAt(ctx context.Context, key, field string, partition int) (text string, at uint64, err error) {
	if s.cfg.Volatile {
		return s.lookPlainly(ctx, key, field, partition)
	}
	reply, err := s.scripts.do(ctx, lookScript, []string{key, s.keys.position(partition)}, field, s.gate.floorOf(partition), s.mayEvict())
	if err != nil {
		return "", 0, err
	}
	values, _ := reply.([]any)
	if len(values) != 2 {
		return "", 0, fmt.Errorf("%w: %s", ErrNotReady, ProjectionMissing)
	}
	pos, _ := values[0].(int64)
	text, _ = values[1].(string)
	return text, uint64(pos), nil
}

// lookPlainly is lookAt on a Redis that drops no keys, where two reads cost less than a script: the position first, so that
// what is read after it is at least as new.
func (s *Store) lookPlainly(ctx context.Context, key, field string, partition int) (text string, at uint64, err error) {
	pipe := s.rdb.Pipeline()
	pos, value := pipe.HGet(ctx, s.keys.position(partition), posSeq), pipe.HGet(ctx, key, field)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return "", 0, err
	}
	at, err = pos.Uint64()
	if err != nil || at < s.gate.floorOf(partition) {
		return "", 0, fmt.Errorf("%w: %s", ErrNotReady, ProjectionMissing)
	}
	return value.Val(), at, nil
}

// AwaitPayment looks at a payment once the event at seq is applied, and maybe later ones. A hold, once granted, ends only
// with the refund's own outcome: a refund that does not hold the payment then, while no outcome came after seq, was
// never granted it by an event up to seq.
func (s *Store) AwaitPayment(ctx context.Context, p schemas.ProviderName, reference string,
	seq uint64) (PaymentLook, error) {
	_, partition := s.keys.payment(p, reference)
	for {
		if err := s.waits.until(ctx, partition, seq); err != nil {
			return PaymentLook{}, fmt.Errorf("wait for the payment's hold: %w", err)
		}
		look, err := s.lookPayment(ctx, p, reference)
		if err != nil {
			return PaymentLook{}, err
		}
		if look.At >= seq {
			return look, nil
		}
		s.waits.forget(partition) // Redis has lost what it had
	}
}
