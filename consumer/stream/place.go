package stream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

const (
	// The first window of messages that is looked at, by how much each is larger than the one before, and the largest.
	firstWindow, windowGrowth, largestWindow = 16, 8, 1 << 20
	// fewMessages are asked for one by one; more are read through a consumer.
	fewMessages = 16
	// abandoned is how long the server keeps a consumer whose reader has gone.
	abandoned = 30 * time.Second
)

// find reads where the relay stands. Mostly the stream's last message says so; behind it come as many others as somebody
// else has written since. They are looked at from the end, in growing windows, by their headers alone, down to where
// the relay has looked before.
func (r *Relay) find(ctx context.Context) error {
	_, info, err := r.leader.info(ctx)
	if err != nil {
		return err
	}
	last, err := r.leader.last(ctx, r.subjects.Events())
	if err != nil {
		return err
	}
	if last == nil {
		r.place, r.found = place{end: info.State.LastSeq}, true
		return nil
	}
	end := max(info.State.LastSeq, last.Seq)
	known := r.place
	if known.end > end { // another stream than before
		known, r.seen = place{}, 0
	}
	was := r.seen
	if last.Seq <= known.end { // nothing has come since
		known.end = end
		r.place, r.found = known, true
	} else if journal, ok := relayed(last.Header, known); ok {
		r.place, r.id, r.found = place{journal: journal, end: end}, last.Header.Get(schemas.HeaderEventID), true
	} else {
		r.count(last.Seq, was)
		if err := r.lookBack(ctx, known, last.Seq, end, was); err != nil {
			r.seen = was
			return err
		}
	}
	r.seen = max(r.seen, last.Seq)
	return nil
}

// lookBack looks for the relay's last message before a sequence, down to where it has looked before. What has come since
// is looked at in one go; a relay that takes over knows nothing yet and begins small.
func (r *Relay) lookBack(ctx context.Context, known place, before, end, was uint64) error {
	high, window := before-1, uint64(firstWindow)
	if known.end > 0 {
		window = largestWindow
	}
	for high > known.end {
		low := known.end + 1
		if high-known.end > window {
			low = high - window + 1
		}
		var newest uint64
		var id string
		err := r.scan(ctx, low, high, func(seq uint64, h nats.Header) {
			if journal, ok := relayed(h, known); ok {
				newest, id = journal, h.Get(schemas.HeaderEventID)
				return
			}
			r.count(seq, was)
		})
		if err != nil {
			return err
		}
		if newest > 0 {
			r.place, r.id, r.found = place{journal: newest, end: end}, id, true
			return nil
		}
		high, window = low-1, min(window*windowGrowth, largestWindow)
	}
	known.end = end
	r.place, r.found = known, true
	return nil
}

// count counts a foreign message once.
func (r *Relay) count(seq, was uint64) {
	if seq > was {
		r.foreign.Add(1)
	}
}

// scan shows the headers of every message between two sequences, in order. There must be one behind them.
func (r *Relay) scan(ctx context.Context, low, high uint64, show func(seq uint64, h nats.Header)) error {
	if high-low < fewMessages {
		for seq := low; seq <= high; {
			m, err := r.leader.next(ctx, r.subjects.Events(), seq)
			if err != nil {
				return err
			}
			if m == nil {
				return because(ErrNoAnswer, "stream "+schemas.StreamEvents, "its end was there and is not")
			}
			if m.Seq <= high {
				show(m.Seq, m.Header)
			}
			seq = m.Seq + 1
		}
		return nil
	}
	return r.scanMany(ctx, low, high, show)
}

func (r *Relay) scanMany(ctx context.Context, low, high uint64, show func(seq uint64, h nats.Header)) error {
	const about = "consumer on " + schemas.StreamEvents
	stream, _, err := r.leader.info(ctx)
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true, InactiveThreshold: abandoned,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: low})
	if err != nil {
		return because(ErrNoAnswer, about, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return because(ErrNoAnswer, about, err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(readTimeout))
		if err != nil {
			return because(ErrNoAnswer, about, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return because(ErrNoAnswer, about, err)
		}
		if meta.Sequence.Stream <= high {
			show(meta.Sequence.Stream, msg.Headers())
		}
		if meta.Sequence.Stream >= high {
			return nil
		}
	}
}
