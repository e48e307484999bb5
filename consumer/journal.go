package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// journal writes events to the event stream and reads them back.
type journal struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
}

// written is what became of a publish.
type written struct {
	// Seq is the event's stream sequence: the new one's, or the one that was there under the same id.
	Seq uint64
	// Duplicate tells that an event with this id was there before.
	Duplicate bool
}

// errUnreadable marks a stored event that cannot be read back.
var errUnreadable = errors.New("the stored event cannot be read")

// entryHeaders are the headers of an event beyond those that its content gives.
type entryHeaders struct {
	owner    string
	previous uint64
	hold     *ledger.Hold
	trace    nats.Header
}

// reachable tells whether there is a connection to a server at all.
func (j *journal) reachable() bool {
	nc := j.js.Conn()
	return nc != nil && nc.IsConnected()
}

// connected tells whether what a provider answers could be journalled now, to the stream that the gate trusts: who comes
// back after a disconnection may be another server.
func (j *journal) connected(gate *idempotency.Gate) bool {
	return j.reachable() && gate.Trusts(j.js.Conn().Stats().Reconnects)
}

func (j *journal) message(e schemas.Event, h entryHeaders) (*nats.Msg, error) {
	body, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode %s event of %s: %w", e.Kind, e.RequestID, err)
	}
	msg := &nats.Msg{Subject: j.subjects.Event(e.Kind, e.Provider), Data: body, Header: nats.Header{}}
	for name, value := range e.Headers() {
		msg.Header.Set(name, value)
	}
	copyTrace(msg.Header, h.trace)
	if h.owner != "" {
		msg.Header.Set(schemas.HeaderOwner, h.owner)
	}
	if h.previous > 0 {
		msg.Header.Set(schemas.HeaderPrevious, strconv.FormatUint(h.previous, 10))
	}
	setHold(msg.Header, h.hold)
	return msg, nil
}

// setHold writes what an intent asks of its payment.
func setHold(header nats.Header, hold *ledger.Hold) {
	if hold == nil {
		return
	}
	text := string(hold.Kind)
	if hold.Kind == ledger.SoleHold {
		text = strconv.FormatUint(hold.LookedAt, 10)
	}
	header.Set(schemas.HeaderHold, text)
	if hold.Velocity != nil {
		header.Set(schemas.HeaderVelocity, hold.Velocity.String())
	}
}

// readHold is setHold's opposite. It reports false for what cannot be read.
func readHold(header nats.Header) (*ledger.Hold, bool) {
	var hold ledger.Hold
	switch text := header.Get(schemas.HeaderHold); text {
	case "":
		return nil, true
	case string(ledger.ShareHold), string(ledger.NoHold):
		hold.Kind = ledger.HoldKind(text)
	default:
		at, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, false
		}
		hold.Kind, hold.LookedAt = ledger.SoleHold, at
	}
	text := header.Get(schemas.HeaderVelocity)
	if text == "" {
		return &hold, true
	}
	pace, ok := ledger.ParsePace(text)
	hold.Velocity = &pace
	return &hold, ok
}

// publish stores a message once; its id makes repeating it harmless.
func (j *journal) publish(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (written, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ack, err := j.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return written{}, fmt.Errorf("publish to %s: %w", msg.Subject, err)
	}
	return written{Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// put stores an event, where it was decided so only behind the last one under its subject.
func (j *journal) put(ctx context.Context, out *outgoing) (written, error) {
	if out.after != nil {
		return j.publishAfter(ctx, out.msg, *out.after)
	}
	return j.publish(ctx, out.msg)
}

// refused tells whether the server said that it does not store this message. Every other error leaves open whether
// it was stored.
func refused(err error) bool {
	var said *jetstream.APIError
	return errors.As(err, &said)
}

// full tells whether the server refused for want of something, such as storage: it would refuse the next one, too.
func full(err error) bool {
	var said *jetstream.APIError
	return errors.As(err, &said) && said.Code >= 500
}

// at reads one stored event, from the stream's leader, and the sequence of its refund's event before.
func (j *journal) at(ctx context.Context, seq uint64) (ledger.Entry, uint64, error) {
	stream, err := j.stream(ctx)
	if err != nil {
		return ledger.Entry{}, 0, err
	}
	raw, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return ledger.Entry{}, 0, fmt.Errorf("event %d: %w", seq, idempotency.ErrNoEvent)
	}
	if err != nil {
		return ledger.Entry{}, 0, fmt.Errorf("read event %d: %w", seq, err)
	}
	before, _ := strconv.ParseUint(raw.Header.Get(schemas.HeaderPrevious), 10, 64)
	e := entry(seq, raw.Header, raw.Data)
	e.Stored = raw.Time
	if e.Event.Kind == "" || before >= seq {
		return e, 0, fmt.Errorf("event %d: %w", seq, errUnreadable)
	}
	return e, before, nil
}

func (j *journal) stream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := j.js.Stream(ctx, schemas.StreamEvents)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamEvents, idempotency.ErrNoJournal)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamEvents, err)
	}
	return stream, nil
}

// State is part of idempotency.Journal.
func (j *journal) State(ctx context.Context) (idempotency.JournalState, error) {
	connection := j.js.Conn().Stats().Reconnects // read before: who reconnects meanwhile is looked at again
	stream, err := j.stream(ctx)
	if err != nil {
		return idempotency.JournalState{}, err
	}
	info := stream.CachedInfo() // as fresh as the call above
	state := idempotency.JournalState{Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq,
		Connection: connection}
	if info.State.Msgs > 0 {
		state.FirstAt = info.State.FirstTime
	}
	return state, nil
}

// EventID is part of idempotency.Journal.
func (j *journal) EventID(ctx context.Context, seq uint64) (string, error) {
	e, _, err := j.at(ctx, seq)
	if err != nil && !errors.Is(err, errUnreadable) {
		return "", err
	}
	return e.ID, nil
}

// Read is part of idempotency.Journal.
func (j *journal) Read(ctx context.Context, from uint64) (idempotency.Reader, error) {
	stream, err := j.stream(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return nil, fmt.Errorf("consumer on %s: %w", schemas.StreamEvents, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return nil, fmt.Errorf("consumer on %s: %w", schemas.StreamEvents, err)
	}
	r := &reader{messages: messages, entries: make(chan ledger.Entry, readAhead), failed: make(chan error, 1),
		stopped: make(chan struct{})}
	go r.run()
	return r, nil
}

// entry reads a stored event. One that cannot be read keeps its place and its id, and no kind.
func entry(seq uint64, header nats.Header, body []byte) ledger.Entry {
	e := ledger.Entry{Seq: seq, ID: header.Get(schemas.HeaderMsgID), Owner: header.Get(schemas.HeaderOwner)}
	event, err := schemas.DecodeEvent(body)
	hold, ok := readHold(header)
	if err != nil || !ok || event.ID() != e.ID && event.Kind != schemas.KindRejected {
		return e
	}
	e.Event, e.Hold = event, hold
	e.Trace = packTrace(header.Get(schemas.HeaderTraceParent))
	return e
}

var traceHeaders = []string{schemas.HeaderTraceParent, schemas.HeaderTraceState, schemas.HeaderBaggage}

func copyTrace(to, from nats.Header) {
	for _, name := range traceHeaders {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}

// packTrace turns a W3C traceparent into 25 bytes: trace id, span id, flags. It returns nil for none.
func packTrace(parent string) []byte {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return nil
	}
	packed, err := hex.DecodeString(parts[1] + parts[2] + parts[3])
	if err != nil {
		return nil
	}
	return packed
}
