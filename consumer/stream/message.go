package stream

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Bounds on what is taken over from, or written into, headers. The server refuses a message whose headers pass 64 KiB, and
// what a publisher of commands sent along must never keep an event from being stored.
const (
	maxHeader     = 256
	maxTraceState = 512
	maxBaggage    = 8192
	// maxCommand is more than a command of any use has; one that is longer is not carried.
	maxCommand = 32 << 10
)

// message is the one place where messages for the journal are made. What is about a refund carries its condition from
// here on: there is no way to send it without.
func message(s schemas.Subjects, e ledger.Entry, after uint64) (*nats.Msg, error) {
	event := e.Event
	about := string(event.Kind) + " event of " + event.Subject()
	if event.Kind == schemas.KindDispatched && event.IdempotencyKey == "" {
		return nil, because(ErrInvalid, about, "it has no idempotency key")
	}
	if len(e.Owner) > maxHeader {
		return nil, because(ErrInvalid, about, "its owner token is too long")
	}
	body, err := event.Encode()
	if err != nil {
		return nil, because(ErrInvalid, about, err)
	}
	msg := &nats.Msg{Subject: placeOf(s, event), Data: body, Header: nats.Header{}}
	for name, value := range event.Headers() {
		msg.Header.Set(name, value)
	}
	msg.Header.Set(schemas.HeaderKind, string(event.Kind))
	msg.Header.Set(jetstream.ExpectedStreamHeader, schemas.StreamJournal)
	if event.Kind.Chained() {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(after, 10))
		setPrevious(msg.Header, after)
	}
	if e.Owner != "" {
		msg.Header.Set(schemas.HeaderOwner, e.Owner)
	}
	if len(e.Command) > 0 && len(e.Command) <= maxCommand {
		msg.Header.Set(schemas.HeaderCommand, string(e.Command))
	}
	if e.Undone > 0 {
		msg.Header.Set(schemas.HeaderUndone, strconv.FormatUint(e.Undone, 10))
	}
	setHold(msg.Header, e.Hold)
	setTrace(msg.Header, e)
	return msg, nil
}

// placeOf is the subject of an event in the journal.
func placeOf(s schemas.Subjects, e schemas.Event) string {
	if e.Kind.Chained() {
		return s.Journal(e.RequestID)
	}
	return s.JournalAbout(e.Provider)
}

func setPrevious(header nats.Header, seq uint64) {
	if seq > 0 {
		header.Set(schemas.HeaderPrevious, strconv.FormatUint(seq, 10))
	}
}

// holdFirst ends what an intent asks of a payment of which nothing was known.
const holdFirst = " first"

// setHold writes what an intent asks of its payment.
func setHold(header nats.Header, hold *ledger.Hold) {
	if hold == nil {
		return
	}
	text := string(hold.Kind)
	if hold.Kind == ledger.SoleHold {
		text = strconv.FormatUint(hold.LookedAt, 10)
	}
	if hold.First {
		text += holdFirst
	}
	header.Set(schemas.HeaderHold, text)
	if hold.Rules != 0 {
		header.Set(schemas.HeaderRules, strconv.Itoa(hold.Rules))
	}
	if hold.Velocity != nil {
		header.Set(schemas.HeaderVelocity, hold.Velocity.String())
	}
}

// TraceHeader is the trace context that an entry carries, as headers of a message.
func TraceHeader(e ledger.Entry) nats.Header {
	header := nats.Header{}
	setTrace(header, e)
	return header
}

// setTrace writes the trace context of the command that an entry is about.
func setTrace(header nats.Header, e ledger.Entry) {
	if parent := traceParent(e.Trace); parent != "" {
		header.Set(schemas.HeaderTraceParent, parent)
		if e.TraceState != "" && len(e.TraceState) <= maxTraceState {
			header.Set(schemas.HeaderTraceState, e.TraceState)
		}
	}
	if e.Baggage != "" && len(e.Baggage) <= maxBaggage {
		header.Set(schemas.HeaderBaggage, e.Baggage)
	}
}

var propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// Inject writes the trace context of ctx into a message's headers, Extract reads it.
func Inject(ctx context.Context, h nats.Header) { propagator.Inject(ctx, traced(h)) }

// Extract returns ctx with the trace context of a message's headers.
func Extract(ctx context.Context, h nats.Header) context.Context {
	return propagator.Extract(ctx, traced(h))
}

// traced reads and writes trace context in message headers, whose names keep their case.
type traced nats.Header

func (h traced) Get(key string) string { return nats.Header(h).Get(key) }
func (h traced) Set(key, value string) { nats.Header(h).Set(key, value) }
func (h traced) Keys() []string        { return slices.Collect(maps.Keys(h)) }
