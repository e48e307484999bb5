package stream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const readAhead = 1024

// Read is part of idempotency.Journal. It yields the entries of every subject, foreign ones too.
func (j *Journal) Read(ctx context.Context, from uint64) (idempotency.Reader, error) {
	stream, _, err := j.leader.info(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1)})
	if err != nil {
		return nil, because(ErrNoAnswer, "consumer on "+schemas.StreamJournal, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return nil, because(ErrNoAnswer, "consumer on "+schemas.StreamJournal, err)
	}
	r := &reader{journal: j, messages: messages, entries: make(chan ledger.Entry, readAhead), stopped: make(chan struct{})}
	go r.run()
	return r, nil
}

// reader turns the blocking iterator of an ordered consumer into batches of what is there.
type reader struct {
	journal  *Journal
	messages jetstream.MessagesContext
	// entries is closed when the reading has ended; err says why, from then on.
	entries chan ledger.Entry
	err     error
	stopped chan struct{}
}

func (r *reader) run() {
	defer close(r.stopped)
	defer close(r.entries)
	for {
		msg, err := r.messages.Next()
		if err != nil {
			r.err = because(ErrNoAnswer, "consumer on "+schemas.StreamJournal, err)
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			r.err = because(ErrNoAnswer, "consumer on "+schemas.StreamJournal, err)
			return
		}
		r.journal.learn(meta.Sequence.Stream)
		r.entries <- entry(r.journal.subjects, &stored{Seq: meta.Sequence.Stream, Subject: msg.Subject(),
			Header: msg.Headers(), Data: msg.Data(), Time: meta.Timestamp.UTC()})
	}
}

// Next is part of idempotency.Reader.
func (r *reader) Next(ctx context.Context, limit int, wait time.Duration) ([]ledger.Entry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var out []ledger.Entry
	select {
	case e, ok := <-r.entries:
		if !ok {
			return nil, r.err
		}
		out = append(out, e)
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(out) < limit {
		select {
		case e, ok := <-r.entries:
			if !ok {
				return out, nil // the next call says why
			}
			out = append(out, e)
		default:
			return out, nil
		}
	}
	return out, nil
}

// Stop is part of idempotency.Reader.
func (r *reader) Stop() {
	r.messages.Stop()
	for range r.entries { // lets run see the end
	}
	<-r.stopped
}
