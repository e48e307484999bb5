package consumer

import (
	"sync"

	"refundworker/schemas"
)

// inHand knows the commands that this process is working on. A second message that a publisher sent with the
// same bytes may be acknowledged at once: the one in hand ends only when the refund is settled or carried on by
// another message, and if this process dies it is delivered again. A message that a schedule brought may be that
// other message, so it is never acknowledged for being a second one.
type inHand struct {
	mu     sync.Mutex
	bodies map[schemas.RequestID]holding
}

// holding tells one delivery in hand: which bytes, and which message of which stream.
type holding struct {
	body   [32]byte
	stream string
	seq    uint64
}

func newInHand() *inHand { return &inHand{bodies: map[schemas.RequestID]holding{}} }

// meeting is what a delivery finds in hand.
type meeting int

const (
	// alone: nothing is in hand for the requestId, or other bytes are, which the claim will tell apart.
	alone meeting = iota
	// twin: another message with the same bytes is in hand.
	twin
	// itself: this very message is in hand and was delivered again, or a schedule brought the bytes that are in
	// hand. Acknowledging it could forget the refund.
	itself
)

func (h *inHand) enter(id schemas.RequestID, want holding) meeting {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.bodies[id]
	switch {
	case !ok:
		h.bodies[id] = want
		return alone
	case held.body != want.body:
		return alone
	case held == want, want.stream == schemas.StreamRetries:
		return itself
	}
	return twin
}

func (h *inHand) leave(id schemas.RequestID, had holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bodies[id] == had {
		delete(h.bodies, id)
	}
}
