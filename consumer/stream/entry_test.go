package stream

import (
	"strings"
	"testing"
	"time"

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

// What lacks a header, stands elsewhere or names another event is foreign, whether its body can be read or not. With every
// header in place, a body that cannot be read is one of ours.
func TestForeignIsToldFromUnreadable(t *testing.T) {
	var s schemas.Subjects
	event := schemas.Event{Kind: schemas.KindRejected, RequestID: "one", Provider: "test", OccurredAt: time.Unix(1, 0),
		Reason: schemas.ReasonTooOld, BodyHash: [32]byte{7}}
	type row struct {
		name, subject, header, value string
		foreign                      bool
	}
	rows := []row{{name: "whole"}, {name: "elsewhere", subject: "refunds.journal.x.other", foreign: true},
		{name: "another kind", header: schemas.HeaderKind, value: "failed", foreign: true},
		{name: "two ids", header: schemas.HeaderEventID, value: "one:rejected:08", foreign: true},
		{name: "a long owner", header: schemas.HeaderOwner, value: strings.Repeat("x", maxHeader+1), foreign: true},
		{name: "no place before", header: schemas.HeaderPrevious, value: "0", foreign: true}}
	for _, name := range stamped {
		rows = append(rows, row{name: "no " + name, header: name, foreign: true},
			row{name: "a long " + name, header: name, value: strings.Repeat("x", maxHeader+1), foreign: true})
	}
	for _, r := range rows {
		msg, err := message(s, ledger.Entry{Event: event}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.subject != "" {
			msg.Subject = r.subject
		}
		if r.header != "" {
			msg.Header.Set(r.header, r.value)
		}
		for _, body := range [][]byte{msg.Data, []byte("{"), nil} {
			e := entry(s, &stored{Seq: 9, Subject: msg.Subject, Header: msg.Header, Data: body})
			readable := !r.foreign && len(body) > 1
			if e.Foreign != r.foreign || (e.Event.Kind != "") != readable {
				t.Errorf("%s, body %q: got foreign %t, kind %q", r.name, body, e.Foreign, e.Event.Kind)
			}
		}
	}
	msg, err := message(s, ledger.Entry{Event: event}, 0)
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Set(schemas.HeaderSubject, "two") // and so it may stand under the subject of two
	if e := entry(s, &stored{Seq: 9, Subject: s.Journal("two"), Header: msg.Header, Data: msg.Data}); !e.Foreign {
		t.Errorf("an event of one under the subject of two: got %+v", e)
	}
}

// What a command's publisher sends along never makes an event too large to be stored.
func TestTraceIsBounded(t *testing.T) {
	h := nats.Header{}
	setTrace(h, ledger.Entry{Trace: make([]byte, traceBytes), TraceState: strings.Repeat("x", maxTraceState+1),
		Baggage: strings.Repeat("x", maxBaggage+1)})
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
