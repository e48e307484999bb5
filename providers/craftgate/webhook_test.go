package craftgate

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"refundworker/providers"
	"refundworker/schemas"
)

// hurried is an inbox that only keeps what it is asked to hurry.
type hurried struct {
	providers.Inbox
	mu  sync.Mutex
	ids []schemas.RequestID
	err error
}

func (h *hurried) Hurry(_ context.Context, p schemas.ProviderName, id schemas.RequestID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p != "craftgate-tr" {
		return errors.New("another provider")
	}
	h.ids = append(h.ids, id)
	return h.err
}

type resolver = func(context.Context, EventType, string) (schemas.RequestID, bool, error)

func newTestWebhook(t testing.TB, inbox *hurried, resolve resolver) *Webhook {
	t.Helper()
	if resolve == nil {
		resolve = func(_ context.Context, e EventType, id string) (schemas.RequestID, bool, error) {
			return schemas.RequestID(string(e) + "-" + id), true, nil
		}
	}
	h, err := NewWebhook(WebhookConfig{Provider: "craftgate-tr", Key: "test-hook-key", Inbox: inbox,
		Strangers: &providers.Strangers{}, Resolve: resolve})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, body, signature string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/craftgate", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if signature != "" {
		r.Header.Set("x-cg-signature-v1", signature)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWebhookVectors(t *testing.T) {
	v := readVector[struct {
		MerchantHookKey providers.Secret
		Cases           []struct {
			Name    string
			Headers map[string]string
			Body    json.RawMessage
			Valid   bool
		}
	}](t, "webhook-signature.json")
	if len(v.Cases) != 5 {
		t.Errorf("cases: got %d, want 5", len(v.Cases))
	}
	wants := map[string][]schemas.RequestID{"refund": {"REFUND-4401"}, "refund-tx": {"REFUND_TX-5501"}}
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			inbox := &hurried{}
			w := post(newTestWebhook(t, inbox, nil), string(c.Body), c.Headers["x-cg-signature-v1"])
			want := http.StatusOK
			if !c.Valid {
				want = http.StatusUnauthorized
			}
			if w.Code != want || w.Body.Len() != 0 {
				t.Errorf("got %d with %d bytes, want %d and none", w.Code, w.Body.Len(), want)
			}
			if !slices.Equal(inbox.ids, wants[c.Name]) {
				t.Errorf("hurried: got %v, want %v", inbox.ids, wants[c.Name])
			}
		})
	}
}

// signedEvent is a body and its signature.
func signedEvent(kind EventType, payloadID string) (body, signature string) {
	e := event{Type: kind, Timestamp: "1930359967", Status: "SUCCESS", PayloadID: text(payloadID)}
	return `{"eventType":"` + string(kind) + `","eventTimestamp":1930359967,"status":"SUCCESS","payloadId":"` + payloadID +
		`","payload":{"amount":1}}`, eventSignature("test-hook-key", e)
}

// TestWebhookAnswers: 200 stands for "acted on" alone; whatever went wrong on our side is repeated by Craftgate.
func TestWebhookAnswers(t *testing.T) {
	refund, signature := signedEvent(EventRefund, "4401")
	ours := func(context.Context, EventType, string) (schemas.RequestID, bool, error) {
		return "ord-1:r1", true, nil
	}
	foreign := func(context.Context, EventType, string) (schemas.RequestID, bool, error) { return "", false, nil }
	fails := func(context.Context, EventType, string) (schemas.RequestID, bool, error) {
		return "", false, errors.New("down")
	}
	tests := []struct {
		name, body, signature string
		resolve               resolver
		inbox                 error
		want, hurried         int
	}{
		{"ours", refund, signature, ours, nil, 200, 1},
		{"a stranger's refund", refund, signature, foreign, nil, 200, 0},
		{"craftgate cannot be asked", refund, signature, fails, nil, 503, 0},
		{"the inbox cannot take it", refund, signature, ours, errors.New("down"), 503, 1},
		{"signed for other bytes", strings.Replace(refund, "4401", "4402", 1), signature, ours, nil, 401, 0},
		{"no signature", refund, "", ours, nil, 401, 0},
		{"no json", "eventType=REFUND", signature, ours, nil, 401, 0},
		{"too long", refund[:len(refund)-1] + `,"more":"` + strings.Repeat("x", maxEvent) + `"}`, signature, ours, nil, 401, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inbox := &hurried{err: tt.inbox}
			if got := post(newTestWebhook(t, inbox, tt.resolve), tt.body, tt.signature).Code; got != tt.want || len(inbox.ids) != tt.hurried {
				t.Errorf("got %d, hurried %v, want %d, %d", got, inbox.ids, tt.want, tt.hurried)
			}
		})
	}
	r := httptest.NewRequest(http.MethodGet, "/craftgate", nil)
	w := httptest.NewRecorder()
	newTestWebhook(t, &hurried{}, nil).ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: got %d", w.Code)
	}
}

// TestWebhookStrangersAreBarred: a sender that keeps failing is no longer listened to; one that never failed always is.
func TestWebhookStrangersAreBarred(t *testing.T) {
	h := newTestWebhook(t, &hurried{}, nil)
	refund, signature := signedEvent(EventRefund, "4401")
	for range 200 {
		if got := post(h, refund, signature).Code; got != http.StatusOK {
			t.Fatalf("a valid event: got %d", got)
		}
	}
	barred := false
	for range 200 {
		barred = barred || post(h, refund, "AAAA").Code == http.StatusTooManyRequests
	}
	if !barred {
		t.Error("200 wrong signatures were all looked at")
	}
}

func TestNewWebhookNeedsAllParts(t *testing.T) {
	good := WebhookConfig{Provider: "craftgate-tr", Key: "k", Inbox: &hurried{}, Strangers: &providers.Strangers{},
		Resolve: func(context.Context, EventType, string) (schemas.RequestID, bool, error) { return "", false, nil }}
	for name, spoil := range map[string]func(*WebhookConfig){
		"key":       func(c *WebhookConfig) { c.Key = "" },
		"inbox":     func(c *WebhookConfig) { c.Inbox = nil },
		"strangers": func(c *WebhookConfig) { c.Strangers = nil },
		"resolve":   func(c *WebhookConfig) { c.Resolve = nil },
	} {
		cfg := good
		spoil(&cfg)
		if h, err := NewWebhook(cfg); err == nil || h != nil {
			t.Errorf("without %s: got no error", name)
		}
	}
	if _, err := NewWebhook(good); err != nil {
		t.Error(err)
	}
}

// TestResolve: only Craftgate's own word on a refund leads to one of ours.
func TestResolve(t *testing.T) {
	tests := []struct {
		name   string
		kind   EventType
		id     string
		answer http.HandlerFunc
		want   schemas.RequestID
		fails  bool
	}{
		{"whole", EventRefund, "4401", says(200, `{"data":{"id":4401,"conversationId":"ord-1_cr1"}}`), "ord-1:r1", false},
		{"item", EventRefundTx, "4401", says(200, `{"data":{"id":4401,"conversationId":"a__b"}}`), "a_b", false},
		{"no conversation", EventRefund, "4401", says(200, `{"data":{"id":4401,"conversationId":null}}`), "", false},
		{"a stranger's conversation", EventRefund, "4401", says(200, `{"data":{"id":4401,"conversationId":"a_b"}}`), "", false},
		{"another refund", EventRefund, "4401", says(200, `{"data":{"id":4402,"conversationId":"ord-1"}}`), "", true},
		{"not there yet", EventRefund, "4401", says(404, `{"errors":{"errorCode":"9101"}}`), "", true},
		{"down", EventRefund, "4401", says(502, `<html>`), "", true},
		{"an id that is none", EventRefund, "../payments", nil, "", false},
		{"another event", "PAYMENT", "4401", nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rp := newReplay(t, map[string]http.HandlerFunc{"/payment/v1/refunds/4401": tt.answer, "/payment/v1/refund-transactions/4401": tt.answer})
			id, ours, err := rp.Resolve(t.Context(), tt.kind, tt.id)
			if id != tt.want || ours != (tt.want != "") || (err != nil) != tt.fails {
				t.Errorf("got %q, %v, %v, want %q, fails %v", id, ours, err, tt.want, tt.fails)
			}
			path := map[EventType]string{EventRefund: "GET /payment/v1/refunds/4401", EventRefundTx: "GET /payment/v1/refund-transactions/4401"}
			rp.mu.Lock()
			defer rp.mu.Unlock()
			if tt.answer == nil && len(rp.asked) > 0 || tt.answer != nil && !slices.Equal(rp.asked, []string{path[tt.kind]}) {
				t.Errorf("asked %v", rp.asked)
			}
		})
	}
}

func FuzzWebhook(f *testing.F) {
	body, signature := signedEvent(EventRefund, "4401")
	f.Add(body, signature)
	f.Add(`{"eventType":{},"eventTimestamp":[]}`, "")
	f.Add(`{"EVENTTYPE":"REFUND","eventTimestamp":1e400,"payloadId":null}`, signature)
	f.Fuzz(func(t *testing.T, body, signature string) {
		inbox := &hurried{}
		code := post(newTestWebhook(t, inbox, nil), body, signature).Code
		if code != http.StatusOK && (code != http.StatusUnauthorized || len(inbox.ids) > 0) {
			t.Errorf("got %d, hurried %v", code, inbox.ids)
		}
	})
}
