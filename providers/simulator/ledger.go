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

// Refusal is a call for a refund or a void that could be read and came from a known merchant, and that a rule of the
// protocol refused. What a fault refuses or a payment's behaviour ends is none, and neither is a repeated answer.
type Refusal struct {
	Type      string `json:"type"`
	Operation string `json:"operation"`
	// Reference is the payment's, as it was listed or as it was asked for.
	Reference string `json:"reference"`
	// Code is what the answer gave as the reason: a code, or the name of a group of them.
	Code string    `json:"code"`
	At   time.Time `json:"at"`
}

// record only ever grows. Protocols append while they hold the lock under which the payment changes, so payments and
// records agree.
type record[Line any] struct {
	mu    sync.Mutex
	lines []Line
}

func (r *record[Line]) add(line Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *record[Line]) all() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *record[Line]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = nil
}
