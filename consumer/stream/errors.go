package stream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the journal and the relay answer when they cannot do what was asked. Each is a closed value: what the server or
// its client said is in the text, and nothing of theirs can be unwrapped.
var (
	// ErrNotDone occurs when a message was surely not stored, and will not be.
	ErrNotDone = errors.New("not stored")
	// ErrLost occurs when a message was sent and not answered: it may be stored now, later or never.
	ErrLost = errors.New("it is not known whether the message is stored")
	// ErrFull occurs, with ErrNotDone, when the server refused a message for want of something, such as storage: it would
	// refuse the next one, too.
	ErrFull = errors.New("the server stores nothing now")
	// ErrInvalid occurs when an event may not be stored this way, or breaks a rule of its kind. Nothing was sent.
	ErrInvalid = errors.New("not an event to be stored")
	// ErrBackwards occurs when a new message got a sequence that was known before: the journal went backwards. Nothing may
	// be decided from it.
	ErrBackwards = errors.New("the journal went backwards")
	// ErrUnreadable occurs when an entry that a worker wrote cannot be read, or is gone before its time.
	ErrUnreadable = errors.New("an entry of the journal cannot be read")
	// ErrTooLong occurs when a refund has more entries than MaxChain.
	ErrTooLong = errors.New("the refund has too many entries")
	// ErrNoAnswer occurs when a read was not answered, or not with what must be there.
	ErrNoAnswer = errors.New("no answer")
	// ErrOrder occurs when the relay is given entries out of the journal's order.
	ErrOrder = errors.New("entries are out of order")
)

// Codes of refusals that leave the condition, not the message, in question.
const (
	codeWrongSequence        jetstream.ErrorCode = 10071
	codeWrongSequenceCluster jetstream.ErrorCode = 10164
	codeDuplicateInProcess   jetstream.ErrorCode = 10158
)

// codeReplicaBehind is said by a leader whose own store does not fit what the group has agreed on. The others may store
// the message.
const codeReplicaBehind jetstream.ErrorCode = 10063

// Codes of the stream API.
const (
	codeNoMessage = 10037
	codeNoStream  = 10059
)

// sure are the errors of a publish that never left this process.
var sure = []error{jetstream.ErrNoStreamResponse, nats.ErrReconnectBufExceeded, nats.ErrMaxPayload, nats.ErrHeadersNotSupported}

// judge says what an error of a publish means. It is nil when the condition of the message did not hold.
func judge(subject string, err error) error {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		for _, known := range sure {
			if errors.Is(err, known) {
				return because(ErrNotDone, subject, err)
			}
		}
		return because(ErrLost, subject, err)
	}
	switch refusal.ErrorCode {
	case codeWrongSequence, codeWrongSequenceCluster, codeDuplicateInProcess:
		return nil
	case codeReplicaBehind:
		return because(ErrLost, subject, err)
	}
	if refusal.Code >= 500 {
		return fmt.Errorf("%s: %w: %w: %v", subject, ErrNotDone, ErrFull, err)
	}
	return because(ErrNotDone, subject, err)
}

// because is one of the closed values, with what it is about and what was said.
func because(closed error, about string, said any) error {
	return fmt.Errorf("%s: %w: %v", about, closed, said)
}
