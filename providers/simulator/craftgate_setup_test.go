package simulator_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

var craftgateKey = simulator.CraftgateKey{APIKey: "test-api-key", SecretKey: "test-secret-key", WebhookKey: "test-hook-key"}

// shop is a merchant of the simulator's Craftgate side.
type shop struct{ *world }

// startShop lists payments to a simulator that knows one merchant.
func startShop(t *testing.T, payments ...simulator.CraftgatePayment) *shop {
	t.Helper()
	s := &shop{start(t)}
	s.must(s.sim.Craftgate.SetKeys([]simulator.CraftgateKey{craftgateKey}))
	s.list(payments...)
	return s
}

func (s *shop) list(payments ...simulator.CraftgatePayment) {
	s.t.Helper()
	s.must(s.sim.Craftgate.SetPayments(payments))
}

func (s *shop) faults(list ...simulator.Fault) {
	s.t.Helper()
	for i := range list {
		list[i].Type = simulator.TypeCraftgate
	}
	s.must(s.sim.SetFaults(list))
}

// twoItems is payment 730001 of 100 TRY with the items 830001 of 60 and 830002 of 40.
func twoItems() simulator.CraftgatePayment {
	return simulator.CraftgatePayment{Reference: "730001", Amount: lira(100_00), Transactions: []simulator.CraftgateTransaction{
		{Reference: "830001", Amount: lira(60_00)}, {Reference: "830002", Amount: lira(40_00)}}}
}

// with is a payment changed.
func with(p simulator.CraftgatePayment, change func(*simulator.CraftgatePayment)) simulator.CraftgatePayment {
	change(&p)
	return p
}

// behaving is twoItems with a behaviour.
func behaving(b simulator.CraftgateBehaviour) simulator.CraftgatePayment {
	p := twoItems()
	p.Behaviour = b
	return p
}

func lira(kurus int64) schemas.Money { return schemas.Money{Micros: kurus * 10_000, Currency: "TRY"} }

const (
	wholePath    = "/payment/v1/refunds"
	itemPath     = "/payment/v1/refund-transactions"
	partReports  = "/payment-reporting/v1/refund-transactions"
	wholeReports = "/payment-reporting/v1/refunds"
	payPath      = "/payment-reporting/v1/payments/730001"
	whole        = `{"paymentId":730001,"conversationId":"c-1"}`
	item25       = `{"paymentTransactionId":830001,"conversationId":"c-1","refundPrice":25.5}`
)

// request is a signed call; signing decodes the URL as most official clients do.
func (s *shop) request(method, path, body string) *http.Request {
	s.t.Helper()
	var sent io.Reader
	if body != "" {
		sent = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+"/craftgate"+path, sent)
	s.must(err)
	decoded, err := url.PathUnescape(r.URL.String())
	s.must(err)
	r.Header.Set("x-api-key", craftgateKey.APIKey)
	r.Header.Set("x-rnd-key", "rnd-1")
	r.Header.Set("x-auth-version", "v1")
	r.Header.Set("x-signature", signature(decoded, "rnd-1", body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func signature(url, random, body string) string { return signatureOf(craftgateKey, url, random, body) }

func signatureOf(k simulator.CraftgateKey, url, random, body string) string {
	sum := sha256.Sum256([]byte(url + k.APIKey + k.SecretKey + random + body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// send returns the status and body of the answer.
func (s *shop) send(r *http.Request) (int, string, error) {
	response, err := s.server.Client().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// paid is what tests read of an answer.
type paid struct {
	Data struct {
		ID, RefundPrice, TotalSize, Size   json.Number
		ConversationID, Status, RefundType string
		RefundStatus                       string
		RefundablePrice                    any
		RefundBankPrice, RefundWalletPrice json.Number
		RefundDestinationType              string
		PaymentTransactionRefunds, Items   []part
		Refunds                            []part
	}
	Errors *failure
}

type part struct {
	ID, RefundPrice, PaymentTransactionID, PaymentID json.Number
	RefundablePrice                                  json.Number
	Status, ConversationID                           string
	Error                                            *failure
}

type failure struct{ ErrorCode, ErrorGroup, ErrorDescription string }

// key adds an idempotency key to a call.
func key(r *http.Request, key string) *http.Request {
	r.Header.Set("x-idempotency-key", key)
	return r
}

// get sends a call and returns the answer with its status.
func (s *shop) get(r *http.Request) (int, paid) {
	s.t.Helper()
	status, text, err := s.send(r)
	s.must(err)
	var p paid
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	s.must(d.Decode(&p))
	return status, p
}

// ok sends a call that must succeed.
func (s *shop) ok(method, path, body string) paid {
	s.t.Helper()
	status, p := s.get(s.request(method, path, body))
	if status != http.StatusOK || p.Errors != nil {
		s.t.Fatalf("%s %s %s: %d %+v, want 200 and data", method, path, body, status, p.Errors)
	}
	return p
}

// refused sends a call that must be refused with this status and group, or with this code where there is no group.
func (s *shop) refused(r *http.Request, want string) {
	s.t.Helper()
	about := r.Method + " " + r.URL.Path
	status, p := s.get(r)
	if p.Errors == nil {
		s.t.Fatalf("%s succeeds, want %s", about, want)
	}
	got := fmt.Sprint(status, " ", p.Errors.ErrorGroup)
	if p.Errors.ErrorGroup == "" {
		got = fmt.Sprint(status, " ", p.Errors.ErrorCode)
	}
	if got != want {
		s.t.Fatalf("%s: refused with %s (%s), want %s", about, got, p.Errors.ErrorDescription, want)
	}
}

// states is the parts of an answer as "id-less" texts: item, price and status.
func states(parts []part) string {
	var texts []string
	for _, p := range parts {
		texts = append(texts, fmt.Sprintf("%s %s %s", p.PaymentTransactionID, p.RefundPrice, p.Status))
	}
	return strings.Join(texts, "; ")
}

func readCraftgate(t *testing.T, vector string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "craftgate", vector+".json"))
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		err = d.Decode(into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
