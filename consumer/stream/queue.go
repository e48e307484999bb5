package stream

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Queue looks at what a stream holds without taking it: work queues let nobody consume beside their consumer. It is safe
// for concurrent use.
type Queue struct{ leader leader }

// NewQueue returns a view of a stream.
func NewQueue(js jetstream.JetStream, name string) *Queue {
	return &Queue{leader{js: js, stream: name}}
}

// Waiting is a message that a stream holds.
type Waiting struct {
	Seq    uint64
	Header nats.Header
	Data   []byte
}

// Last is the last message under a subject; nil when there is none.
func (q *Queue) Last(ctx context.Context, subject string) (*Waiting, error) {
	m, err := q.leader.last(ctx, subject)
	if m == nil || err != nil {
		return nil, err
	}
	return &Waiting{Seq: m.Seq, Header: m.Header, Data: m.Data}, nil
}

// Each shows the messages under a subject, oldest first, limit of them at most. It reports whether those were all.
func (q *Queue) Each(ctx context.Context, subject string, limit int, show func(Waiting)) (all bool, err error) {
	from := uint64(1)
	for range limit {
		m, err := q.leader.next(ctx, subject, from)
		if err != nil {
			return false, err
		}
		if m == nil {
			return true, nil
		}
		show(Waiting{Seq: m.Seq, Header: m.Header, Data: m.Data})
		from = m.Seq + 1
	}
	return false, nil
}
