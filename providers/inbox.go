package providers

import (
	"context"

	"refundworker/schemas"
)

// Inbox takes in what providers report by themselves. It is what an adapter's HTTP handlers stand on. It is safe
// for concurrent use. An error of any method means that nothing is known to be stored: answer so that the sender
// tries again.
type Inbox interface {
	// Recall tells whether a message was accepted before.
	Recall(ctx context.Context, m Message) (Recollection, error)
	// Store keeps a notice for good, once for a message. When it returns New or Same without an error, the notice is in
	// the stream; when it returns Other, only the other message's ever will be.
	Store(ctx context.Context, m Message, n schemas.Notice) (Recollection, error)
	// Refund tells what is known of a refund now.
	Refund(ctx context.Context, id schemas.RequestID) (KnownRefund, error)
	// Hurry has an open refund looked up with its provider now instead of when it is due. A refund that is settled,
	// unknown or in hand is left alone.
	Hurry(ctx context.Context, p schemas.ProviderName, id schemas.RequestID) error
}

// Message is an inbound request as its sender tells it from others.
type Message struct {
	// Provider is the instance that the message is for.
	Provider schemas.ProviderName
	// Key is what the sender repeats when it sends the same request again: account, method and request id.
	Key string
	// Content is a hash over all that must be equal in a repeat.
	Content [32]byte
}

// Recollection is what is remembered of a message.
type Recollection int

// Recollections. Only accepted messages are remembered.
const (
	// New: no message with this key was accepted.
	New Recollection = iota
	// Same: this very message was accepted before.
	Same
	// Other: a message with this key and other content was accepted before.
	Other
)

// KnownRefund is what is known of a refund. The zero value is a refund that nobody has asked for.
type KnownRefund struct {
	Known bool
	// Outcome is succeeded, cancelled or failed; empty while the refund is open.
	Outcome schemas.Kind
	// Amount is the refund's, zero until its first event is known; Reversed is how much of it came back so far.
	Amount, Reversed schemas.Money
}
