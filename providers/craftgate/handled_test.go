package craftgate

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/schemas"
)

// counted is a resolver that counts how often Craftgate would be asked.
func counted(asked *atomic.Int64, err *error) resolver {
	return func(context.Context, EventType, string) (schemas.RequestID, bool, error) {
		asked.Add(1)
		return "ord-1:r1", true, *err
	}
}

// signedBody is the body and the signature of any event.
func signedBody(e event) (body, signature string) {
	return `{"eventType":"` + string(e.Type) + `","eventTimestamp":"` + string(e.Timestamp) + `","status":"` + string(e.Status) +
		`","payloadId":"` + string(e.PayloadID) + `"}`, eventSignature("test-hook-key", e)
}

// Somebody has caught an event and sends it without end. Craftgate is asked once in half a minute; every event gets its
// answer.
func TestWebhookRepeatsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var fails error
		inbox := &hurried{}
		h := newTestWebhook(t, inbox, counted(&asked, &fails))
		send := func(what string, kind EventType, id string, want int, wantAsked int64) {
			t.Helper()
			body, signature := signedEvent(kind, id)
			if got := post(h, body, signature).Code; got != want || asked.Load() != wantAsked {
				t.Errorf("%s: got %d, asked %d times, want %d, %d", what, got, asked.Load(), want, wantAsked)
			}
		}
		fails = errors.New("down")
		send("not acted on", EventRefund, "4401", 503, 1)
		fails = nil
		inbox.err = errors.New("down")
		send("not hurried", EventRefund, "4401", 503, 2)
		inbox.err = nil
		send("acted on", EventRefund, "4401", 200, 3)
		for range 100 {
			send("again", EventRefund, "4401", 200, 3)
		}
		send("another refund", EventRefund, "4402", 200, 4)
		send("another type", EventRefundTx, "4401", 200, 5)
		time.Sleep(handledFor - time.Nanosecond)
		send("just in time", EventRefund, "4401", 200, 5)
		time.Sleep(time.Nanosecond)
		send("later", EventRefund, "4401", 200, 6)
		if len(inbox.ids) != 5 {
			t.Errorf("hurried %d times, want 5", len(inbox.ids))
		}
	})
}

// The fields of an event are signed without anything between them. One signature is good for one event all the same.
func TestWebhookShiftedFieldsAreNotActedOn(t *testing.T) {
	var asked atomic.Int64
	var none error
	h := newTestWebhook(t, &hurried{}, counted(&asked, &none))
	caught := event{EventRefund, "1930359967", "SUCCESS", "4401"}
	_, signature := signedBody(caught)
	for _, e := range []event{
		{EventRefund, "193035", "9967SUCCESS", "4401"},
		{EventRefund, "1930359967SUC", "CESS", "4401"},
		{EventRefund, "1930359967", "SUCCESS4", "401"},
		{EventRefund, "", "1930359967SUCCESS", "4401"},
		{EventRefund, "1930359967SUCCESS", "", "4401"},
		{EventRefund, "1930359967SUCCESS440", "", "1"},
	} {
		body, same := signedBody(e)
		if same != signature {
			t.Fatalf("%v: the signature differs, so this shows nothing", e)
		}
		if got := post(h, body, signature).Code; got != http.StatusOK || asked.Load() != 0 {
			t.Errorf("%v: got %d, asked %d times, want 200 and never", e, got, asked.Load())
		}
	}
	if body, _ := signedBody(caught); post(h, body, signature).Code != http.StatusOK || asked.Load() != 1 {
		t.Errorf("the event itself: asked %d times, want once", asked.Load())
	}
}

// Many different events come at once. Four are asked about, the others are turned away until one of these is through.
func TestWebhookAsksAboutFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		through := make(chan struct{})
		h := newTestWebhook(t, &hurried{}, func(ctx context.Context, _ EventType, _ string) (schemas.RequestID, bool, error) {
			asked.Add(1)
			select {
			case <-through:
				return "ord-1:r1", true, nil
			case <-ctx.Done():
				return "", false, ctx.Err()
			}
		})
		codes := make(chan int, 10)
		send := func(id int) {
			go func() {
				body, signature := signedEvent(EventRefund, strconv.Itoa(id))
				codes <- post(h, body, signature).Code
			}()
			synctest.Wait()
		}
		for id := range 4 {
			send(4401 + id)
		}
		send(4405)
		if got := <-codes; got != http.StatusServiceUnavailable || asked.Load() != 4 {
			t.Errorf("the fifth: got %d, asked %d times, want 503, 4", got, asked.Load())
		}
		through <- struct{}{}
		if got := <-codes; got != http.StatusOK {
			t.Errorf("the one that is through: got %d, want 200", got)
		}
		send(4405)
		began := time.Now()
		for range 4 {
			if got := <-codes; got != http.StatusServiceUnavailable {
				t.Errorf("one that nobody answers: got %d, want 503", got)
			}
		}
		if waited := time.Since(began); waited != 10*time.Second || asked.Load() != 5 {
			t.Errorf("gave up after %s, asked %d times, want 10s, 5", waited, asked.Load())
		}
	})
}

// The memory of events is bounded, and a full one makes room for what is new.
func TestHandledIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h handled
		at := func(n int) event { return event{EventRefund, text(strconv.Itoa(n)), "SUCCESS", "4401"} }
		for n := range handledMax - 1 {
			h.add(at(n))
		}
		time.Sleep(handledFor / 2)
		h.add(at(-1))
		time.Sleep(handledFor / 2)
		h.add(at(-2))
		if len(h.at) != 2 || !h.has(at(-1)) || !h.has(at(-2)) {
			t.Errorf("all but one of it old: holds %d, want that one and the newest", len(h.at))
		}
		for n := range handledMax - 2 {
			h.add(at(n))
		}
		h.add(at(-3))
		if len(h.at) != 1 || !h.has(at(-3)) {
			t.Errorf("none of it old: holds %d, want the newest alone", len(h.at))
		}
	})
}

// A source that sends a true event is known, and listened to whoever else fails behind its address. An old event, or one
// whose timestamp is made of other fields, makes nobody known: it may be caught.
func TestWebhookTrueSendersAreKnown(t *testing.T) {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	old := strconv.FormatInt(time.Now().Add(-2*time.Hour).Unix(), 10)
	for _, tt := range []struct {
		name  string
		e     event
		known bool
	}{
		{"a true event", event{EventRefund, text(now), "SUCCESS", "4401"}, true},
		{"a true event about something else", event{"API_AUTH", text(now), "SUCCESS", "x-1"}, true},
		{"an old event", event{EventRefund, text(old), "SUCCESS", "4401"}, false},
		{"a shifted event", event{EventType("REFUND" + old + "SUCCESS"), text(now), "", ""}, false},
		{"an event without a time", event{EventRefund, "", "SUCCESS", "4401"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestWebhook(t, &hurried{}, nil)
			body, signature := signedBody(tt.e)
			if got := post(h, body, signature).Code; got != http.StatusOK {
				t.Fatalf("got %d, want 200", got)
			}
			barred := false
			for range 200 {
				barred = barred || post(h, body, "AAAA").Code == http.StatusTooManyRequests
			}
			if barred == tt.known {
				t.Errorf("barred after 200 failures: got %v, want %v", barred, !tt.known)
			}
		})
	}
}

// A shared Strangers is told about both kinds of senders by address: another address is barred all the same.
func TestWebhookKnowsSendersByAddress(t *testing.T) {
	h := newTestWebhook(t, &hurried{}, nil)
	body, signature := signedBody(event{EventRefund, text(strconv.FormatInt(time.Now().Unix(), 10)), "SUCCESS", "4401"})
	from := func(address, signature string) int {
		r := httptest.NewRequest(http.MethodPost, "/craftgate", strings.NewReader(body))
		r.RemoteAddr = address
		r.Header.Set("x-cg-signature-v1", signature)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	from("192.0.2.1:1000", signature)
	for range 200 {
		from("192.0.2.1:1000", "AAAA")
		from("192.0.2.2:1000", "AAAA")
	}
	if got := from("192.0.2.1:1000", signature); got != http.StatusOK {
		t.Errorf("the known address: got %d, want 200", got)
	}
	if got := from("192.0.2.2:1000", signature); got != http.StatusTooManyRequests {
		t.Errorf("the other address: got %d, want 429", got)
	}
}
