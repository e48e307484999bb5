package consumer

import (
	"context"
	"time"

	"refundworker/idempotency/ledger"

	"github.com/nats-io/nats.go/jetstream"
)

const readAhead = 1024

// reader turns the blocking iterator of an ordered consumer into batches of what is there.
type reader struct {
	messages jetstream.MessagesContext
	entries  chan ledger.Entry
	failed   chan error
	stopped  chan struct{}
}

func (r *reader) run() {
	defer close(r.stopped)
	for {
		msg, err := r.messages.Next()
		if err != nil {
			r.failed <- err
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			r.failed <- err
			return
		}
		e := entry(meta.Sequence.Stream, msg.Headers(), msg.Data())
		e.Stored = meta.Timestamp
		r.entries <- e
	}
}

// Next is part of idempotency.Reader.
func (r *reader) Next(ctx context.Context, limit int, wait time.Duration) ([]ledger.Entry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var out []ledger.Entry
	select {
	case e := <-r.entries:
		out = append(out, e)
	case err := <-r.failed:
		return nil, err
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(out) < limit {
		select {
		case e := <-r.entries:
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
	for {
		select {
		case <-r.entries: // lets run see the end
		case <-r.stopped:
			return
		}
	}
}
