package consumer

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func aDispatched() schemas.Event {
	c := schemas.Command{RequestID: "one", Provider: "test", Payment: schemas.Payment{Reference: "pay-one"},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: noon}
	e := schemas.NewEvent(schemas.KindDispatched, c, noon)
	lease := noon.Add(hour)
	e.Attempt, e.LeaseUntil, e.IdempotencyKey = 1, &lease, "one"
	return e
}

// stored is an event as the journal holds it.
func stored(t testing.TB, h entryHeaders) *nats.Msg {
	t.Helper()
	msg, err := (&journal{}).message(aDispatched(), h)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestEntryReadsWhatMessageWrote(t *testing.T) {
	sole := &ledger.Hold{Kind: ledger.SoleHold, LookedAt: 5}
	msg := stored(t, entryHeaders{owner: "token", previous: 7, hold: sole,
		trace: nats.Header{"traceparent": {parent}, "tracestate": {"a=b"}, "other": {"x"}}})
	for name, want := range map[string]string{"ce-id": "one:dispatched:1", "Nats-Msg-Id": "one:dispatched:1",
		"ce-type": "refund-dispatched", "ce-source": "/refunds/test", "ce-subject": "one", "ce-specversion": "1.0",
		"content-type": "application/json", "Refund-Owner": "token", "Refund-Previous": "7", "Refund-Hold": "5",
		"traceparent": parent, "tracestate": "a=b", "other": ""} {
		if got := msg.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if msg.Subject != "refunds.events.dispatched.test" {
		t.Errorf("subject %s", msg.Subject)
	}
	got := entry(9, msg.Header, msg.Data)
	want := ledger.Entry{Seq: 9, ID: "one:dispatched:1", Event: aDispatched(), Owner: "token",
		Hold: sole, Trace: packTrace(parent)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// An event that cannot be read keeps its place and its id: the fold passes over it and stays where it is.
func TestEntryOfWhatCannotBeRead(t *testing.T) {
	good := stored(t, entryHeaders{owner: "token"})
	another := nats.Header{"Nats-Msg-Id": {"two:dispatched:1"}, "Refund-Owner": {"token"}}
	tests := []struct {
		name   string
		header nats.Header
		body   []byte
		id     string
	}{
		{"not JSON", good.Header, []byte("{"), "one:dispatched:1"},
		{"an unknown kind", good.Header, bytes.ReplaceAll(good.Data, []byte("dispatched"), []byte("invented")), "one:dispatched:1"},
		{"the id of another event", another, good.Data, "two:dispatched:1"},
		{"no headers at all", nil, good.Data, ""},
		{"no body", good.Header, nil, "one:dispatched:1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := entry(9, test.header, test.body)
			if got.Seq != 9 || got.ID != test.id || got.Event.Kind != "" || got.Hold != nil {
				t.Errorf("got %+v, want place 9 and id %q alone", got, test.id)
			}
		})
	}
}

// What an intent asks of its payment is read as it was written. An event that asks for what cannot be read is not read at
// all: what it was granted would be known to some workers only.
func TestHoldsAreReadAsWritten(t *testing.T) {
	pace := &ledger.Pace{Bounds: []ledger.Bound{{Window: time.Minute, Count: 100},
		{Window: 24 * time.Hour, Micros: 5_000_000, DryRun: true}}}
	none := &ledger.Hold{Kind: ledger.NoHold}
	tests := []struct {
		name           string
		hold, velocity string
		want           *ledger.Hold
	}{
		{"nothing", "", "", nil},
		{"a share", "share", "", &ledger.Hold{Kind: ledger.ShareHold}},
		{"the whole payment", "18446744073709551615", "", &ledger.Hold{Kind: ledger.SoleHold, LookedAt: math.MaxUint64}},
		{"no call", "none", "", none},
		{"bounds", "share", "60000:100:0,~86400000:0:5000000", &ledger.Hold{Kind: ledger.ShareHold, Velocity: pace}},
		{"waited", "7", "-", &ledger.Hold{Kind: ledger.SoleHold, LookedAt: 7, Velocity: &ledger.Pace{Exempt: true}}},
		{"an unknown kind", "-1", "", nil},
		{"unknown bounds", "share", "a minute", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := nats.Header{}
			if test.hold != "" {
				header.Set(schemas.HeaderHold, test.hold)
			}
			if test.velocity != "" {
				header.Set(schemas.HeaderVelocity, test.velocity)
			}
			msg := stored(t, entryHeaders{hold: test.want})
			for name := range header {
				if test.want != nil && msg.Header.Get(name) != header.Get(name) {
					t.Errorf("%s is written as %q, want %q", name, msg.Header.Get(name), header.Get(name))
				}
				msg.Header.Set(name, header.Get(name))
			}
			got := entry(9, msg.Header, msg.Data)
			unreadable := test.hold != "" && test.want == nil
			if unreadable != (got.Event.Kind == "") || !reflect.DeepEqual(got.Hold, test.want) {
				t.Errorf("got %+v with the event %q, want %+v", got.Hold, got.Event.Kind, test.want)
			}
		})
	}
}

func TestPackTrace(t *testing.T) {
	tests := []struct{ name, parent, want string }{
		{"whole", parent, "0af7651916cd43dd8448eb211c80319cb7ad6b716920333101"},
		{"none", "", ""},
		{"words", "a-b-c-d", ""},
		{"too short a trace id", strings.Replace(parent, "0af7", "0af", 1), ""},
		{"not hex", strings.Replace(parent, "0af7", "0agz", 1), ""},
		{"a part too many", parent + "-00", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := hex.EncodeToString(packTrace(test.parent)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// FuzzEntry holds that nothing in the stream makes the reader panic or lose the event's place.
func FuzzEntry(f *testing.F) {
	good := stored(f, entryHeaders{})
	f.Add("one:dispatched:1", "3", parent, good.Data)
	f.Add("", "-1", "00--", []byte(`{"kind":"reversed"}`))
	f.Add("x", "18446744073709551616", "", []byte(nil))
	f.Fuzz(func(t *testing.T, id, hold, parent string, body []byte) {
		got := entry(3, nats.Header{schemas.HeaderMsgID: {id}, schemas.HeaderHold: {hold},
			schemas.HeaderTraceParent: {parent}}, body)
		if got.Seq != 3 || got.ID != id {
			t.Errorf("got place %d and id %q, want 3 and %q", got.Seq, got.ID, id)
		}
		if n := len(got.Trace); n != 0 && n != 25 {
			t.Errorf("a trace of %d bytes, want none or 25", n)
		}
		if k := got.Event.Kind; k != "" && k != schemas.KindRejected && got.Event.ID() != id {
			t.Errorf("event %s was taken for %s", got.Event.ID(), id)
		}
	})
}
