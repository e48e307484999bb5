package simulator

import (
	"slices"
	"sync"
	"time"

	"refundworker/schemas"
)

// MovementKind says what became of a payment.
type MovementKind string

// Kinds of movements.
const (
	// MovementRefund is money given back.
	MovementRefund MovementKind = "REFUND"
	// MovementCancel is a payment voided as a whole before settlement.
	MovementCancel MovementKind = "CANCEL"
	// MovementReversal is a refund, or a part of it, that came back.
	MovementReversal MovementKind = "REVERSAL"
)

// Movement is one line of the ledger: something that a provider really did.
type Movement struct {
	Type string `json:"type"`
	// Reference is the payment's, as it was listed.
	Reference string        `json:"reference"`
	Kind      MovementKind  `json:"kind"`
	Amount    schemas.Money `json:"amount"`
	// Key is what the protocol carried to identify the request, empty where it has no such thing.
	Key              string    `json:"key,omitempty"`
	ProviderRefundID string    `json:"providerRefundId"`
	At               time.Time `json:"at"`
}

// ledger only ever grows. Protocols append while they hold the lock under which the payment changes, so
// payments and ledger agree.
type ledger struct {
	mu    sync.Mutex
	lines []Movement
}

func (l *ledger) add(m Movement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, m)
}

func (l *ledger) all() []Movement {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}
