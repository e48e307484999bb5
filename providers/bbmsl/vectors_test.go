package bbmsl

import (
	"context"
	"encoding/json"
	"fmt"
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
		Path          string `json:"path"`
		RequestString string `json:"requestString"`
		Context       struct {
			AttemptedRefundAmount string `json:"attemptedRefundAmount"`
		} `json:"context"`
	} `json:"request"`
	Response struct {
		HTTPStatus     int             `json:"httpStatus"`
		ContentType    string          `json:"contentType"`
		Body           json.RawMessage `json:"body"`
		RawBody        string          `json:"rawBody"`
		TransportError string          `json:"transportError"`
	} `json:"response"`
	Expect struct {
		Outcome          string `json:"outcome"`
		ProviderRefundID string `json:"providerRefundId"`
		RefundedAmount   string `json:"refundedAmount"`
	} `json:"expect"`
}

func (v vector) body() string {
	if v.Response.RawBody != "" {
		return v.Response.RawBody
	}
	return string(v.Response.Body)
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
	_, _ = io.WriteString(w, v.body())
}

// elsewhere names the vector files that are not recorded calls, with the test that covers each.
var elsewhere = map[string]string{
	"keys.json":              "read by every test that signs",
	"request-signature.json": "TestSignatureVectors",
	// Notifications report payments; none is documented for refunds, so the worker speaks no such protocol.
	"notification-signature.json": "not spoken by the worker",
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) < 19 {
		t.Fatalf("vector files: got %d, %v, want all 19", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if _, covered := elsewhere[name]; covered {
			continue
		}
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			v := readVector[vector](t, name)
			switch {
			case strings.HasSuffix(v.Request.Path, "/query"):
				checkQuery(t, v)
			default:
				checkRefund(t, v)
			}
		})
	}
}

func readVector[T any](t testing.TB, name string) T {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

type vectorKeys struct {
	Merchant struct {
		PrivateKey providers.Secret `json:"privateKeyPkcs8Pem"`
	} `json:"merchant"`
}

// replay is a provider whose server answers each path with a recorded answer and keeps what it was asked.
type replay struct {
	*Provider
	mu    sync.Mutex
	asked []envelope
	paths []string
}

func newReplay(t *testing.T, model Model, answers map[string]http.HandlerFunc) *replay {
	t.Helper()
	rp := &replay{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e envelope
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("the request is no envelope: %v", err)
		}
		rp.mu.Lock()
		rp.asked, rp.paths = append(rp.asked, e), append(rp.paths, r.URL.Path)
		rp.mu.Unlock()
		answer, ok := answers[r.URL.Path]
		if !ok {
			t.Errorf("unexpected call of %s", r.URL.Path)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	p, err := New(Config{BaseURL: server.URL, MerchantID: "700123", Model: model, VoidUnsettled: true,
		PrivateKey: readVector[vectorKeys](t, "keys.json").Merchant.PrivateKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	rp.Provider = p
	return rp
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func money(t testing.TB, text, currency string) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, schemas.Currency(currency))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request is the command that leads to a vector's call, and the order's state before it.
func (v vector) request(t *testing.T) (providers.Request, state) {
	t.Helper()
	var in inner
	if err := json.Unmarshal([]byte(v.Request.RequestString), &in); err != nil {
		t.Fatal(err)
	}
	var a answer
	_ = json.Unmarshal([]byte(v.body()), &a)
	currency, full := "HKD", in.Amount.String()
	if a.Order != nil {
		currency, full = string(a.Order.Currency), string(a.Order.Amount)
	}
	asked := in.Amount.String()
	switch {
	case v.Request.Context.AttemptedRefundAmount != "":
		asked = v.Request.Context.AttemptedRefundAmount
	case asked == "":
		asked = full
	}
	before := state{Status: "SETTLED", Amount: money(t, full, currency).Micros, Currency: schemas.Currency(currency)}
	before.Net = &before.Amount
	if strings.HasSuffix(v.Request.Path, "/void") {
		before.Status = "SUCCESS"
	}
	return providers.Request{RequestID: "r1", Attempt: 1, Amount: money(t, asked, currency),
		Payment: schemas.Payment{Reference: in.OrderID.String() + in.MerchantReference}}, before
}

func modelOf(path string) Model {
	if strings.HasPrefix(path, "/direct/") {
		return Direct
	}
	return Hosted
}

func checkRefund(t *testing.T, v vector) {
	r, before := v.request(t)
	r.Baseline, _ = json.Marshal(before)
	m := modelOf(v.Request.Path)
	untouched := fmt.Sprintf(`{"responseCode":"0000","order":{"currency":%q,"amount":129.90,"netAmount":129.9,"status":"SETTLED"}}`, before.Currency)
	rp := newReplay(t, m, map[string]http.HandlerFunc{v.Request.Path: v.write, m.path(opQuery): says(untouched)})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	if v.Response.TransportError != "" {
		ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	}
	defer cancel()
	res, err := rp.Refund(ctx, r)
	rp.mu.Lock()
	defer rp.mu.Unlock()
	if rp.paths[0] != v.Request.Path || !sameRequest(t, rp.asked[0].Request, v.Request.RequestString) {
		t.Errorf("sent %s to %s, want %s to %s", rp.asked[0].Request, rp.paths[0], v.Request.RequestString, v.Request.Path)
	}
	switch v.Expect.Outcome {
	case "succeeded":
		want := providers.Succeeded
		if strings.HasSuffix(v.Request.Path, "/void") {
			want = providers.Cancelled
		}
		if err != nil || res.Status != want || res.ProviderRefundID != v.Expect.ProviderRefundID {
			t.Errorf("got status %v, id %q, error %v, want %v, %q", res.Status, res.ProviderRefundID, err, want, v.Expect.ProviderRefundID)
		}
		if v.Expect.RefundedAmount != "" && money(t, v.Expect.RefundedAmount, string(before.Currency)) != r.Amount {
			t.Errorf("refunded %v, want %s", r.Amount, v.Expect.RefundedAmount)
		}
	case "in_doubt":
		if err == nil || providers.KindOf(err) != providers.Unknown || len(rp.paths) != 1 {
			t.Errorf("got error %v after %d calls, want unknown after 1", err, len(rp.paths))
		}
	case "query_then_decide":
		if len(rp.paths) != 2 || rp.paths[1] != m.path(opQuery) {
			t.Errorf("calls: got %v, want one query after the refund", rp.paths)
		}
		checkDecided(t, v, res, err)
	default:
		t.Errorf("outcome %q is not known to this test", v.Expect.Outcome)
	}
}

// checkDecided expects, of an untouched order: a refusal waits, a yes that left no trace is a doubt.
func checkDecided(t *testing.T, v vector, res providers.Result, err error) {
	t.Helper()
	if strings.Contains(v.body(), `"transaction"`) || !strings.Contains(v.body(), codeSuccess) {
		if err != nil || res.Status != providers.NotNow || res.Reason != schemas.ReasonInsufficientBalance {
			t.Errorf("got %v %q, %v, want not now for the balance", res.Status, res.Reason, err)
		}
		return
	}
	if err == nil || providers.KindOf(err) != providers.Unknown {
		t.Errorf("got %v, %v, want unknown", res.Status, err)
	}
}

// sameRequest compares text by text, and the amount as a decimal.
func sameRequest(t *testing.T, got, want string) bool {
	t.Helper()
	var g, w inner
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(want), &w) != nil {
		return false
	}
	if w.Amount != "" && g.Amount != "" && money(t, w.Amount.String(), "HKD") == money(t, g.Amount.String(), "HKD") {
		want = strings.Replace(want, `"amount":`+w.Amount.String(), `"amount":`+g.Amount.String(), 1)
	}
	return got == want
}

func checkQuery(t *testing.T, v vector) {
	r, before := v.request(t)
	rp := newReplay(t, modelOf(v.Request.Path), map[string]http.HandlerFunc{v.Request.Path: v.write})
	first := r
	first.Attempt = 0
	_, prepared, err := rp.Prepare(t.Context(), first)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	rp.mu.Lock()
	asked := rp.asked[0].Request
	rp.mu.Unlock()
	if !sameRequest(t, asked, v.Request.RequestString) {
		t.Errorf("sent %s, want %s", asked, v.Request.RequestString)
	}
	r.Baseline, _ = json.Marshal(before)
	found, err := rp.Lookup(t.Context(), r)
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	type verdict struct {
		first    schemas.Reason
		find     providers.FindingKind
		finished providers.Status
	}
	wants := map[string]verdict{
		"succeeded":          {schemas.ReasonAlreadyRefunded, providers.Found, providers.Succeeded},
		"conflict":           {schemas.ReasonAlreadyRefunded, providers.Contradiction, 0},
		"already_reversed":   {schemas.ReasonAlreadyRefunded, providers.Contradiction, 0},
		"rejected_permanent": {schemas.ReasonNotRefundable, providers.Contradiction, 0},
		"not_applied_yet":    {"", providers.NotFound, 0},
	}
	want, known := wants[v.Expect.Outcome]
	if got := (verdict{prepared.Reason, found.Kind, found.Result.Status}); !known || got != want {
		t.Errorf("before the first attempt and after a doubt: got %+v, want %+v", got, want)
	}
	if found.Result.ProviderRefundID != v.Expect.ProviderRefundID {
		t.Errorf("refund id: got %q, want %q", found.Result.ProviderRefundID, v.Expect.ProviderRefundID)
	}
}
