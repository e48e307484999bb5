package providers

import (
	"context"
	"encoding/json"
	"time"

	"refundworker/schemas"
)

// Provider asks one payment provider for refunds. Implementations are safe for concurrent use, keep no
// state about single refunds, classify what they see and never retry and never sleep. Every method
// returns within its context's deadline.
type Provider interface {
	// Prepare checks what can be known before money may move (options, limits, the payment's state) and
	// returns that state as a baseline. A Result other than the zero value ends the refund without a call.
	// An error of kind Invalid that carries problems rejects the command.
	Prepare(ctx context.Context, r Request) (Baseline, Result, error)
	// Refund asks for the refund. A refusal is a Result. An error means that there is no answer; its
	// Kind says whether the refund may have happened.
	Refund(ctx context.Context, r Request) (Result, error)
	// Lookup finds out what became of earlier attempts. It never moves money. Request.Baseline is the
	// state before the first attempt.
	Lookup(ctx context.Context, r Request) (Finding, error)
	// Capabilities is the provider's sheet. It is constant for an instance.
	Capabilities() Capabilities
}

// Baseline is a payment's state as read before the first attempt, in the adapter's own JSON. It is
// journalled, so it holds no secrets and no personal data.
type Baseline = json.RawMessage

// Request is one refund as an adapter sees it.
type Request struct {
	RequestID   schemas.RequestID
	Payment     schemas.Payment
	Amount      schemas.Money
	Options     json.RawMessage
	RequestedAt time.Time
	// Attempt counts the calls that may have taken effect: 1 for a call before which surely none has, 0 in
	// Prepare and Lookup when none can have. Calls that surely did nothing do not count.
	Attempt int
	// IdempotencyKey is the key to hand to a provider that honours one.
	IdempotencyKey string
	// ProviderRefundID is the provider's own id of the refund, in Lookup of a refund that it has taken on; empty where it
	// named none.
	ProviderRefundID string
	// Baseline is what Prepare returned before the oldest call that may have taken effect, or before this one;
	// nil in Prepare when no call can have.
	Baseline Baseline
}

// Status says what a provider answered.
type Status int

// Statuses. The zero value is no answer at all.
const (
	NoResult Status = iota
	// Succeeded: money is on its way back.
	Succeeded
	// Cancelled: the payment was voided before settlement.
	Cancelled
	// Acknowledged: the provider took the refund on; its result comes later.
	Acknowledged
	// Declined: a final no; nothing moved.
	Declined
	// NotNow: a no for now; nothing moved.
	NotNow
	// Partial: some of the refund happened and some did not; a person must look.
	Partial
	// Conflicting: the provider holds another refund under our key; a person must look.
	Conflicting
)

// Result is a provider's answer.
type Result struct {
	Status Status
	// Reason is set for Declined (a reason of failed) and NotNow (a reason of deferred).
	Reason schemas.Reason
	// After is, for NotNow, how long to wait; 0 leaves it to the reason's own delay.
	After time.Duration
	// ProviderRefundID is the provider's own id of the refund, where it named one.
	ProviderRefundID string
	// Raw is what the provider said, cleaned (see CleanMessage); nil when it said nothing.
	Raw *schemas.ProviderResult
}

// FindingKind says what a lookup showed.
type FindingKind int

// Findings. The zero value is no finding and is treated as TooEarly.
const (
	NoFinding FindingKind = iota
	// Found: the refund happened, is pending or was refused for good, as Result says.
	Found
	// NotFound: no attempt took effect so far.
	NotFound
	// TooEarly: the provider cannot tell yet.
	TooEarly
	// Contradiction: the payment changed, but not by this refund.
	Contradiction
)

// Finding is the answer of a lookup.
type Finding struct {
	Kind   FindingKind
	Result Result
	// Detail tells a person what was seen, without secrets or personal data.
	Detail string
}

// Capabilities is what a provider can do; the worker's conduct in doubt follows from it.
type Capabilities struct {
	// KeyLife is how long the provider honours an idempotency key; 0 when it has none.
	KeyLife time.Duration
	// Lookup tells whether Lookup can answer.
	Lookup bool
	// Prepares tells whether Prepare calls the provider, which counts against its rate.
	Prepares bool
	// LookupDelay is how long after the last lease NotFound is conclusive.
	LookupDelay time.Duration
	// PartialRefunds tells whether less than the payment can be refunded.
	PartialRefunds bool
	// Concurrent bounds the refunds of one payment.
	Concurrent Concurrency
	// CancelDecidedBy says who chooses between refund and void.
	CancelDecidedBy Decider
	// Asynchronous tells whether a result may come later.
	Asynchronous bool
	// FailuresAreFinal is set where a failure is reported only of a refund that the provider took on, and where nothing is
	// ever taken on again under the same key.
	FailuresAreFinal bool
	// OneKey is set where every attempt has the same key, also after a "not now".
	OneKey bool
	// DayEnd is where the provider's day ends, for deferred(day_end).
	DayEnd *time.Location
}

// Concurrency bounds the refunds of one payment.
type Concurrency int

// Concurrency of refunds of one payment.
const (
	// Unbounded: any number at once.
	Unbounded Concurrency = iota
	// OneAtATime: the next may start when the one before has ended.
	OneAtATime
	// OneEver: a payment takes a single refund for ever.
	OneEver
)

// Decider says who chooses between refund and void.
type Decider string

// Deciders.
const (
	DecidedByProvider Decider = "provider"
	DecidedByAdapter  Decider = "adapter"
	NeverCancels      Decider = "never"
)
