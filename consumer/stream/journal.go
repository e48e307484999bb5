package stream

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Journal stores events and reads them back. It is safe for concurrent use.
type Journal struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
	leader   leader
	// known is the highest sequence that the journal is known to have had.
	known atomic.Uint64
}

// Stored is what became of an append.
type Stored struct {
	// Seq is where the event stands.
	Seq uint64
	// Stale is set when the event was refused: the head is another one than named, or there is something under its id. It
	// says nothing about who was first: that may have been this very message.
	Stale bool
}

// NewJournal is the journal of one deployment.
func NewJournal(js jetstream.JetStream, subjects schemas.Subjects) *Journal {
	return &Journal{js: js, subjects: subjects, leader: leader{js, schemas.StreamJournal}}
}

// Append stores e.Event if after is the sequence of the last entry under the refund's subject; 0 means that there is
// none. It tries once. Of the entry it writes the event, owner, hold and trace; the rest follows from them and from after.
func (j *Journal) Append(ctx context.Context, e ledger.Entry, after uint64) (Stored, error) {
	if !e.Event.Kind.Chained() {
		return Stored{}, because(ErrInvalid, "append", fmt.Sprintf("a %s event is about no single refund", e.Event.Kind))
	}
	msg, err := message(j.subjects, e, after)
	if err != nil {
		return Stored{}, err
	}
	return j.store(ctx, msg, isSame)
}

// Note stores an event that is about no single refund, once by its id for as long as the server knows ids. It tries once.
// It is stale when the id was taken by something else.
func (j *Journal) Note(ctx context.Context, e ledger.Entry) (Stored, error) {
	if e.Event.Kind.Chained() {
		return Stored{}, because(ErrInvalid, "note", fmt.Sprintf("a %s event is about one refund", e.Event.Kind))
	}
	msg, err := message(j.subjects, e, 0)
	if err != nil {
		return Stored{}, err
	}
	return j.store(ctx, msg, isSameFact)
}

func (j *Journal) store(ctx context.Context, msg *nats.Msg, same func(*nats.Msg, *stored) bool) (Stored, error) {
	if err := ctx.Err(); err != nil {
		return Stored{}, because(ErrNotDone, msg.Subject, err)
	}
	if !j.js.Conn().IsConnected() {
		return Stored{}, because(ErrNotDone, msg.Subject, "there is no connection")
	}
	try, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	known := j.known.Load() // before it is sent: answers of later messages may overtake this one's
	ack, err := j.js.PublishMsg(try, msg)
	switch {
	case err != nil:
		if err := judge(msg.Subject, err); err != nil {
			return Stored{}, err
		}
		return Stored{Stale: true}, nil
	case ack.Duplicate:
		return j.repeated(ctx, msg, ack.Sequence, same)
	case ack.Sequence <= known:
		return Stored{Seq: ack.Sequence}, because(ErrBackwards, msg.Subject,
			fmt.Sprintf("a new entry got sequence %d, and %d was known before", ack.Sequence, known))
	}
	j.learn(ack.Sequence)
	return Stored{Seq: ack.Sequence}, nil
}

// repeated says what an answer of "stored before" means: the server has compared ids and nothing else. Two workers that
// journal the same attempt have one id and different owners.
func (j *Journal) repeated(ctx context.Context, msg *nats.Msg, seq uint64, same func(*nats.Msg, *stored) bool) (Stored, error) {
	m, err := j.leader.at(ctx, seq)
	if err != nil {
		return Stored{}, because(ErrLost, msg.Subject, err)
	}
	if m == nil || !same(msg, m) {
		return Stored{Stale: true}, nil
	}
	j.learn(seq)
	return Stored{Seq: seq}, nil
}

// isSame reports whether a stored message is this one to the last byte.
func isSame(msg *nats.Msg, m *stored) bool {
	return isSameFact(msg, m) && bytes.Equal(msg.Data, m.Data) && maps.EqualFunc(msg.Header, m.Header, slices.Equal[[]string])
}

// isSameFact reports whether a stored message states the same fact, perhaps in other words.
func isSameFact(msg *nats.Msg, m *stored) bool {
	id := msg.Header.Get(schemas.HeaderEventID)
	return msg.Subject == m.Subject && m.Header.Get(schemas.HeaderEventID) == id && m.Header.Get(schemas.HeaderMsgID) == id
}

// learn remembers that the journal has had a sequence.
func (j *Journal) learn(seq uint64) {
	for {
		known := j.known.Load()
		if seq <= known || j.known.CompareAndSwap(known, seq) {
			return
		}
	}
}

// State is part of idempotency.Journal.
func (j *Journal) State(ctx context.Context) (idempotency.JournalState, error) {
	connection := j.js.Conn().Stats().Reconnects // read before: who reconnects meanwhile is looked at again
	_, info, err := j.leader.info(ctx)
	if err != nil {
		return idempotency.JournalState{}, err
	}
	j.learn(info.State.LastSeq)
	state := idempotency.JournalState{Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq,
		Clock: info.TimeStamp, Connection: connection}
	if info.State.Msgs > 0 {
		state.FirstAt = info.State.FirstTime
	}
	return state, nil
}

// EventID is part of idempotency.Journal. A foreign entry may have no id.
func (j *Journal) EventID(ctx context.Context, seq uint64) (string, error) {
	m, err := j.leader.at(ctx, seq)
	if err != nil {
		return "", err
	}
	if m == nil {
		return "", fmt.Errorf("event %d: %w", seq, idempotency.ErrNoEvent)
	}
	return entry(j.subjects, m).ID, nil
}

var _ idempotency.Journal = (*Journal)(nil)

// Entry is the entry at a sequence, whatever it is about; the zero entry when there is none.
func (j *Journal) Entry(ctx context.Context, seq uint64) (ledger.Entry, error) {
	m, err := j.leader.at(ctx, seq)
	if err != nil || m == nil {
		return ledger.Entry{}, err
	}
	return j.read(m)
}

// isUnreadable reports whether an entry is one of ours that says nothing.
func isUnreadable(e ledger.Entry) bool { return e.Event.Kind == "" && !e.Foreign }
