package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// watcher follows the event and dead letter streams from their start, and prints what it sees.
type watcher struct {
	js      jetstream.JetStream
	out     io.Writer
	readers []jetstream.MessagesContext
	reading sync.WaitGroup

	mu    sync.Mutex
	found evidence
	// last is the newest sequence seen of each stream.
	last map[string]uint64
}

func watch(ctx context.Context, js jetstream.JetStream, out io.Writer) (*watcher, error) {
	w := &watcher{js: js, out: out, last: map[string]uint64{}}
	for _, stream := range []string{schemas.StreamEvents, schemas.StreamDead} {
		c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
		if err == nil {
			var reader jetstream.MessagesContext
			if reader, err = c.Messages(); err == nil {
				w.readers = append(w.readers, reader)
				w.reading.Go(func() { w.read(stream, reader) })
			}
		}
		if err != nil {
			w.stop()
			return nil, fmt.Errorf("read stream %s: %w", stream, err)
		}
	}
	return w, nil
}

func (w *watcher) stop() {
	for _, r := range w.readers {
		r.Stop()
	}
	w.reading.Wait()
}

func (w *watcher) read(stream string, reader jetstream.MessagesContext) {
	for {
		msg, err := reader.Next()
		if err != nil { // stopped, or the connection is gone; judge finds what is missing
			return
		}
		w.take(stream, msg)
	}
}

func (w *watcher) take(stream string, msg jetstream.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if meta, err := msg.Metadata(); err == nil {
		w.last[stream] = meta.Sequence.Stream
	}
	if stream == schemas.StreamDead {
		h := msg.Headers()
		l := deadLetter{reason: h.Get(schemas.HeaderDeadReason), detail: h.Get(schemas.HeaderDeadDetail), body: msg.Data()}
		w.found.dead = append(w.found.dead, l)
		at, _ := time.Parse(time.RFC3339Nano, h.Get(schemas.HeaderDeadAt))
		fmt.Fprintf(w.out, "%s  dead letter  %s  %s\n", at.UTC().Format(lineTime), l.reason, l.detail)
		return
	}
	if e, err := schemas.DecodeEvent(msg.Data()); err == nil {
		w.found.events = append(w.found.events, e)
		fmt.Fprintln(w.out, eventLine(e))
	}
}

// seen is the evidence so far.
func (w *watcher) seen() evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return evidence{events: slices.Clone(w.found.events), dead: slices.Clone(w.found.dead)}
}

// settled tells whether every case has ended and nothing is left to do or to read.
func (w *watcher) settled(ctx context.Context, cases []demoCase) bool {
	found, err := w.evidence(ctx)
	if err != nil || slices.ContainsFunc(cases, func(c demoCase) bool { return len(c.endings(found)) < len(c.want) }) {
		return false
	}
	for _, n := range found.left {
		if n > 0 {
			return false
		}
	}
	return true
}

// evidence is what was seen, and what is left in the streams: work, schedules, and what was not read yet.
func (w *watcher) evidence(ctx context.Context) (evidence, error) {
	left := map[string]uint64{}
	for _, name := range []string{schemas.StreamCommands, schemas.StreamRetries, schemas.StreamNotices, schemas.StreamEvents,
		schemas.StreamDead} {
		stream, err := w.js.Stream(ctx, name)
		if err != nil {
			return evidence{}, fmt.Errorf("look at stream %s: %w", name, err)
		}
		state := stream.CachedInfo().State
		switch name {
		case schemas.StreamEvents, schemas.StreamDead:
			w.mu.Lock()
			left[name] = state.LastSeq - min(w.last[name], state.LastSeq)
			w.mu.Unlock()
		default:
			left[name] = state.Msgs
		}
	}
	found := w.seen()
	found.left = left
	return found, nil
}
