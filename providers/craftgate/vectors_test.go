package craftgate

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// vector is one recorded call and what it must lead to.
type vector struct {
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         json.RawMessage
	}
	Response struct {
		HTTPStatus     int
		ContentType    string
		Body           json.RawMessage
		RawBody        string
		TransportError string
	}
	Expect struct {
		Outcome                     string
		ProviderRefundID            *string
		ProviderRefundTransactionID []string `json:"providerRefundTransactionIds"`
		RefundedAmount              string
		ErrorGroup                  *string
		ErrorCode                   string
	}
}

func (v vector) write(w http.ResponseWriter, r *http.Request) {
	if v.Response.TransportError != "" {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return
	}
	if v.Response.ContentType != "" {
		w.Header().Set("Content-Type", v.Response.ContentType)
	}
	w.WriteHeader(v.Response.HTTPStatus)
	_, _ = io.WriteString(w, v.Response.RawBody+string(v.Response.Body))
}

// elsewhere names the vector files that are not recorded calls, with the test that covers each.
var elsewhere = map[string]string{
	"request-signature.json": "TestSignatureVectors",
	"webhook-signature.json": "TestWebhookVectors",
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) != 28 {
		t.Fatalf("vector files: got %d, %v, want all 28", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if elsewhere[name] != "" {
			continue
		}
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			v := readVector[vector](t, name)
			switch {
			case v.Request.Method == http.MethodPost:
				checkRefund(t, v)
			case strings.Contains(v.Request.Path, "/refund-transactions"):
				checkSearch(t, v)
			default:
				checkReport(t, v)
			}
		})
	}
}

// readVector reads a file with its conversation ids turned into ours: the vectors' have a single underscore, which the
// worker's reversible alphabet writes twice.
func readVector[T any](t testing.TB, name string) T {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if elsewhere[name] == "" {
		text = strings.ReplaceAll(text, "rf_", conversationOf("rf_"))
	}
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// replay answers each path with one answer and keeps what it was asked. What no path answers is an untouched payment.
type replay struct {
	*Provider
	mu     sync.Mutex
	asked  []string
	bodies []string
	keys   []string
}

func newReplay(t *testing.T, answers map[string]http.HandlerFunc) *replay {
	t.Helper()
	rp := &replay{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rp.mu.Lock()
		rp.asked, rp.bodies = append(rp.asked, r.Method+" "+r.RequestURI), append(rp.bodies, string(body))
		rp.keys = append(rp.keys, r.Header.Get("x-idempotency-key"))
		rp.mu.Unlock()
		if answer := answers[r.URL.Path]; answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.WriteString(w, untouched[r.URL.Path])
	}))
	t.Cleanup(server.Close)
	p, err := New(Config{BaseURL: server.URL, APIKey: "api", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	rp.Provider = p
	return rp
}

const (
	pathPayment = "/payment-reporting/v1/payments/730001"
	pathItems   = pathPayment + "/transactions"
	pathRefunds = "/payment-reporting/v1/refunds"
	pathParts   = "/payment-reporting/v1/refund-transactions"
)

const emptyList = `{"data":{"items":[],"page":0,"size":10,"totalSize":0}}`

var untouched = map[string]string{
	pathPayment: `{"data":{"id":730001,"paidPrice":100.0,"currency":"TRY","paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":100.0,"refunds":[]}}`,
	pathItems:   `{"data":{"items":[{"id":830001,"refundablePrice":60.0},{"id":830002,"refundablePrice":40.0}],"page":0,"size":25,"totalSize":2}}`,
	pathRefunds: emptyList,
	pathParts:   emptyList,
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func lira(t testing.TB, text string) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, "TRY")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wholeRequest and itemRequest are the commands behind the vectors.
func wholeRequest(t testing.TB) providers.Request {
	return providers.Request{RequestID: "rf_01HZY8M2", IdempotencyKey: "rf_01HZY8M2", Payment: schemas.Payment{Reference: "730001"},
		Amount: lira(t, "100.00")}
}

func itemRequest(t testing.TB) providers.Request {
	r := wholeRequest(t)
	r.RequestID, r.IdempotencyKey, r.Amount = "rf_01HZY8M3", "rf_01HZY8M3", lira(t, "25.50")
	r.Options = json.RawMessage(`{"paymentTransactionId":"830001"}`)
	return r
}

func checkRefund(t *testing.T, v vector) {
	r := wholeRequest(t)
	if strings.HasSuffix(v.Request.Path, "-transactions") {
		r = itemRequest(t)
	}
	if v.Expect.RefundedAmount != "" {
		checkPrices(t, v, r)
	}
	if strings.HasPrefix(v.Expect.RefundedAmount, "9007199254740") {
		return // its request asks for another amount than its answer has, which the call itself rightly doubts
	}
	rp := newReplay(t, map[string]http.HandlerFunc{v.Request.Path: v.write})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	baseline, res, err := rp.Prepare(ctx, r)
	if err != nil || res.Status != providers.NoResult {
		t.Fatalf("Prepare: got %v, %v, want to go on", res.Status, err)
	}
	if r.Baseline, r.Attempt = baseline, 1; v.Response.TransportError != "" {
		ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
	}
	rp.mu.Lock()
	rp.asked, rp.bodies, rp.keys = nil, nil, nil
	rp.mu.Unlock()
	res, err = rp.Refund(ctx, r)
	rp.mu.Lock()
	defer rp.mu.Unlock()
	if rp.asked[0] != "POST "+v.Request.Path || !sameBody(t, rp.bodies[0], v.Request.Body) || rp.keys[0] != v.Request.Headers["x-idempotency-key"] {
		t.Errorf("sent %s to %s under %q, want %s to %s", rp.bodies[0], rp.asked[0], rp.keys[0], v.Request.Body, v.Request.Path)
	}
	checkOutcome(t, v, res, err)
	if looked := len(rp.asked) > 1; looked != (v.Expect.Outcome == "lookup_then_decide") {
		t.Errorf("requests: got %v", rp.asked)
	}
}

// checkPrices holds the answer's amount against what is expected, beyond what doubles can tell apart.
func checkPrices(t *testing.T, v vector, r providers.Request) {
	t.Helper()
	want, exact, err := micros(text(v.Expect.RefundedAmount))
	if err != nil || !exact {
		t.Fatalf("expected amount: %v, exact %v", err, exact)
	}
	a, err := check("refund", r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := readReply([]byte(v.Response.RawBody + string(v.Response.Body)))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1, -1} {
		a.amount.Micros = want + off
		res, _, err := a.judge(answer.data)
		if yes := err == nil && granted(res.Status); yes != (off == 0) {
			t.Errorf("asked for %d micros more than answered: got %v, %v", off, res.Status, err)
		}
	}
}

func checkOutcome(t *testing.T, v vector, res providers.Result, err error) {
	t.Helper()
	switch v.Expect.Outcome {
	case "succeeded":
		want := providers.Succeeded
		if strings.Contains(string(v.Response.Body), `"CANCEL"`) {
			want = providers.Cancelled
		}
		id := ""
		if v.Expect.ProviderRefundID != nil {
			id = *v.Expect.ProviderRefundID
		}
		if err != nil || res.Status != want || res.ProviderRefundID != id {
			t.Errorf("got %v, id %q, %v, want %v, id %q", res.Status, res.ProviderRefundID, err, want, id)
		}
		if ids := strings.Join(v.Expect.ProviderRefundTransactionID, ","); ids != "" && res.Raw.Message != "refund transactions "+ids {
			t.Errorf("ids of the parts: got %q, want %q", res.Raw.Message, ids)
		}
	case "pending":
		if err != nil || res.Status != providers.Acknowledged || res.ProviderRefundID != *v.Expect.ProviderRefundID {
			t.Errorf("got %v, id %q, %v, want acknowledged", res.Status, res.ProviderRefundID, err)
		}
	case "partial_needs_review":
		if err != nil || res.Status != providers.Partial || res.Raw.Message != "5501 SUCCESS 60.00, 5502 FAILURE 40.00" {
			t.Errorf("got %v %+v, %v, want partial with each part", res.Status, res.Raw, err)
		}
	case "rejected", "rejected_permanent":
		if v.Expect.ErrorGroup == nil && v.Expect.ErrorCode != "" { // about the request itself: a person must look
			if providers.KindOf(err) != providers.Invalid {
				t.Errorf("got %v, %v, want invalid", res.Status, err)
			}
			return
		}
		if err != nil || res.Status != providers.Declined || res.Reason == "" {
			t.Errorf("got %v %q, %v, want declined", res.Status, res.Reason, err)
		}
		checkSaid(t, v, res)
	case "retry_later":
		if err != nil || res.Status != providers.NotNow || res.Reason == "" {
			t.Errorf("got %v %q, %v, want not now", res.Status, res.Reason, err)
		}
		checkSaid(t, v, res)
	case "in_doubt", "lookup_then_decide": // the payment is untouched, so that a look does not explain the refusal
		if err == nil || providers.KindOf(err) != providers.Unknown {
			t.Errorf("got %v, %v, want unknown", res.Status, err)
		}
	default:
		t.Errorf("outcome %q is not known to this test", v.Expect.Outcome)
	}
}

func checkSaid(t *testing.T, v vector, res providers.Result) {
	t.Helper()
	if v.Expect.ErrorGroup != nil && (res.Raw == nil || res.Raw.Scope != scopeGroup || res.Raw.Code != *v.Expect.ErrorGroup) {
		t.Errorf("provider result: got %+v, want group %s", res.Raw, *v.Expect.ErrorGroup)
	}
	if strings.Contains(string(v.Response.Body), "V013") && res.Raw.Message != "invented text; bank: V013 invented bank text" {
		t.Errorf("provider result: got %q, want the bank's words too", res.Raw.Message)
	}
}

// sameBody compares member by member, and prices as decimals.
func sameBody(t *testing.T, got string, want json.RawMessage) bool {
	t.Helper()
	var g, w refundBody
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal(want, &w) != nil {
		return false
	}
	gp, _, _ := micros(text(g.RefundPrice))
	wp, _, _ := micros(text(w.RefundPrice))
	g.RefundPrice, w.RefundPrice = "", ""
	return g == w && gp == wp
}

// checkSearch plays a lookup of the item refund, of an untouched payment but for what the search says.
func checkSearch(t *testing.T, v vector) {
	r := itemRequest(t)
	rp := newReplay(t, nil)
	baseline, _, err := rp.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	rp = newReplay(t, map[string]http.HandlerFunc{pathParts: v.write})
	r.Attempt, r.Baseline = 1, baseline
	f, err := rp.Lookup(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	if got := rp.asked[len(rp.asked)-1]; got != "GET "+v.Request.Path {
		t.Errorf("asked %s, want %s", got, v.Request.Path)
	}
	switch v.Expect.Outcome {
	case "succeeded":
		if f.Kind != providers.Found || f.Result.Status != providers.Succeeded || f.Result.ProviderRefundID != *v.Expect.ProviderRefundID {
			t.Errorf("got %+v, want succeeded", f)
		}
	case "not_applied_yet":
		if f.Kind != providers.NotFound {
			t.Errorf("got %+v, want not found", f)
		}
	case "rejected":
		// The failure is for now, and a new attempt allowed: nothing was applied. The repeat under the same key brings
		// the refusal itself, which is what gets a new key.
		if f.Kind != providers.NotFound || f.Result.Status != providers.NotNow || f.Result.Reason != schemas.ReasonInsufficientBalance ||
			!strings.Contains(f.Detail, *v.Expect.ErrorGroup) {
			t.Errorf("got %+v, want not found, for lack of balance", f)
		}
	default:
		t.Errorf("outcome %q is not known to this test", v.Expect.Outcome)
	}
}

// checkReport plays a lookup of the whole refund, with empty searches.
func checkReport(t *testing.T, v vector) {
	r := wholeRequest(t)
	rp := newReplay(t, nil)
	baseline, _, err := rp.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	rp = newReplay(t, map[string]http.HandlerFunc{v.Request.Path: v.write})
	r.Attempt, r.Baseline = 1, baseline
	f, err := rp.Lookup(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	switch v.Expect.Outcome {
	case "succeeded": // only a cancel has an id of its own, so that is what the report tells of
		if f.Kind != providers.Found || f.Result.Status != providers.Cancelled || f.Result.ProviderRefundID != "4401" {
			t.Errorf("got %+v, want cancelled as 4401", f)
		}
	case "not_applied_yet":
		if f.Kind != providers.NotFound {
			t.Errorf("got %+v, want not found", f)
		}
	default:
		t.Errorf("outcome %q is not known to this test", v.Expect.Outcome)
	}
}
