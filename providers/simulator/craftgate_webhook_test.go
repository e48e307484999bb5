package simulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

// event is a webhook as its receiver reads it.
type event struct {
	EventType, EventTime, Status, PayloadID string
	EventTimestamp                          json.Number
}

// authentic is an independent check of a webhook; the vectors check it in turn.
func (e event) authentic(key, signature string) bool {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(e.EventType + e.EventTimestamp.String() + e.Status + e.PayloadID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)) == signature
}

func TestWebhookVectors(t *testing.T) {
	var vectors struct {
		MerchantHookKey string
		Cases           []struct {
			Name    string
			Headers map[string]string
			Body    event
			Valid   bool
		}
	}
	readCraftgate(t, "webhook-signature", &vectors)
	if len(vectors.Cases) != 5 {
		t.Fatalf("got %d vectors, want 5", len(vectors.Cases))
	}
	for _, v := range vectors.Cases {
		if got := v.Body.authentic(vectors.MerchantHookKey, v.Headers["x-cg-signature-v1"]); got != v.Valid {
			t.Errorf("%s: authentic is %v, want %v", v.Name, got, v.Valid)
		}
	}
}

// receiver takes webhooks and answers as told, the last answer for ever.
type receiver struct {
	t       *testing.T
	address string
	mu      sync.Mutex
	answers []int
	got     []string
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	rc := &receiver{t: t, answers: answers}
	server := httptest.NewServer(rc)
	t.Cleanup(server.Close)
	rc.address = server.URL + "/webhooks/shop"
	return rc
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	var e event
	if err != nil || json.Unmarshal(body, &e) != nil || r.Method != http.MethodPost || r.URL.Path != "/webhooks/shop" {
		rc.t.Errorf("%s %s: %q %v", r.Method, r.URL.Path, body, err)
	}
	if !e.authentic(craftgateKey.WebhookKey, r.Header.Get("x-cg-signature-v1")) || e.Status != "SUCCESS" ||
		e.EventTime != "2031-03-04T08:06:07.000000" || e.EventTimestamp != "1930367167" {
		rc.t.Errorf("webhook %s with signature %q", body, r.Header.Get("x-cg-signature-v1"))
	}
	rc.got = append(rc.got, e.EventType+" "+e.PayloadID)
	w.WriteHeader(rc.answers[0])
	if len(rc.answers) > 1 {
		rc.answers = rc.answers[1:]
	}
}

func (rc *receiver) all() string {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return strings.Join(rc.got, ", ")
}

// announcing lists rules that send webhooks to a receiver.
func (s *shop) announcing(rc *receiver, rules ...simulator.Notice) {
	s.t.Helper()
	s.t.Cleanup(s.sim.Close)
	for i := range rules {
		rules[i].Type, rules[i].Target = simulator.TypeCraftgate, rc.address
	}
	s.must(s.sim.SetNotices(rules))
}

// A refund that succeeded is announced under the id by which it can be retrieved, and a failed one is not.
func TestWebhooksAnnounceSuccess(t *testing.T) {
	sameDay := with(twoItems(), func(p *simulator.CraftgatePayment) { p.SameDay = true })
	for _, row := range []struct {
		name       string
		listed     simulator.CraftgatePayment
		path, body string
		want       string
	}{
		{"cancel", sameDay, wholePath, whole, "REFUND 4000000001"},
		{"item", twoItems(), itemPath, item25, "REFUND_TX 5000000001"},
		{"items", twoItems(), wholePath, whole, "REFUND_TX 5000000001, REFUND_TX 5000000002"},
		{"mixed", behaving(simulator.CraftgateMixed), wholePath, whole, "REFUND_TX 5000000001"},
		{"failure", behaving(simulator.CraftgateFailure), wholePath, whole, ""},
		{"refused", behaving("REQUIRES_DAY_END"), wholePath, whole, ""},
		{"waiting", behaving(simulator.CraftgateWaiting), itemPath, item25, "REFUND_TX 5000000001"},
		{"waiting in vain", behaving(simulator.CraftgateWaitingFailure), itemPath, item25, ""},
		{"other refund", twoItems(), itemPath, `{"paymentTransactionId":830001,"conversationId":"c-2"}`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			rc := newReceiver(t, http.StatusOK)
			s := startShop(t, row.listed)
			s.announcing(rc, simulator.Notice{Reference: "730001", Refund: "c-1"})
			s.get(s.request(http.MethodPost, row.path, row.body))
			s.must(s.sim.Settled(t.Context()))
			if rc.all() != row.want {
				t.Errorf("received %q, want %q", rc.all(), row.want)
			}
		})
	}
}

// The webhook of a refund that waits tells of its end: whoever looks it up then finds the success.
func TestWebhookEndsWaiting(t *testing.T) {
	rc := newReceiver(t, http.StatusNoContent)
	s := startShop(t, with(behaving(simulator.CraftgateWaiting), func(p *simulator.CraftgatePayment) { p.Lookups = 1000 }))
	s.announcing(rc, simulator.Notice{Delay: 10 * time.Millisecond, Repeat: 2})
	s.ok(http.MethodPost, itemPath, item25)
	s.must(s.sim.Settled(t.Context()))
	if want := "REFUND_TX 5000000001, REFUND_TX 5000000001, REFUND_TX 5000000001"; rc.all() != want {
		t.Errorf("received %q, want %q", rc.all(), want)
	}
	if got := s.ok(http.MethodGet, itemPath+"/5000000001", "").Data.Status; got != "SUCCESS" {
		t.Errorf("refund is %s, want SUCCESS", got)
	}
	s.movements("730001 REFUND 25500000")
}

// A webhook is sent until it is taken, and six times at most.
func TestWebhooksAreRepeated(t *testing.T) {
	for _, row := range []struct {
		answers []int
		tries   int
		state   simulator.NoticeState
	}{
		{[]int{http.StatusServiceUnavailable, http.StatusFound, http.StatusAccepted}, 3, simulator.NoticeAccepted},
		{[]int{http.StatusUnauthorized}, 6, simulator.NoticeStopped},
	} {
		rc := newReceiver(t, row.answers...)
		s := startShop(t, twoItems())
		s.announcing(rc, simulator.Notice{})
		s.ok(http.MethodPost, itemPath, item25)
		s.must(s.sim.Settled(t.Context()))
		sent := s.sim.Notices()
		if len(sent) != 1 || sent[0].Tries != row.tries || sent[0].State != row.state || strings.Count(rc.all(), "5000000001") != row.tries {
			t.Errorf("sent %+v, received %q, want %d tries, then %s", sent, rc.all(), row.tries, row.state)
		}
		if got := fmt.Sprint(sent[0].Type, " ", sent[0].Reference, " ", sent[0].Refund, " ", sent[0].Method); got != "craftgate 730001 c-1 REFUND_TX" {
			t.Errorf("listed as %s", got)
		}
	}
}

func TestWebhookNeedsItsKey(t *testing.T) {
	s := startShop(t, twoItems())
	s.must(s.sim.Craftgate.SetKeys([]simulator.CraftgateKey{{APIKey: craftgateKey.APIKey, SecretKey: craftgateKey.SecretKey}}))
	rc := newReceiver(t, http.StatusOK)
	s.announcing(rc, simulator.Notice{})
	s.ok(http.MethodPost, itemPath, item25)
	s.must(s.sim.Settled(t.Context()))
	if sent := s.sim.Notices(); len(sent) != 1 || sent[0].State != simulator.NoticeStopped || sent[0].Problem != "merchant has no webhook key" || rc.all() != "" {
		t.Errorf("sent %+v, received %q, want a problem and nothing", sent, rc.all())
	}
}

// Forgetting ends what is still to be announced; nothing moves after it.
func TestForgetEndsWebhooks(t *testing.T) {
	rc := newReceiver(t, http.StatusOK)
	s := startShop(t, behaving(simulator.CraftgateWaiting))
	s.announcing(rc, simulator.Notice{Delay: time.Hour})
	s.ok(http.MethodPost, itemPath, item25)
	s.sim.Forget()
	s.must(s.sim.Settled(t.Context()))
	s.movements()
	if rc.all() != "" || len(s.sim.Notices()) != 0 {
		t.Errorf("received %q, listed %v, want nothing", rc.all(), s.sim.Notices())
	}
}

func TestWebhookRules(t *testing.T) {
	for _, row := range []struct{ document, pointer string }{
		{`[{"type":"craftgate","target":"http://127.0.0.1:1/webhooks/shop","reference":"771","refund":"c-1","delay":"1s","repeat":2}]`, ""},
		{`[{"type":"craftgate","target":"127.0.0.1:1"}]`, "/0/target"},
		{`[{"type":"craftgate","target":"http://127.0.0.1:1","result":"success"}]`, "/0"},
		{`[{"type":"craftgate","target":"http://127.0.0.1:1","before":true}]`, "/0"},
		{`[{"type":"craftgate","target":"http://127.0.0.1:1","reversals":[{"amount":"all"}]}]`, "/0"},
		{`[{"type":"bbmsl","target":"http://127.0.0.1:1"}]`, "/0/type"},
	} {
		w := start(t)
		status, text := w.control(http.MethodPut, "/_control/notices", row.document)
		w.answersProblem(status, text, row.pointer)
	}
}
