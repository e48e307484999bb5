package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
)

const (
	// storeTimeout bounds one try to store a message, readTimeout one try to read: without a leader the server does not
	// answer at all.
	storeTimeout = 5 * time.Second
	readTimeout  = 5 * time.Second
)

// leader reads single messages from a stream's leader, whatever the stream's settings say about reads elsewhere: a
// replica may not have the newest yet.
type leader struct {
	js     jetstream.JetStream
	stream string
}

// stored is a message as a stream holds it.
type stored struct {
	Seq     uint64
	Subject string
	Header  nats.Header
	Data    []byte
	Time    time.Time
}

// question is a request of the stream API for one message.
type question struct {
	Seq         uint64 `json:"seq,omitempty"`
	LastSubject string `json:"last_by_subj,omitempty"`
	NextSubject string `json:"next_by_subj,omitempty"`
}

type answer struct {
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
	Error *struct {
		Code        int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// at is the message at a sequence; nil when there is none.
func (l leader) at(ctx context.Context, seq uint64) (*stored, error) {
	return l.ask(ctx, question{Seq: seq})
}

// last is the last message under a subject; nil when there is none.
func (l leader) last(ctx context.Context, subject string) (*stored, error) {
	return l.ask(ctx, question{LastSubject: subject})
}

// next is the first message under a subject at or after a sequence; nil when there is none.
func (l leader) next(ctx context.Context, subject string, from uint64) (*stored, error) {
	return l.ask(ctx, question{NextSubject: subject, Seq: from})
}

func (l leader) ask(ctx context.Context, q question) (*stored, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	request, err := json.Marshal(q)
	if err != nil {
		return nil, because(ErrNoAnswer, "stream "+l.stream, err)
	}
	reply, err := l.js.Conn().RequestWithContext(ctx, l.subject("STREAM.MSG.GET"), request)
	if err != nil {
		return nil, because(ErrNoAnswer, "stream "+l.stream, err)
	}
	var a answer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return nil, because(ErrNoAnswer, "stream "+l.stream, err)
	}
	switch {
	case a.Error != nil && a.Error.Code == codeNoMessage:
		return nil, nil
	case a.Error != nil && a.Error.Code == codeNoStream:
		return nil, fmt.Errorf("stream %s: %w", l.stream, idempotency.ErrNoJournal)
	case a.Error != nil:
		return nil, because(ErrNoAnswer, "stream "+l.stream, a.Error.Description)
	case a.Message == nil || a.Message.Seq == 0:
		return nil, because(ErrNoAnswer, "stream "+l.stream, "the answer holds no message")
	}
	m := &stored{Seq: a.Message.Seq, Subject: a.Message.Subject, Data: a.Message.Data, Time: a.Message.Time}
	if len(a.Message.Header) > 0 {
		// Headers that cannot be read are none: such a message is foreign.
		if header, err := nats.DecodeHeadersMsg(a.Message.Header); err == nil {
			m.Header = header
		}
	}
	return m, nil
}

// subject is where a request of the stream API goes.
func (l leader) subject(operation string) string {
	options := l.js.Options()
	prefix := options.APIPrefix
	if options.Domain != "" {
		prefix = "$JS." + options.Domain + ".API"
	}
	if prefix == "" {
		prefix = jetstream.DefaultAPIPrefix
	}
	return strings.TrimSuffix(prefix, ".") + "." + operation + "." + l.stream
}

// info is what the leader says about the stream.
func (l leader) info(ctx context.Context) (jetstream.Stream, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, fmt.Errorf("stream %s: %w", l.stream, idempotency.ErrNoJournal)
	}
	if err != nil {
		return nil, nil, because(ErrNoAnswer, "stream "+l.stream, err)
	}
	return s, s.CachedInfo(), nil // as fresh as the call above
}
