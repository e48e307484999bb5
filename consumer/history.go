package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// history is what the chain of a refund's events tells beyond its record.
type history struct {
	// Baseline is the payment's state before the oldest attempt that is not proven to have done nothing.
	Baseline []byte
	// LeaseUntil is the latest end of a lease under which an attempt was journalled.
	LeaseUntil time.Time
	// KeySince is when the key of the last attempt was first used.
	KeySince time.Time
	// Since is when the refund came to be in doubt or pending.
	Since time.Time
	// Parks is the number of the last parked event, and ParkedReason its reason.
	Parks        int
	ParkedReason schemas.Reason

	// ProviderRefundID is what the provider called the refund when it took it on last.
	ProviderRefundID string

	// Key is the idempotency key of the last attempt.
	Key string
	// Guarded is set when every attempt in doubt asked for the payment's hold.
	Guarded bool
	// Captured is the captured amount that the refund's first intent named; nil when it named none.
	Captured *schemas.Money

	clean int
}

// longestChain bounds the walk: far above what a refund gathers within the journal's age.
const longestChain = 4096

// history walks a refund's events back from its last one.
func (j *journal) history(ctx context.Context, r idempotency.Record) (history, error) {
	h := history{clean: r.Clean, Guarded: true}
	seq := r.Last
	for range longestChain {
		if seq == 0 {
			return h, nil
		}
		e, before, err := j.at(ctx, seq)
		if errors.Is(err, idempotency.ErrNoEvent) {
			h.Guarded = false
			return h, nil // it aged out, and those before it with it
		}
		if err != nil {
			return h, fmt.Errorf("walk the refund's events: %w", err)
		}
		h.take(e)
		seq = before
	}
	return h, fmt.Errorf("walk the refund's events: more than %d: %w", longestChain, errUnreadable)
}

// take folds one event in, newest first.
func (h *history) take(entry ledger.Entry) {
	e := entry.Event
	switch e.Kind {
	case schemas.KindDispatched:
		h.takeDispatched(e)
		if e.Attempt > h.clean && entry.Hold == nil {
			h.Guarded = false
		}
	case schemas.KindAcknowledged:
		if e.Attempt > h.clean { // else a person has vouched since that it came to nothing
			h.Since = e.OccurredAt
			if h.ProviderRefundID == "" {
				h.ProviderRefundID = e.ProviderRefundID
			}
		}
	case schemas.KindParked:
		if h.ParkedReason == "" {
			h.Parks, h.ParkedReason = e.N, e.Reason
		}
	}
}

func (h *history) takeDispatched(e schemas.Event) {
	if e.LeaseUntil != nil && e.LeaseUntil.After(h.LeaseUntil) {
		h.LeaseUntil = *e.LeaseUntil
	}
	if h.Key == "" {
		h.Key = e.IdempotencyKey
	}
	if e.Payment != nil && e.Payment.Amount != nil {
		h.Captured = e.Payment.Amount
	}
	if e.IdempotencyKey == h.Key {
		h.KeySince = e.OccurredAt
	}
	if e.Attempt > h.clean {
		h.Since = e.OccurredAt
		if e.Baseline != nil {
			h.Baseline = e.Baseline
		}
	}
}
