package consumer

import (
	"testing"

	"refundworker/schemas"
)

// Only a message that a publisher sent is acknowledged for being a twin, and never the one in hand itself.
func TestInHand(t *testing.T) {
	body, other := [32]byte{1}, [32]byte{2}
	held := holding{body: body, stream: schemas.StreamCommands, seq: 7}
	tests := []struct {
		name string
		came holding
		want meeting
	}{
		{"the message itself, delivered again", held, itself},
		{"another message of the publisher's with the same bytes", holding{body, schemas.StreamCommands, 8}, twin},
		{"a schedule with the same bytes", holding{body, schemas.StreamRetries, 8}, itself},
		{"a schedule with the same bytes and sequence", holding{body, schemas.StreamRetries, 7}, itself},
		{"other bytes", holding{other, schemas.StreamCommands, 8}, alone},
		{"other bytes by schedule", holding{other, schemas.StreamRetries, 8}, alone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newInHand()
			if got := h.enter(held); got != alone {
				t.Fatalf("the first met %d, want %d", got, alone)
			}
			if got := h.meets(test.came); got != test.want {
				t.Errorf("a look met %d, want %d", got, test.want)
			}
			if got := h.enter(test.came); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
			if got := h.enter(held); got != itself {
				t.Errorf("after the second came, the first meets %d, want %d: it is still in hand", got, itself)
			}
			h.leave(held)
			if got := h.enter(held); got != alone {
				t.Errorf("with nothing in hand: got %d, want %d", got, alone)
			}
		})
	}
}
