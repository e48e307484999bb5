package stream

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// stamped are the headers that every event of ours has.
var stamped = []string{schemas.HeaderSpecVersion, schemas.HeaderEventID, schemas.HeaderEventType, schemas.HeaderSource,
	schemas.HeaderSubject, schemas.HeaderTime, schemas.HeaderDataSchema, schemas.HeaderContentType, schemas.HeaderMsgID,
	schemas.HeaderKind}

// entry reads a stored message. One that no worker wrote is foreign. One of ours that cannot be read keeps its place and
// its id, and no kind. Headers are judged first, so that a foreign body is never decoded.
func entry(s schemas.Subjects, m *stored) ledger.Entry {
	e := ledger.Entry{Seq: m.Seq, Stored: m.Time}
	if id := m.Header.Get(schemas.HeaderMsgID); len(id) <= maxHeader {
		e.ID = id
	}
	previous, ok := earlier(m.Header, schemas.HeaderPrevious, m.Seq)
	if !ok || !isStamped(m.Header) || !isPlaced(s, m) {
		e.Foreign = true
		return e
	}
	e.Owner, e.Previous = m.Header.Get(schemas.HeaderOwner), previous
	event, err := schemas.DecodeEvent(m.Data)
	if err != nil {
		return e
	}
	if event.Kind == schemas.KindRejected {
		event.BodyHash = hashInID(e.ID)
	}
	if event.ID() != e.ID || string(event.Kind) != m.Header.Get(schemas.HeaderKind) || placeOf(s, event) != m.Subject {
		return ledger.Entry{Seq: e.Seq, ID: e.ID, Stored: e.Stored, Foreign: true}
	}
	hold, ok := readHold(m.Header)
	if !ok || event.Kind == schemas.KindDispatched && event.IdempotencyKey == "" {
		return e
	}
	undone, ok := earlier(m.Header, schemas.HeaderUndone, e.Seq)
	if !ok {
		return e
	}
	e.Event, e.Hold, e.Undone = event, hold, undone
	if command := m.Header.Get(schemas.HeaderCommand); command != "" && len(command) <= maxCommand {
		e.Command = []byte(command)
	}
	readTrace(m.Header, &e)
	return e
}

func isStamped(h nats.Header) bool {
	for _, name := range stamped {
		if value := h.Get(name); value == "" || len(value) > maxHeader {
			return false
		}
	}
	return len(h.Get(schemas.HeaderOwner)) <= maxHeader &&
		h.Get(schemas.HeaderEventID) == h.Get(schemas.HeaderMsgID) &&
		h.Get(schemas.HeaderEventType) == "refund-"+h.Get(schemas.HeaderKind)
}

// isPlaced reports whether a message stands under a subject that its headers name.
func isPlaced(s schemas.Subjects, m *stored) bool {
	provider := strings.TrimPrefix(m.Header.Get(schemas.HeaderSource), "/refunds/")
	return m.Subject == s.Journal(schemas.RequestID(m.Header.Get(schemas.HeaderSubject))) ||
		m.Subject == s.JournalAbout(schemas.ProviderName(provider))
}

// earlier reads a header that names the sequence of an earlier entry; 0 when there is none. It reports false for what no worker
// writes.
func earlier(h nats.Header, name string, seq uint64) (uint64, bool) {
	text := h.Get(name)
	if text == "" {
		return 0, true
	}
	named, err := strconv.ParseUint(text, 10, 64)
	return named, err == nil && named > 0 && named < seq
}

// hashInID is as much of a rejected body's hash as the event's id holds.
func hashInID(id string) (hash [32]byte) {
	part, err := hex.DecodeString(id[strings.LastIndexByte(id, ':')+1:])
	if err == nil && len(part) == 8 {
		copy(hash[:], part)
	}
	return hash
}

// readHold is setHold's opposite. It reports false for what cannot be read.
func readHold(h nats.Header) (*ledger.Hold, bool) {
	var hold ledger.Hold
	text, first := strings.CutSuffix(h.Get(schemas.HeaderHold), holdFirst)
	hold.First = first
	switch text {
	case "":
		return nil, true
	case string(ledger.ShareHold):
		hold.Kind = ledger.HoldKind(text)
	default:
		at, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, false
		}
		hold.Kind, hold.LookedAt = ledger.SoleHold, at
	}
	if text := h.Get(schemas.HeaderRules); text != "" {
		rules, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, false
		}
		hold.Rules = int(rules)
	}
	text = h.Get(schemas.HeaderVelocity)
	if text == "" {
		return &hold, true
	}
	pace, ok := ledger.ParsePace(text)
	hold.Velocity = &pace
	return &hold, ok
}

// readTrace is setTrace's opposite.
func readTrace(h nats.Header, e *ledger.Entry) {
	e.Trace = PackTrace(h.Get(schemas.HeaderTraceParent))
	if state := h.Get(schemas.HeaderTraceState); e.Trace != nil && len(state) <= maxTraceState {
		e.TraceState = state
	}
	if baggage := h.Get(schemas.HeaderBaggage); len(baggage) <= maxBaggage {
		e.Baggage = baggage
	}
}

// traceBytes is the length of a packed trace context: trace id, span id, flags.
const traceBytes = 16 + 8 + 1

// PackTrace turns a W3C traceparent into the form of ledger.Entry.Trace. It returns nil for none.
func PackTrace(parent string) []byte {
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

// traceParent is PackTrace's opposite; empty for none.
func traceParent(packed []byte) string {
	if len(packed) != traceBytes {
		return ""
	}
	return "00-" + hex.EncodeToString(packed[:16]) + "-" + hex.EncodeToString(packed[16:24]) + "-" + hex.EncodeToString(packed[24:])
}
