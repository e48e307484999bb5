package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const (
	redirectPath = "/v1/payment-integrator-redirect/asynchronousRefund"
	cardPath     = "/v1/payment-integrator-card-fop-api/asynchronousRefund"
	echoPath     = "/v1/echo"

	euroAccount = "NorthQuayRedirect_EUR"
	cardAccount = "LanternCards_CAD"
)

// googleWorld is a running simulator whose clock a test moves.
type googleWorld struct {
	*testing.T
	sim    *simulator.Server
	server *httptest.Server
	millis atomic.Int64
}

// vectorNow is the time at which the vectors play: 2026-06-01T12:00:00Z.
const vectorNow = 1780315200000

func startGoogle(t *testing.T) *googleWorld {
	t.Helper()
	w := &googleWorld{T: t}
	w.millis.Store(vectorNow)
	w.sim = simulator.New(simulator.Options{Clock: func() time.Time { return time.UnixMilli(w.millis.Load()) }})
	w.server = httptest.NewServer(w.sim)
	t.Cleanup(w.server.Close)
	return w
}

// startPlain has the accounts and payments of the vectors, and no seal.
func startPlain(t *testing.T) *googleWorld {
	t.Helper()
	w := startGoogle(t)
	var keys []simulator.GoogleKeys
	for _, account := range []string{euroAccount, "NorthQuayRedirect_SEK", cardAccount} {
		keys = append(keys, simulator.GoogleKeys{Account: account, Mode: simulator.GooglePlain})
	}
	w.must(w.sim.Google.SetKeys(keys))
	w.must(w.sim.Google.SetPayments(vectorPayments))
	return w
}

var vectorPayments = []simulator.GooglePayment{
	{Reference: "pay-7f20:0001", Account: euroAccount, Amount: money("48500000", "EUR")},
	{Reference: "pay-7f20:0002", Account: euroAccount, Amount: money("48500000", "EUR")},
	{Reference: "cap_Q9xL-31", Account: cardAccount, Amount: money("129990000", "CAD")},
}

func money(micros string, currency schemas.Currency) schemas.Money {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil {
		panic(err)
	}
	return schemas.Money{Micros: n, Currency: currency}
}

func (w *googleWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// googleAnswer is an answer as a caller reads it.
type googleAnswer struct {
	status int
	body   []byte
	// document is nil where the body is not a JSON object.
	document map[string]any
}

// send posts a body and does not judge the answer.
func (w *googleWorld) send(path, contentType string, body []byte) (googleAnswer, error) {
	response, err := w.server.Client().Post(w.server.URL+"/google"+path, contentType, bytes.NewReader(body))
	if err != nil {
		return googleAnswer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := googleAnswer{status: response.StatusCode, body: text}
	_ = json.Unmarshal(text, &a.document) // stays nil where there is no document
	return a, err
}

func (w *googleWorld) post(path string, body []byte) googleAnswer {
	w.Helper()
	a, err := w.send(path, "application/json; charset=utf-8", body)
	w.must(err)
	return a
}

// redirect is a refund request of the object family, sent now.
func (w *googleWorld) redirect(id, capture, micros string) []byte {
	return fmt.Appendf(nil, `{"requestHeader":{"protocolVersion":{"major":1},"requestId":"%s","requestTimestamp":{"epochMillis":"%d"},
		"paymentIntegratorAccountId":"%s"},"captureRequestId":"%s","refundAmount":{"amountMicros":"%s","currencyCode":"EUR"}}`,
		id, w.millis.Load(), euroAccount, capture, micros)
}

// card is a refund request of the flat family, sent now.
func (w *googleWorld) card(id, capture, micros string) []byte {
	return fmt.Appendf(nil, `{"requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":"%s","requestTimestamp":"%d"},
		"paymentIntegratorAccountId":"%s","captureRequestId":"%s","refundAmount":"%s"}`,
		id, w.millis.Load(), cardAccount, capture, micros)
}

// result is the name of the answer's result, in either family; empty where it has none.
func (a googleAnswer) result() string { return unionName(a.document["result"]) }

// code is the answer's error code as its family spells it; empty where it has none.
func (a googleAnswer) code() string {
	if code, ok := a.document["errorResponseCode"].(string); ok {
		return code
	}
	return unionName(a.document["errorResponseResult"])
}

func unionName(value any) string {
	if name, ok := value.(string); ok {
		return name
	}
	members, _ := value.(map[string]any)
	for name := range members {
		if len(members) == 1 {
			return name
		}
	}
	return ""
}

// lines checks the ledger, each movement as "reference kind micros key".
func (w *googleWorld) lines(want ...string) {
	w.Helper()
	var got []string
	for _, m := range w.sim.Ledger() {
		got = append(got, fmt.Sprintf("%s %s %d %s", m.Reference, m.Kind, m.Amount.Micros, m.Key))
	}
	if !slices.Equal(got, want) {
		w.Fatalf("ledger has %q, want %q", got, want)
	}
}

func readVector(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "google", name))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *googleWorld) control(method, path, body string) (int, string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+path, strings.NewReader(body))
	w.must(err)
	response, err := w.server.Client().Do(r)
	w.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	return response.StatusCode, string(text)
}
