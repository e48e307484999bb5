package consumer

import (
	"sync"

	"refundworker/schemas"
)

// inHand knows the commands that this process is working on, by their exact bytes. A second message that a
// publisher sent with the same bytes may be acknowledged at once: the one in hand ends only when the refund is
// settled or carried on by another message, and if this process dies it is delivered again. A message that a
// schedule brought may be that other message, so it is never acknowledged for being a second one.
type inHand struct {
	mu     sync.Mutex
	bodies map[[32]byte]holding
}

// holding tells one delivery: the hash of its bytes, and which message of which stream it is.
type holding struct {
	body   [32]byte
	stream string
	seq    uint64
}

func newInHand() *inHand { return &inHand{bodies: map[[32]byte]holding{}} }

// meeting is what a delivery finds in hand.
type meeting int

const (
	// alone: these bytes are not in hand.
	alone meeting = iota
	// twin: another message with the same bytes is in hand.
	twin
	// itself: this very message is in hand and was delivered again, or a schedule brought the bytes that are in
	// hand. Acknowledging it could forget the refund.
	itself
)

// meets tells what is in hand, before a delivery is even decoded: duplicates in flight cost next to nothing.
func (h *inHand) meets(came holding) meeting {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.look(came)
}

// enter takes a valid command in hand, unless its bytes have come to be there meanwhile.
func (h *inHand) enter(came holding) meeting {
	h.mu.Lock()
	defer h.mu.Unlock()
	met := h.look(came)
	if met == alone {
		h.bodies[came.body] = came
	}
	return met
}

func (h *inHand) look(came holding) meeting {
	held, ok := h.bodies[came.body]
	switch {
	case !ok:
		return alone
	case held == came, came.stream == schemas.StreamRetries:
		return itself
	}
	return twin
}

// leave is for the delivery that entered alone.
func (h *inHand) leave(had holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.bodies, had.body)
}
