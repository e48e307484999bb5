package simulator

import (
	"bytes"
	"crypto/sha256"
)

// cgIdempotencyKey is the header of a key that is the same in each try of one refund.
const cgIdempotencyKey = "x-idempotency-key"

// cgRepeat is under which a first call is remembered.
type cgRepeat struct{ apiKey, key string }

// cgFirst is a first call under a key.
type cgFirst struct {
	request [sha256.Size]byte
	// answer is nil while the call runs.
	answer *reply
}

func (q *cgCall) repeat() cgRepeat { return cgRepeat{q.caller.APIKey, q.Header.Get(cgIdempotencyKey)} }

// content identifies what a call asks for.
func (q *cgCall) content() [sha256.Size]byte {
	return sha256.Sum256(bytes.Join([][]byte{[]byte(q.operation), q.body}, []byte{0}))
}

// remember notes a first call; what is refused at the door is none, so it may come again under its key.
func (b *cgBook) remember(q *cgCall) *cgFirst {
	first := &cgFirst{request: q.content()}
	if q.Header.Get(cgIdempotencyKey) != "" {
		b.repeat[q.repeat()] = first
	}
	return first
}

// refuses is why a repeat is not given the first call's answer; nil when it is.
func (f *cgFirst) refuses(q *cgCall) *cgRefusal {
	switch {
	case f.request != q.content():
		return refusedKeyReused
	case f.answer == nil:
		return refusedByBank(cgGroupRunning)
	}
	return nil
}
