package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/schemas"
)

// Sender stores and reads messages that are not the journal's. It is safe for concurrent use.
type Sender struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
}

// NewSender returns a sender to the streams whose subjects these are.
func NewSender(js jetstream.JetStream, subjects schemas.Subjects) *Sender {
	return &Sender{js: js, subjects: subjects}
}

// Subjects are the subjects of the streams.
func (s *Sender) Subjects() schemas.Subjects { return s.subjects }

// Schedule is the message that stands under a subject of schedules; nil when there is none. It is read from the leader.
func (s *Sender) Schedule(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, schemas.StreamRetries)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamRetries, err)
	}
	raw, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the schedule on %s: %w", subject, err)
	}
	return raw, nil
}

// Publish stores a message once; its id makes repeating it harmless.
func (s *Sender) Publish(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return 0, fmt.Errorf("publish to %s: %w", msg.Subject, err)
	}
	return ack.Sequence, nil
}

// ErrOvertaken says that another message stands under the subject than the one that was to be followed.
var ErrOvertaken = errors.New("something else stands there by now")

// PublishAfter stores a message if the last one under its subject is still the one named.
func (s *Sender) PublishAfter(ctx context.Context, msg *nats.Msg, last uint64) (uint64, error) {
	seq, err := s.Publish(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
	return seq, overtaken(err)
}

// wrongLastSequenceConstant is the code of a replicated stream for a sequence that is not the expected one.
const wrongLastSequenceConstant jetstream.ErrorCode = 10164

// overtaken turns the server's refusal of an expected sequence into ErrOvertaken. A replicated stream may say so with
// another code than a single server.
func overtaken(err error) error {
	var said *jetstream.APIError
	if errors.As(err, &said) && (said.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		said.ErrorCode == wrongLastSequenceConstant) {
		return fmt.Errorf("%w: %w", ErrOvertaken, err)
	}
	return err
}

// isRefusal reports whether the server said that it does not store this message. Every other error leaves open whether it
// was stored.
func isRefusal(err error) bool {
	var said *jetstream.APIError
	return errors.As(err, &said)
}

// Hurry has the schedule of a refund fire now, by the server's clock. Where there is none, the refund is in hand or ended.
func (s *Sender) Hurry(ctx context.Context, p schemas.ProviderName, id schemas.RequestID, now time.Time) error {
	subject := s.subjects.Later(p, id)
	raw, err := s.Schedule(ctx, subject)
	if err != nil || raw == nil {
		return err
	}
	if due := DueAt(raw.Header); due.After(now) && due.Sub(now) < soonEnough {
		return nil
	}
	round, _ := strconv.Atoi(raw.Header.Get(schemas.HeaderRound))
	since, _ := time.Parse(time.RFC3339Nano, raw.Header.Get(schemas.HeaderSince))
	next := Scheduled{Subject: subject, Round: round, Target: s.subjects.Retry(p), At: now,
		ID: fmt.Sprintf("%s:hurry:%d", id, raw.Sequence), Copy: Copy{Body: raw.Data, Header: raw.Header, Since: since}}
	_, err = s.PublishAfter(ctx, next.Message(), raw.Sequence)
	if errors.Is(err, ErrOvertaken) { // it fired, or was replaced by a worker that has just looked
		return nil
	}
	return err
}

// soonEnough is how soon a schedule is left to fire by itself.
const soonEnough = 2 * time.Second

// IsReachable reports whether there is a connection to a server at all.
func (s *Sender) IsReachable() bool {
	nc := s.js.Conn()
	return nc != nil && nc.IsConnected()
}

// Connected reports whether what a provider answers could be journalled now, to the stream that the gate trusts: who comes
// back after a disconnection may be another server.
func (s *Sender) Connected(gate *idempotency.Gate) bool {
	return s.IsReachable() && gate.Trusts(s.js.Conn().Stats().Reconnects)
}
