package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refundworker/consumer/stream"
)

const (
	relayBatch = 256
	relayWait  = time.Second
)

// errOther says that events are published which the journal does not have: it is another one, or went backwards, or somebody
// forged them. Going on would leave events out.
var errOther = errors.New("the published events are not this journal's")

// relay publishes the journal's events while this worker leads the projection. It lags behind while the stream of events
// takes none, and then goes on where it was: nothing is decided from what is published.
func (w *Worker) relay(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		if w.projector.Leads() {
			err := w.relayTerm(ctx)
			switch {
			case err == nil || ctx.Err() != nil:
				told = ""
			case err.Error() != told: // not once a second for as long as a server is away
				told = err.Error()
				w.log.Error("events are not published now", "error", told)
			}
		}
		_ = pause(ctx, relayEvery)
	}
}

// relayEvery is the time between two looks at whether this worker is to publish.
const relayEvery = 250 * time.Millisecond

// relayTerm publishes until another worker leads.
func (w *Worker) relayTerm(ctx context.Context) error {
	relay := stream.NewRelay(w.js, w.sender.Subjects(), w.cfg.EventKinds...)
	from, err := relay.Position(ctx)
	if err != nil {
		return err
	}
	state, err := w.journal.State(ctx)
	if err != nil {
		return err
	}
	if from > state.Last {
		return fmt.Errorf("%w: the last one stands for entry %d, and the journal ends at %d", errOther, from, state.Last)
	}
	if from >= state.First && from > 0 {
		id, err := w.journal.EventID(ctx, from)
		if err != nil {
			return err
		}
		if id != relay.Published() {
			return fmt.Errorf("%w: the last one is %s, and entry %d is %s", errOther, relay.Published(), from, id)
		}
	}
	reader, err := w.journal.Read(ctx, max(from+1, state.First))
	if err != nil {
		return err
	}
	defer reader.Stop()
	foreign := uint64(0)
	for ctx.Err() == nil && w.projector.Leads() {
		entries, err := reader.Next(ctx, relayBatch, relayWait)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			if err := relay.Publish(ctx, entries); err != nil {
				return err
			}
		}
		if now := relay.Foreign(); now > foreign {
			foreign = now
			w.log.Error("messages among the events that no worker published: they were passed over", "messages", foreign)
		}
	}
	return nil
}
