package schemas

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func goodEvent(t *testing.T, k Kind) Event {
	t.Helper()
	c, err := DecodeCommand([]byte(goodCommand), Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	return NewEvent(k, c, time.Date(2026, 11, 21, 18, 0, 1, 250_999_999, time.FixedZone("", 8*3600)))
}

func TestEventIsByteStable(t *testing.T) {
	e := goodEvent(t, KindDispatched)
	lease := e.OccurredAt.Add(50 * time.Second)
	e.Attempt, e.IdempotencyKey, e.LeaseUntil, e.Baseline = 1, "ord-1042:r1", &lease, []byte(`{ "net" : "<15>" }`)
	want := `{"kind":"dispatched","requestId":"ord-1042:r1","provider":"bbmsl-hk",` +
		`"payment":{"reference":"4922","amount":{"amountMicros":"15000000","currencyCode":"HKD"}},` +
		`"amount":{"amountMicros":"10000000","currencyCode":"HKD"},` +
		`"fingerprint":"` + e.Fingerprint + `","metadata":{"orderId":"ord-1042"},"attempt":1,` +
		`"idempotencyKey":"ord-1042:r1","baseline":{"net":"<15>"},"requestedAt":"2026-11-21T10:00:00.000Z",` +
		`"occurredAt":"2026-11-21T10:00:01.250Z","leaseUntil":"2026-11-21T10:00:51.251Z"}`
	for range 3 {
		if got, err := e.Encode(); err != nil || string(got) != want {
			t.Fatalf("got %s, %v\nwant %s", got, err, want)
		}
	}
	got, err := DecodeEvent([]byte(want))
	if err != nil || !got.LeaseUntil.After(lease) || got.OccurredAt.After(e.OccurredAt) {
		t.Errorf("got lease %v, occurred %v, %v; want the lease rounded up and the fact's time cut", got.LeaseUntil, got.OccurredAt, err)
	}
}

func TestEventNames(t *testing.T) {
	hash := sha256.Sum256([]byte("body"))
	for _, row := range []struct {
		event         Event
		id, kind, who string
	}{
		{Event{Kind: KindDispatched, Attempt: 2}, "r:1:dispatched:2", "refund-dispatched", "r:1"},
		{Event{Kind: KindDeferred, Attempt: 1}, "r:1:deferred:1", "refund-deferred", "r:1"},
		{Event{Kind: KindAcknowledged, Attempt: 3}, "r:1:acknowledged:3", "refund-acknowledged", "r:1"},
		{Event{Kind: KindSucceeded}, "r:1:outcome", "refund-succeeded", "r:1"},
		{Event{Kind: KindCancelled}, "r:1:outcome", "refund-cancelled", "r:1"},
		{Event{Kind: KindFailed}, "r:1:outcome", "refund-failed", "r:1"},
		{Event{Kind: KindReversed, Reversal: &Reversal{NoticeID: "abc"}}, "r:1:reversed:ba7816bf8f01cfea", "refund-reversed", "r:1"},
		{Event{Kind: KindRejected, BodyHash: hash}, "r:1:rejected:230d8358dc8e8890", "refund-rejected", "r:1"},
		{Event{Kind: KindParked, N: 4}, "r:1:parked:4", "refund-parked", "r:1"},
		{Event{Kind: KindResumed, N: 1}, "r:1:resumed:1", "refund-resumed", "r:1"},
		{Event{Kind: KindStopped, N: 7}, "p-1:stopped:7", "refund-stopped", "p-1"},
		{Event{Kind: KindStarted, N: 7}, "p-1:started:7", "refund-started", "p-1"},
	} {
		e := row.event
		e.Provider, e.OccurredAt = "p-1", time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
		if e.Kind != KindStopped && e.Kind != KindStarted {
			e.RequestID = "r:1"
		}
		want := map[string]string{"ce-specversion": "1.0", "ce-id": row.id, "ce-type": row.kind, "ce-source": "/refunds/p-1",
			"ce-subject": row.who, "ce-time": "2026-11-21T10:00:00.000Z", "ce-dataschema": "urn:refundworker:refund-event:1",
			"content-type": "application/json", "Nats-Msg-Id": row.id}
		if got := e.Headers(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", e.Kind, got, want)
		}
	}
}

func TestNewEventOfLittle(t *testing.T) {
	e := NewEvent(KindRejected, Command{RequestID: "r", Provider: "p"}, time.Unix(1, 0))
	e.Reason, e.BodyHash = ReasonTooOld, [32]byte{1}
	body, err := e.Encode()
	want := `{"kind":"rejected","requestId":"r","provider":"p","reason":"too_old","occurredAt":"1970-01-01T00:00:01.000Z"}`
	if err != nil || string(body) != want {
		t.Errorf("got %s, %v; want %s", body, err, want)
	}
}

func TestEventEncodeRefuses(t *testing.T) {
	reissue := true
	for name, e := range map[string]Event{
		"no kind":                    {Provider: "p", OccurredAt: time.Unix(1, 0)},
		"no field of its kind":       goodEvent(t, KindParked),
		"rejected without body hash": {Kind: KindRejected, RequestID: "r", Provider: "p", Reason: ReasonTooOld, OccurredAt: time.Unix(1, 0)},
		"field of another kind": func() Event {
			e := goodEvent(t, KindAcknowledged)
			e.Attempt, e.Reissue = 1, &reissue
			return e
		}(),
		"baseline not JSON": func() Event {
			e := goodEvent(t, KindDispatched)
			e.Attempt, e.IdempotencyKey, e.LeaseUntil, e.Baseline = 1, "k", &e.OccurredAt, []byte("4111")[:3]
			e.Baseline = append(e.Baseline, "1x"...)
			return e
		}(),
	} {
		var rejection *Rejection
		if body, err := e.Encode(); !errors.As(err, &rejection) || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: got %s, %v; want a *Rejection without values", name, body, err)
		}
	}
}

func TestEventProblems(t *testing.T) {
	e := goodEvent(t, KindFailed)
	body, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	body = []byte(strings.Replace(string(body), `{"kind"`, `{"n":1,"attempt":0,"future":1,"kind"`, 1))
	want := "event is invalid: /attempt must be a whole number from 1 to 2147483647; /reason required; /reissue required; " +
		"/foundBy required; /n not a field of this kind"
	if _, err := DecodeEvent(body); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	large := `{"kind":"` + strings.Repeat("x", MaxEventBytes) + `"}`
	if _, err := DecodeEvent([]byte(large)); err == nil || err.Error() != "event is malformed: must be at most 262144 bytes" {
		t.Errorf("large body: got %v", err)
	}
}

func TestReasons(t *testing.T) {
	seen := 0
	for _, k := range Kinds {
		seen += len(ReasonsOf(k))
	}
	if seen != 28 {
		t.Errorf("got %d reasons over all kinds, want 28", seen)
	}
	list := ReasonsOf(KindDeferred)
	list[0] = "changed"
	if ReasonsOf(KindDeferred)[0] == "changed" {
		t.Error("a caller can change the closed list")
	}
	want := map[Reason]bool{ReasonDeclined: true, ReasonExceedsRemaining: true, ReasonBalanceLimit: true,
		ReasonAccountOnHold: true, ReasonExpired: true, ReasonOperator: true}
	for _, r := range ReasonsOf(KindFailed) {
		if r.ReissueAllowed() != want[r] {
			t.Errorf("%s: got reissue %v, want %v", r, r.ReissueAllowed(), want[r])
		}
	}
	for _, k := range Kinds {
		if want := k == "succeeded" || k == "cancelled" || k == "failed"; k.Outcome() != want {
			t.Errorf("%s: got outcome %v, want %v", k, k.Outcome(), want)
		}
	}
}

func TestNoticeProblems(t *testing.T) {
	want := "notice is invalid: /noticeId required; /provider must be 1 to 32 characters of a-z 0-9 -; " +
		"/refundRequestId required; /source required; /receivedAt required; /result/reason required; /reversal unknown field"
	_, err := DecodeNotice([]byte(`{"provider":"A","type":"result","result":{"kind":"failed"},"reversal":{}}`))
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	_, err = DecodeNotice([]byte(strings.Repeat(" ", MaxNoticeBytes+1)))
	if err == nil || err.Error() != "notice is malformed: must be at most 65536 bytes" {
		t.Errorf("large body: got %v", err)
	}
}

func TestNoticeEncode(t *testing.T) {
	n := Notice{NoticeID: "abc", Provider: "p", RefundRequestID: "r", Type: NoticeReversalType, Source: "edge",
		Reversal: &NoticeReversal{Amount: Money{10_000, "HKD"}}, ReceivedAt: time.Unix(1, 5)}
	want := `{"noticeId":"abc","provider":"p","refundRequestId":"r","type":"reversal",` +
		`"reversal":{"amount":{"amountMicros":"10000","currencyCode":"HKD"}},"source":"edge","receivedAt":"1970-01-01T00:00:01.000Z"}`
	body, err := n.Encode()
	if err != nil || string(body) != want {
		t.Errorf("got %s, %v; want %s", body, err, want)
	}
	if got, want := n.MsgID([]byte("abc")), "ba7816bf8f01cfea414140de5dae2223:ba7816bf8f01cfea414140de5dae2223"; got != want {
		t.Errorf("got id %s, want %s", got, want)
	}
	n.Reversal.RawResult = json.RawMessage("4111x")
	if _, err := n.Encode(); err == nil || strings.Contains(err.Error(), "4111") {
		t.Errorf("raw result that is not JSON: got %v, want an error without values", err)
	}
	n.Reversal = nil
	if _, err := n.Encode(); err == nil {
		t.Error("no reversal: want an error")
	}
}
