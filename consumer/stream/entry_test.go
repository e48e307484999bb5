package stream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// FuzzEntry holds that nothing in the stream makes a reader panic, lose an entry's place, or take for ours what names
// another subject or another id.
func FuzzEntry(f *testing.F) {
	f.Add("refunds.journal.x.test", "one:rejected:0700000000000000", "rejected", "one", "share", "3",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", []byte(`{"kind":"rejected","requestId":"one","provider":"test",`+
			`"reason":"too_old","occurredAt":"1970-01-01T00:00:01.000Z"}`))
	f.Add("refunds.journal.r.one", "", "later", "one", "-1", "18446744073709551616", "00--", []byte(nil))
	f.Add("refunds.journal.r.two", "one:outcome", "succeeded", "one", "", "", "", []byte(`{"kind":"reversed"}`))
	f.Fuzz(func(t *testing.T, subject, id, kind, about, hold, previous, parent string, body []byte) {
		h := nats.Header{}
		for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-type": "refund-" + kind,
			"ce-source": "/refunds/test", "ce-subject": about, "ce-time": "1970-01-01T00:00:01.000Z",
			"ce-dataschema": schemas.EventDataSchema, "content-type": "application/json", "Nats-Msg-Id": id,
			"Refund-Kind": kind, "Refund-Hold": hold, "Refund-Previous": previous, "traceparent": parent} {
			h.Set(name, value)
		}
		var s schemas.Subjects
		e := entry(s, &stored{Seq: 9, Subject: subject, Header: h, Data: body})
		if e.Seq != 9 || e.ID != id && len(id) <= maxHeader {
			t.Errorf("got place %d and id %q, want 9 and %q", e.Seq, e.ID, id)
		}
		if e.Foreign && (e.Event.Kind != "" || e.Owner != "" || e.Hold != nil || e.Previous != 0) {
			t.Errorf("a foreign entry says %+v", e)
		}
		if e.Previous >= 9 || len(e.Trace) != 0 && len(e.Trace) != traceBytes {
			t.Errorf("previous %d, a trace of %d bytes", e.Previous, len(e.Trace))
		}
		if e.Event.Kind != "" && (e.Event.ID() != id || placeOf(s, e.Event) != subject) {
			t.Errorf("event %s was taken for %s under %s", e.Event.ID(), id, subject)
		}
	})
}

// What a command's publisher sends along never makes an event too large to be stored.
func TestTraceIsBounded(t *testing.T) {
	h := nats.Header{}
	setTrace(h, ledger.Entry{Trace: make([]byte, traceBytes), TraceState: strings.Repeat("x", maxTraceState+1), Baggage: strings.Repeat("x", maxBaggage+1)})
	if len(h) != 1 || h.Get("traceparent") != "00-00000000000000000000000000000000-0000000000000000-00" {
		t.Errorf("got %d headers, traceparent %q", len(h), h.Get("traceparent"))
	}
	for _, parent := range []string{"", "a-b-c-d", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
		"00-0agz651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		if got := PackTrace(parent); got != nil {
			t.Errorf("%q: got %x", parent, got)
		}
	}
}
