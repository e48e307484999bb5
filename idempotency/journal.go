package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refundworker/idempotency/ledger"
)

// Journal is the event stream as the projection needs it. Implementations are safe for concurrent use.
type Journal interface {
	// State is the stream as it stands, read from its leader.
	State(ctx context.Context) (JournalState, error)
	// EventID is the id of the event at a sequence; ErrNoEvent when there is none (any more).
	EventID(ctx context.Context, seq uint64) (string, error)
	// Read returns the events from a sequence on, in stream order.
	Read(ctx context.Context, from uint64) (Reader, error)
}

// Reader yields events in stream order. It belongs to one goroutine.
type Reader interface {
	// Next waits up to wait for the next event and returns what is there then, at most limit. None within
	// wait is no error.
	Next(ctx context.Context, limit int, wait time.Duration) ([]ledger.Entry, error)
	// Stop ends the reading.
	Stop()
}

// JournalState is what a stream says about itself.
type JournalState struct {
	// Created tells one stream from another of the same name.
	Created time.Time
	// First and Last are the sequences of the oldest and newest event; Last stays when events age out.
	First, Last uint64
	// FirstAt is when the oldest event was stored; the zero time when there is none.
	FirstAt time.Time
	// Clock is the server's clock when it answered; the zero time when it did not say.
	Clock time.Time
	// Connection numbers the connection over which this was read: behind another one may be another stream.
	Connection uint64
}

// ErrNoEvent is returned by Journal.EventID when the stream holds no event at that sequence.
var ErrNoEvent = errors.New("no event at this sequence")

// ErrNoJournal is returned by a Journal whose stream does not exist.
var ErrNoJournal = errors.New("there is no event stream")

// JournalError means that the stream is not the one that Redis was projected from, has lost events, or has one that
// cannot be read. Nothing may be decided from it until a person has looked: the worker stops with it.
type JournalError struct {
	// Found says what is wrong; Position is where the projection stands.
	Found    string
	Position uint64
	// Mend says what to do about it; empty means what is to be done about a stream that is not the right one.
	Mend string
}

const mendJournal = "put the right stream back, or, when this stream is the right one, delete the worker's keys in Redis " +
	"and start again, after having reconciled the refunds whose events are missing"

func (e *JournalError) Error() string {
	mend := e.Mend
	if mend == "" {
		mend = mendJournal
	}
	return fmt.Sprintf("the event stream is not what this projection was built from: %s (projection at sequence %d). "+
		"No refund is touched until this is settled: %s", e.Found, e.Position, mend)
}

// oldest is the first event that the stream held at some look, and how long the journal was to be kept then. Its time is
// zero when the stream was empty.
type oldest struct {
	seq    uint64
	at     time.Time
	retain time.Duration
}

// agingSlack is how much earlier than it should an event may age out: servers' clocks differ.
const agingSlack = 30 * time.Minute

// compare tells whether events have left the stream since before their time: age alone takes events.
func (o oldest) compare(state JournalState, now time.Time) error {
	if state.First <= o.seq || o.at.IsZero() || now.After(o.at.Add(o.retain-agingSlack)) {
		return nil
	}
	return &JournalError{Found: fmt.Sprintf("events %d to %d were removed before their time", o.seq, state.First-1),
		Position: o.seq}
}

// String is how it is stored.
func (o oldest) String() string {
	return fmt.Sprintf("%d %d %d", o.seq, o.at.UnixMilli(), o.retain.Milliseconds())
}

func readOldest(text string) oldest {
	var seq uint64
	var at, retain int64
	if n, _ := fmt.Sscanf(text, "%d %d %d", &seq, &at, &retain); n != 3 {
		return oldest{}
	}
	return oldest{seq, time.UnixMilli(at), time.Duration(retain) * time.Millisecond}
}

// check compares a position with the journal it claims to come from.
func (p position) check(ctx context.Context, journal Journal, state JournalState) error {
	switch {
	case p.Created != state.Created.UnixNano():
		return &JournalError{Found: "it was created anew", Position: p.Seq}
	case p.Seq > state.Last:
		return &JournalError{Found: fmt.Sprintf("it ends at sequence %d", state.Last), Position: p.Seq}
	case p.Seq+1 < state.First:
		return &JournalError{Found: fmt.Sprintf("it begins at sequence %d, so events not yet projected are gone",
			state.First), Position: p.Seq}
	case p.Seq < state.First || p.Seq == 0:
		return nil // the event aged out; nothing to compare with
	}
	id, err := journal.EventID(ctx, p.Seq)
	switch {
	case errors.Is(err, ErrNoEvent):
		return &JournalError{Found: "the event at the projection's position is gone", Position: p.Seq}
	case err != nil:
		return err
	case id != p.ID:
		return &JournalError{Found: "it holds another event at the projection's position", Position: p.Seq}
	}
	return nil
}

// unbroken tells whether the entries follow what was applied, and one another, without a gap, and can all be
// read: an outcome that is passed over would be paid again. Only the oldest may be missing, for they age out.
func (p *Projector) unbroken(ctx context.Context, entries []ledger.Entry) error {
	next := p.lowest().Seq + 1
	for _, e := range entries {
		if e.Seq != next {
			state, err := p.journal.State(ctx)
			if err != nil {
				return fmt.Errorf("read the event stream's state: %w", err)
			}
			if e.Seq > max(state.First, p.state.First) {
				return &JournalError{Found: fmt.Sprintf("events %d to %d are gone", next, e.Seq-1),
					Position: p.lowest().Seq}
			}
		}
		if e.Event.Kind == "" && !e.Foreign {
			return &JournalError{Found: fmt.Sprintf("this version cannot read event %d", e.Seq), Position: p.lowest().Seq,
				Mend: "start a version of the worker that can read it"}
		}
		next = e.Seq + 1
	}
	return nil
}
