package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// patience is how often a publish is refused in a row before it is sent without its condition. While a flood lasts it is
// floodPatience.
const patience, floodPatience = 4, 1

// Relay publishes the journal's public events, in order and once each. Its methods are for one goroutine, but for Foreign.
type Relay struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
	leader   leader
	kinds    []schemas.Kind
	place    place
	// id is that of the last published entry, when it was last looked for.
	id string
	// found is set while place is known to be right, or to be refused.
	found bool
	// flooded is set while conditions do not hold because others write too fast.
	flooded bool
	// seen is the last sequence up to which foreign messages were counted.
	seen    uint64
	foreign atomic.Uint64
}

// place is how far the relay has come.
type place struct {
	// journal is the sequence in the journal of the last published entry.
	journal uint64
	// end is the sequence in the stream of events up to which every message was looked at.
	end uint64
}

// NewRelay is a relay of events of these kinds; of all kinds when none is given.
func NewRelay(js jetstream.JetStream, subjects schemas.Subjects, kinds ...schemas.Kind) *Relay {
	return &Relay{js: js, subjects: subjects, leader: leader{js, schemas.StreamEvents}, kinds: slices.Clone(kinds)}
}

// Position is the journal's sequence of the last published entry, read anew; 0 when there is none. A relay that takes over
// begins with it, and is given the entries behind it.
func (r *Relay) Position(ctx context.Context) (uint64, error) {
	r.place, r.id, r.found = place{}, "", false
	if err := r.find(ctx); err != nil {
		return 0, err
	}
	return r.place.journal, nil
}

// Published is the id of the entry at the position, as Position found it; empty when there is none.
func (r *Relay) Published() string { return r.id }

// Foreign counts the messages among the published events that are not the relay's.
func (r *Relay) Foreign() uint64 { return r.foreign.Load() }

const (
	relayBatch = 256
	relayWait  = time.Second
	// relayEvery is the time between two looks at whether this relay is the one to publish.
	relayEvery = 250 * time.Millisecond
)

// errNotOurs occurs when events are published that the journal does not have: it is another one, or went backwards, or somebody
// forged them. Going on would leave events out.
var errNotOurs = errors.New("the published events are not this journal's")

// Run publishes the journal's events while leads reports true, until ctx ends. While the stream of events takes none it lags
// behind, and goes on where it was.
func (r *Relay) Run(ctx context.Context, j *Journal, leads func() bool, log *slog.Logger) {
	logged := ""
	again := time.NewTicker(relayEvery)
	defer again.Stop()
	for ctx.Err() == nil {
		if leads() {
			err := r.term(ctx, j, leads, log)
			switch {
			case err == nil || ctx.Err() != nil:
				logged = ""
			case err.Error() != logged: // not once a second for as long as a server is away
				logged = err.Error()
				log.Error("events are not published now", "error", logged)
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// term publishes for as long as leads reports true.
func (r *Relay) term(ctx context.Context, j *Journal, leads func() bool, log *slog.Logger) error {
	from, err := r.begin(ctx, j)
	if err != nil {
		return err
	}
	reader, err := j.Read(ctx, from)
	if err != nil {
		return err
	}
	defer reader.Stop()
	logged := r.Foreign()
	for ctx.Err() == nil && leads() {
		entries, err := reader.Next(ctx, relayBatch, relayWait)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			if err := r.Publish(ctx, entries); err != nil {
				return err
			}
		}
		if now := r.Foreign(); now > logged {
			logged = now
			log.Error("messages among the events that no worker published: they were passed over", "messages", logged)
		}
	}
	return nil
}

// begin is the sequence of the first entry to publish. It returns errNotOurs when the last published one is not in the journal.
func (r *Relay) begin(ctx context.Context, j *Journal) (uint64, error) {
	at, err := r.Position(ctx)
	if err != nil {
		return 0, err
	}
	state, err := j.State(ctx)
	if err != nil {
		return 0, err
	}
	if at > state.Last {
		return 0, fmt.Errorf("%w: the last one stands for entry %d, and the journal ends at %d", errNotOurs, at, state.Last)
	}
	if at >= state.First && at > 0 {
		id, err := j.EventID(ctx, at)
		if err != nil {
			return 0, err
		}
		if id != r.Published() {
			return 0, fmt.Errorf("%w: the last one is %s, and entry %d is %s", errNotOurs, r.Published(), at, id)
		}
	}
	return max(at+1, state.First), nil
}

// Publish publishes what is public of these entries, which must be all of the journal's behind the position, in its order.
// What is published already is passed over, and so are foreign entries. It stops at the first that it cannot publish; any
// error leaves open whether that one is published, and Publish may be called again with the same entries.
func (r *Relay) Publish(ctx context.Context, entries []ledger.Entry) error {
	if !slices.IsSortedFunc(entries, func(a, b ledger.Entry) int { return cmp.Compare(a.Seq, b.Seq) }) {
		return because(ErrOrder, "relay", fmt.Sprintf("%d entries from %d on", len(entries), entries[0].Seq))
	}
	for _, e := range entries {
		if isUnreadable(e) {
			return because(ErrUnreadable, "relay", fmt.Sprintf("entry %d", e.Seq))
		}
		if e.Foreign || len(r.kinds) > 0 && !slices.Contains(r.kinds, e.Event.Kind) {
			continue
		}
		if err := r.publish(ctx, e); err != nil {
			r.found = false
			return err
		}
	}
	return nil
}

// publish publishes one entry, unless it is published.
func (r *Relay) publish(ctx context.Context, e ledger.Entry) error {
	msg, err := r.message(e)
	if err != nil {
		return err
	}
	// The ids to publish under; the last is none.
	ids := []string{msg.Header.Get(schemas.HeaderMsgID), "journal-" + strconv.FormatUint(e.Seq, 10), ""}
	for try := 0; ; try++ {
		if !r.found {
			if err := r.find(ctx); err != nil {
				return err
			}
		}
		if e.Seq <= r.place.journal {
			return nil
		}
		bare := r.condition(msg, ids[0], try)
		ack, err := r.send(ctx, msg)
		switch {
		case err != nil:
			return err
		case ack == nil: // somebody wrote meanwhile
			r.found = false
		case ack.Duplicate:
			r.found = false
			if published, err := r.published(ctx, ack.Sequence, e.Seq); err != nil {
				return err
			} else if published {
				r.place = place{journal: e.Seq, end: ack.Sequence}
				return nil
			}
			ids = ids[1:] // something else has this id
		default:
			r.place = place{journal: e.Seq, end: ack.Sequence}
			r.seen, r.flooded = max(r.seen, ack.Sequence), bare
			return nil
		}
	}
}

// condition sets the id and the condition of the next try. It reports whether there is no condition; without an id there
// always is one.
func (r *Relay) condition(msg *nats.Msg, id string, try int) (bare bool) {
	msg.Header.Set(schemas.HeaderMsgID, id)
	msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(r.place.end, 10))
	if id == "" {
		msg.Header.Del(schemas.HeaderMsgID)
		return false
	}
	if try < floodPatience || try < patience && !r.flooded {
		return false
	}
	msg.Header.Del(jetstream.ExpectedLastSeqHeader)
	return true
}

// send tries once. It answers nothing when the condition did not hold.
func (r *Relay) send(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if err := ctx.Err(); err != nil {
		return nil, because(ErrNotDone, msg.Subject, err)
	}
	if !r.js.Conn().IsConnected() {
		return nil, because(ErrNotDone, msg.Subject, "there is no connection")
	}
	try, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ack, err := r.js.PublishMsg(try, msg)
	if err != nil {
		return nil, judge(msg.Subject, err)
	}
	return ack, nil
}

// published reports whether the message at a sequence is the published form of an entry.
func (r *Relay) published(ctx context.Context, at, journal uint64) (bool, error) {
	m, err := r.leader.at(ctx, at)
	if err != nil || m == nil {
		return false, err
	}
	seq, ok := relayed(m.Header, place{})
	return ok && seq == journal, nil
}

// message is the public form of an entry.
func (r *Relay) message(e ledger.Entry) (*nats.Msg, error) {
	event := e.Event.Public()
	body, err := event.Encode()
	if err != nil {
		return nil, because(ErrInvalid, fmt.Sprintf("entry %d", e.Seq), err)
	}
	msg := &nats.Msg{Subject: r.subjects.Event(event.Kind, event.Provider), Data: body, Header: nats.Header{}}
	for name, value := range event.Headers() {
		msg.Header.Set(name, value)
	}
	msg.Header.Set(schemas.HeaderJournal, strconv.FormatUint(e.Seq, 10))
	msg.Header.Set(jetstream.ExpectedStreamHeader, schemas.StreamEvents)
	setPrevious(msg.Header, e.Previous)
	setTrace(msg.Header, e)
	return msg, nil
}

// relayed is the journal's sequence of a message that the relay wrote behind a known place. It reports false for any other
// message, such as a copy of an earlier one.
func relayed(h nats.Header, known place) (uint64, bool) {
	seq, err := strconv.ParseUint(h.Get(schemas.HeaderJournal), 10, 64)
	return seq, err == nil && seq > known.journal && h.Get(schemas.HeaderEventID) != ""
}
