package stream_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/consumer/stream"
	"refundworker/schemas"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What a dead letter keeps at most, in bytes.
const (
	deadBodyMax   = 512 << 10
	deadHeaderMax = 16 << 10
	deadDetailMax = 4 << 10
)

func TestWholeSecondRoundsUp(t *testing.T) {
	tests := []struct {
		name     string
		at, want time.Time
	}{
		{"a whole second stays", noon, noon},
		{"a nanosecond more is the next one", noon.Add(1), noon.Add(time.Second)},
		{"a nanosecond less is this one", noon.Add(-1), noon},
		{"half", noon.Add(500 * time.Millisecond), noon.Add(time.Second)},
		{"another zone is UTC's second", noon.Add(1).In(time.FixedZone("", 8*3600)), noon.Add(time.Second)},
		{"before 1970", time.Unix(-10, 1), time.Unix(-9, 0).UTC()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := stream.DueAt(stream.Scheduled{At: test.at}.Message().Header); !got.Equal(test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// serverHeaders would each make the server do something when they were copied onto another message.
var serverHeaders = nats.Header{"Nats-Msg-Id": {"x"}, "Nats-Schedule": {"@at"}, "Nats-Rollup": {"all"}, "Nats-TTL": {"1s"},
	"Nats-Expected-Stream": {"OTHER"}, "nats-expected-last-sequence": {"7"}, "NATS-SCHEDULE-TARGET": {"a"}}

func TestOwnHeaders(t *testing.T) {
	header := nats.Header{"traceparent": {parent}, "X-Shop": {"a", "b"}, "Refund-Round": {"3"}, "Natsy": {"kept"}, "": {"odd"}}
	want := nats.Header{"traceparent": {parent}, "X-Shop": {"a", "b"}, "Refund-Round": {"3"}, "Natsy": {"kept"}, "": {"odd"}}
	for name, values := range serverHeaders {
		header[name] = values
	}
	letter := stream.Letter{Header: header}.Message(schemas.Subjects{})
	for name := range letter.Header {
		if strings.HasPrefix(name, "Refund-Dead-") || name == "Nats-Msg-Id" {
			delete(letter.Header, name)
		}
	}
	if !reflect.DeepEqual(letter.Header, want) {
		t.Errorf("got %v, want %v", letter.Header, want)
	}
}

func TestSchedule(t *testing.T) {
	given := nats.Header{"traceparent": {parent}, "Refund-Round": {"3"}}
	for name, values := range serverHeaders {
		given[name] = values
	}
	s := stream.Scheduled{Subject: "refunds.later.test.one", Target: "refunds.retry.test", ID: "one:later:REFUND_COMMANDS:12",
		Copy: stream.Copy{Body: []byte("{}"), Header: given, Since: noon}, Round: 4, At: noon.Add(1500 * time.Millisecond)}
	got := s.Message()
	want := nats.Header{"Nats-Msg-Id": {"one:later:REFUND_COMMANDS:12"}, "Nats-Schedule": {"@at 2026-11-21T12:00:02Z"},
		"Nats-Schedule-Target": {"refunds.retry.test"}, "Refund-Round": {"4"}, "Refund-Since": {"2026-11-21T12:00:00Z"},
		"traceparent": {parent}}
	if got.Subject != "refunds.later.test.one" || string(got.Data) != "{}" || !reflect.DeepEqual(got.Header, want) {
		t.Errorf("got %s %v\nwant refunds.later.test.one %v", got.Subject, got.Header, want)
	}
	s.Round = 0
	if got := s.Message(); got.Header.Get("Refund-Round") != "" {
		t.Errorf("after progress the round is %q, want none", got.Header.Get("Refund-Round"))
	}
	if given.Get("Refund-Round") != "3" {
		t.Error("the delivery's own headers were changed")
	}
}

func TestDeadLetter(t *testing.T) {
	small, huge := []byte(`{"requestId":"one"}`), bytes.Repeat([]byte("x"), deadBodyMax+1)
	sum := sha256.Sum256(huge)
	common := nats.Header{"Nats-Msg-Id": {"dead-REFUND_COMMANDS-12"}, "Refund-Dead-Subject": {"refunds.commands.test"},
		"Refund-Dead-Stream": {"REFUND_COMMANDS"}, "Refund-Dead-Sequence": {"12"}, "Refund-Dead-Reason": {"invalid"},
		"Refund-Dead-Detail": {"/amount required"}, "Refund-Dead-At": {"2026-11-21T12:00:00Z"}}
	tests := []struct {
		name, detail string
		header       nats.Header
		body, kept   []byte
		extra        nats.Header
	}{
		{"small", "/amount required", nats.Header{"X-Shop": {"blue"}, "Nats-Msg-Id": {"m"}}, small, small,
			nats.Header{"X-Shop": {"blue"}, "Refund-Dead-Msg-Id": {"m"}}},
		{"without headers", "/amount required", nil, small, small, nil},
		{"a body that just fits", "/amount required", nil, huge[:deadBodyMax], huge[:deadBodyMax], nil},
		{"a huge body", "/amount required", nil, huge, huge[:deadBodyMax],
			nats.Header{"Refund-Dead-Body-Sha256": {hex.EncodeToString(sum[:])}, "Refund-Dead-Body-Size": {"524289"}}},
		{"huge headers", "/amount required", nats.Header{"X-Shop": {strings.Repeat("b", deadHeaderMax)}}, small, small,
			nats.Header{"Refund-Dead-Omitted": {"headers"}}},
		{"headers that forge a reason", "/amount required", nats.Header{"Refund-Dead-Reason": {"forged"}}, small, small, nil},
		{"a detail of two lines", "/amount\r\nrequired", nil, small, small, nats.Header{"Refund-Dead-Detail": {"/amount  required"}}},
		{"a huge detail", strings.Repeat("d", deadDetailMax+1), nil, small, small,
			nats.Header{"Refund-Dead-Detail": {strings.Repeat("d", deadDetailMax)}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := nats.Header{}
			for _, part := range []nats.Header{common, test.extra} {
				for name, values := range part {
					want[name] = values
				}
			}
			got := stream.Letter{Provider: "test", Subject: "refunds.commands.test", Body: test.body, Header: test.header,
				Stream: "REFUND_COMMANDS", Seq: 12, Reason: "invalid", Detail: test.detail, At: noon}.Message(schemas.Subjects{})
			if got.Subject != "refunds.dead.test" || !bytes.Equal(got.Data, test.kept) {
				t.Errorf("got %s with %d bytes, want refunds.dead.test with %d", got.Subject, len(got.Data), len(test.kept))
			}
			if !reflect.DeepEqual(got.Header, want) {
				t.Errorf("got  %v\nwant %v", got.Header, want)
			}
		})
	}
}
