package ledger

import (
	"time"

	"refundworker/schemas"
)

// Entry is one stored event as whoever reads the journal needs it.
type Entry struct {
	// Seq is the stream sequence and ID the event id, which is its message id.
	Seq uint64
	ID  string
	// Stored is when the stream stored it, by the server's clock.
	Stored time.Time
	// Event is the decoded body. A zero Kind marks an event that could not be read; projecting stops there.
	Event schemas.Event
	// Owner is the token of the claim under which the event was written; empty when there was none.
	Owner string
	// Hold is what a dispatched event asks of its payment; nil when it asks for nothing and takes its share all the same.
	Hold *Hold
	// Trace is the trace context as 25 bytes: trace id, span id, flags; nil when there is none.
	Trace []byte
}

// HoldKind says what an intent asks of its payment.
type HoldKind string

// Kinds of holds.
const (
	// ShareHold asks for the refund's amount out of what was captured.
	ShareHold HoldKind = "share"
	// SoleHold asks, besides, that no other refund of the payment is at work.
	SoleHold HoldKind = "sole"
	// NoHold asks for nothing: no call follows the intent, which only takes the attempt's number.
	NoHold HoldKind = "none"
)

// Hold is what an intent asks of its payment. No call is made before it is granted. An intent without one is not
// guarded: its call follows at once, so it takes its share unasked.
type Hold struct {
	Kind HoldKind
	// LookedAt is, for a sole hold, the journal position as of which the payment was looked at before the intent: what
	// was seen then must still stand.
	LookedAt uint64
	// Velocity is what the provider's refunds may come to; nil when they are not bounded.
	Velocity *Pace
}
