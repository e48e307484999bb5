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
	// Event is the decoded body. A zero Kind marks an event that could not be read; projecting stops there, unless the
	// entry is Foreign.
	Event schemas.Event
	// Foreign marks an entry that no worker wrote. It is the last of its subject like any other, and says nothing.
	Foreign bool
	// Previous is the sequence of the entry before under the same subject; 0 when there was none.
	Previous uint64
	// Owner is the token of the claim under which the event was written; empty when there was none.
	Owner string
	// Command is the refund's command as it was published; nil where the entry does not carry it. A refund's first entry
	// does, and those that say again that it is parked: the older ones age out.
	Command []byte
	// Hold is what a dispatched event asks of its payment; nil when it asks for nothing and takes its share all the same.
	Hold *Hold
	// Undone is, for a dispatched event, the sequence up to which every earlier attempt surely did not reach the provider, as
	// its worker knew; 0 when it knew nothing.
	Undone uint64
	// Trace is the trace context as 25 bytes: trace id, span id, flags; nil when there is none.
	Trace []byte
	// TraceState and Baggage travel along with the trace context. Nothing is decided from them.
	TraceState, Baggage string
}

// FirstOwn is the first entry of a chain that a worker wrote; nil when there is none.
func FirstOwn(chain []Entry) *Entry {
	for i := range chain {
		if !chain[i].Foreign {
			return &chain[i]
		}
	}
	return nil
}

// HoldKind says what an intent asks of its payment.
type HoldKind string

// Kinds of holds.
const (
	// ShareHold asks for the refund's amount out of what was captured.
	ShareHold HoldKind = "share"
	// SoleHold asks, besides, that no other refund of the payment is at work.
	SoleHold HoldKind = "sole"
)

// Hold is what an intent asks of its payment. No call is made before it is granted. An intent without one is not
// guarded: its call follows at once, so it takes its share unasked.
type Hold struct {
	Kind HoldKind
	// Rules is the version of the guard's rules by which it is to be judged.
	Rules int
	// LookedAt is, for a sole hold, the journal position as of which the payment was looked at before the intent: what
	// was seen then must still stand.
	LookedAt uint64
	// First is set where nothing was known of the payment when it was looked at: nothing had happened to it that counts.
	First bool
	// Velocity is what the provider's refunds may come to; nil when they are not bounded.
	Velocity *Pace
}

// GuardRules is the version of the rules by which a payment's holds are granted. Whoever does not know the version of an
// intent cannot tell whether it was granted.
const GuardRules = 1

// Verdict says what a payment has left for a refund.
type Verdict string

// Verdicts.
const (
	// Fits: there is room, or the refund has its hold already.
	Fits Verdict = "fits"
	// Held: there would be room, but for other refunds that are at work.
	Held Verdict = "held"
	// Exceeds: there is no room, whatever becomes of the refunds that are at work.
	Exceeds Verdict = "exceeds"
	// Contradicts: another captured amount was named before.
	Contradicts Verdict = "contradicts"
)

// Asked is a refund as its payment is asked for it.
type Asked struct {
	ID     schemas.RequestID
	Amount schemas.Money
	// Captured is the captured amount that the refund's command names; nil when it names none.
	Captured *schemas.Money
	// Sole is set where only one refund of a payment may run.
	Sole bool
}
