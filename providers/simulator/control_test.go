package simulator_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const (
	amount     = `{"amountMicros":"129900000","currencyCode":"HKD"}`
	payments   = `[{"reference":"4922","merchantReference":"1655817171","amount":` + amount + `,"status":"SETTLED"}]`
	theFault   = `[{"type":"bbmsl","operation":"refund","reference":"4922","every":1,"times":1,"effect":"drop_after"}]`
	balance    = `{"unsettled":` + amount + `}`
	openShape  = `{"amount":` + amount + `}`
	ledgerPath = "/_control/ledger"
)

func keys() string {
	text, err := json.Marshal([]map[string]string{{"merchantId": merchant, "publicKey": merchantKeys().public}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestControlOverHTTP(t *testing.T) {
	w := start(t)
	w.sim.Forget()
	for path, document := range map[string]string{
		"keys/bbmsl": keys(), "payments/bbmsl": payments, "open/bbmsl": openShape, "balance/bbmsl": balance, "faults": theFault,
	} {
		if status, text := w.control(http.MethodPut, "/_control/"+path, document); status != http.StatusNoContent {
			t.Fatalf("PUT %s: %d %s, want 204", path, status, text)
		}
	}
	if _, err := w.try(refundPath, `"merchantReference":"1655817171","amount":29.9`); err == nil {
		t.Error("the scripted fault did not fire")
	}
	w.code(refundPath, `"orderId":4922,"amount":29.9`, "SIM301")
	w.code(refundPath, `"orderId":4923,"amount":100.01`, "SIM304")
	w.code(refundPath, `"orderId":4923,"amount":100`, "0000")
	r, err := w.server.Client().Get(w.server.URL + ledgerPath)
	w.must(err)
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Errorf("ledger: %d %s, want 200 application/x-ndjson", r.StatusCode, got)
	}
	_, text := w.control(http.MethodGet, ledgerPath, "")
	want := `{"type":"bbmsl","reference":"4922","kind":"REFUND","amount":{"amountMicros":"29900000","currencyCode":"HKD"},"providerRefundId":"9000000001","at":"2031-03-04T05:06:07Z"}
{"type":"bbmsl","reference":"4923","kind":"REFUND","amount":{"amountMicros":"100000000","currencyCode":"HKD"},"providerRefundId":"9000000002","at":"2031-03-04T05:06:07Z"}
`
	if text != want {
		t.Errorf("ledger is\n%swant\n%s", text, want)
	}
}

func TestDeleteForgetsEverything(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(100)}))
	w.must(w.sim.BBMSL.SetBalance(hkd(100)))
	w.code(refundPath, refund, "0000")
	w.faults(simulator.Fault{Effect: simulator.EffectDropBefore})
	for _, path := range []string{"/_control", "/_control/"} {
		if status, text := w.control(http.MethodDelete, path, ""); status != http.StatusNoContent {
			t.Fatalf("DELETE %s: %d %s, want 204", path, status, text)
		}
	}
	w.movements()
	w.code(refundPath, refund, "SIM102") // no key, and no fault either
	w.must(w.sim.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: merchant, PublicKey: merchantKeys().public}}))
	w.code(refundPath, refund, "SIM201")
	w.code(refundPath, `"orderId":1,"amount":1`, "SIM201")
	w.list(simulator.BBMSLSettled)
	w.code(refundPath, `"orderId":4922,"amount":129.90`, "0000") // neither the refund nor the balance is left
}

func TestUnknownControl(t *testing.T) {
	w := start(t)
	for _, row := range []struct{ method, path string }{
		{http.MethodPut, "/_control/payments/nobody"},
		{http.MethodPut, "/_control/balance/craftgate"},
		{http.MethodPut, "/_control/balance/google"},
		{http.MethodPut, "/_control/notices/google"},
		{http.MethodPut, "/_control/payments"},
		{http.MethodPut, "/_control/ledger"},
		{http.MethodPost, "/_control/faults"},
		{http.MethodDelete, "/_control/faults"},
		{http.MethodGet, "/_control/payments/bbmsl"},
	} {
		status, text := w.control(row.method, row.path, "[]")
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusNotFound {
			t.Errorf("%s %s: %d %s, want 404 and JSON", row.method, row.path, status, text)
		}
		if !strings.Contains(got.Error, row.path) || !strings.Contains(got.Error, "payments/bbmsl") {
			t.Errorf("%s %s: error %q does not say what was asked and what there is", row.method, row.path, got.Error)
		}
	}
}

func TestStrictDocuments(t *testing.T) {
	weak := `"` + strings.ReplaceAll(weakKey, "\n", `\n`) + `"`
	for _, row := range []struct{ path, document, pointer string }{
		{"payments/bbmsl", `[]`, ""},
		{"payments/bbmsl", `[{"reference":"1","amount":` + amount + `}]`, ""},
		{"payments/bbmsl", `[{"reference":"ref-1","merchantReference":"ref-1","amount":` + amount + `}]`, ""},
		{"payments/bbmsl", `[{"reference":"1","Status":"OPEN","amount":` + amount + `}]`, "/0/Status"},
		{"payments/bbmsl", `[{"reference":"1","amount":` + amount + `},{"reference":1,"amount":` + amount + `}]`, "/1/reference"},
		{"payments/bbmsl", `[{"amount":` + amount + `}]`, "/0/reference"},
		{"payments/bbmsl", `[{"reference":"","amount":` + amount + `}]`, "/0/reference"},
		{"payments/bbmsl", `[{"reference":"007","amount":` + amount + `}]`, "/0/reference"},
		{"payments/bbmsl", `[{"reference":"1234567890123456","amount":` + amount + `}]`, "/0/reference"},
		{"payments/bbmsl", `[{"reference":"ref-1","merchantReference":"x","amount":` + amount + `}]`, "/0/merchantReference"},
		{"payments/bbmsl", `[{"reference":"` + strings.Repeat("r", 65) + `","amount":` + amount + `}]`, "/0/merchantReference"},
		{"payments/bbmsl", `[{"reference":"1","amount":` + amount + `},{"reference":"1","amount":` + amount + `}]`, "/1"},
		{"payments/bbmsl", `[{"reference":"1","merchantReference":"x","amount":` + amount + `},{"reference":"x","amount":` + amount + `}]`, "/1"},
		{"payments/bbmsl", `[{"reference":"1","status":"PAID","amount":` + amount + `}]`, "/0/status"},
		{"payments/bbmsl", `[{"reference":"1","status":null,"amount":` + amount + `}]`, "/0/status"},
		{"payments/bbmsl", `[{"reference":"1"}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":12.5}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"1","currencyCode":"HKD"}}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"0","currencyCode":"HKD"}}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"-10000","currencyCode":"HKD"}}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"10000000000000","currencyCode":"HKD"}}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"10000","currencyCode":"EUR"}}]`, "/0/amount"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":10000,"currencyCode":"HKD"}}]`, "/0/amount/amountMicros"},
		{"payments/bbmsl", `[{"reference":"1","amount":{"amountMicros":"10000","currencyCode":"HKD","x":1}}]`, "/0/amount/x"},
		{"payments/bbmsl", `[{"reference":"1","reference":"2","amount":` + amount + `}]`, "/0"},
		{"payments/bbmsl", `["4922"]`, "/0"},
		{"payments/bbmsl", `[{"a/b~c":1,"reference":"1","amount":` + amount + `}]`, "/0/a~1b~0c"},
		{"open/bbmsl", openShape, ""},
		{"open/bbmsl", `{"amount":` + amount + `,"status":"SUCCESS"}`, ""},
		{"open/bbmsl", `{"amount":` + amount + `,"statut":"SUCCESS"}`, "/statut"},
		{"open/bbmsl", `{}`, "/amount"},
		{"keys/bbmsl", `[{"merchantId":"1","publicKey":"hello"}]`, "/0/publicKey"},
		{"keys/bbmsl", `[{"merchantId":"1","publicKey":` + weak + `}]`, "/0/publicKey"},
		{"keys/bbmsl", strings.Replace(keys(), `"700123"`, `""`, 1), "/0/merchantId"},
		{"keys/bbmsl", strings.Replace(keys(), `"700123"`, `700123`, 1), ""},
		{"keys/bbmsl", strings.Replace(keys(), `"publicKey"`, `"privateKey"`, 1), "/0/privateKey"},
		{"balance/bbmsl", balance, ""},
		{"balance/bbmsl", `{"unsettled":{"amountMicros":"0","currencyCode":"HKD"}}`, ""},
		{"balance/bbmsl", `{"unsettled":{"amountMicros":"-1","currencyCode":"HKD"}}`, "/unsettled"},
		{"balance/bbmsl", `{}`, "/unsettled"},
		{"balance/bbmsl", `{"settled":1}`, "/settled"},
	} {
		t.Run(row.path+" "+row.document[:min(60, len(row.document))], func(t *testing.T) {
			w := start(t)
			status, text := w.control(http.MethodPut, "/_control/"+row.path, row.document)
			w.answersProblem(status, text, row.pointer)
		})
	}
}

func TestDocumentsThatAreNotJSON(t *testing.T) {
	w := start(t)
	for _, path := range []string{"keys/bbmsl", "payments/bbmsl", "open/bbmsl", "balance/bbmsl", "faults"} {
		for _, document := range []string{"", "null", "7", `"x"`, "{", "[", "[] []", "{} x", `{"a":1,}`, "[,]"} {
			status, text := w.control(http.MethodPut, "/_control/"+path, document)
			if status != http.StatusBadRequest || !json.Valid([]byte(text)) {
				t.Errorf("PUT %s %s: %d %s, want 400 and JSON", path, document, status, text)
			}
		}
	}
}

func TestRefusedDocumentChangesNothing(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	err := w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{{Reference: "5", Amount: hkd(100)}, {Reference: "6"}})
	var wrong *simulator.DocumentError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 1 || wrong.Problems[0].Pointer != "/1/amount" {
		t.Fatalf("got %v, want a DocumentError at /1/amount", err)
	}
	w.code("/direct/query", `"orderId":4922`, "0000")
	w.code("/direct/query", `"orderId":5`, "SIM201")
}

func TestProblemsAreBounded(t *testing.T) {
	w := start(t)
	err := w.sim.BBMSL.SetPayments(make([]simulator.BBMSLPayment, 10_000))
	var wrong *simulator.DocumentError
	if !errors.As(err, &wrong) || len(wrong.Problems) != schemas.MaxProblems {
		t.Errorf("got %v, want %d problems", err, schemas.MaxProblems)
	}
}

func TestSeed(t *testing.T) {
	w := start(t)
	w.sim.Forget()
	seed := `{"keys":{"bbmsl":` + keys() + `},"payments":{"bbmsl":` + payments + `},"open":{"bbmsl":` + openShape +
		`},"balance":{"bbmsl":` + balance + `},"faults":` + theFault + `}`
	w.must(w.sim.Seed(strings.NewReader(seed)))
	if _, err := w.try(refundPath, `"orderId":4922,"amount":29.9`); err == nil {
		t.Error("the seeded fault did not fire")
	}
	w.code(refundPath, `"orderId":4923,"amount":100.01`, "SIM304")
	w.movements("4922 REFUND 29900000")
	w.must(simulator.New(simulator.Options{}).Seed(strings.NewReader("{}")))
}

func TestSeedProblems(t *testing.T) {
	for _, row := range []struct {
		seed     string
		pointers string
	}{
		{``, ""},
		{`[]`, ""},
		{`{} {}`, ""},
		{`{"faults":[],"faults":[]}`, ""},
		{`{"payment":{}}`, "/payment"},
		{`{"payments/bbmsl":[]}`, "/payments~1bbmsl"},
		{`{"payments":[]}`, "/payments"},
		{`{"payments":null}`, "/payments"},
		{`{"payments":{"bbmsl":null}}`, "/payments/bbmsl"},
		{`{"payments":{"nobody":[]}}`, "/payments/nobody"},
		{`{"payments":{"bbmsl":[{"reference":"1"}]},"faults":[{}],"balance":{"bbmsl":{}}}`,
			"/balance/bbmsl/unsettled /faults/0/type /faults/0/effect /payments/bbmsl/0/amount"},
	} {
		err := simulator.New(simulator.Options{}).Seed(strings.NewReader(row.seed))
		var wrong *simulator.DocumentError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want a DocumentError", row.seed, err)
			continue
		}
		var pointers []string
		for _, p := range wrong.Problems {
			pointers = append(pointers, p.Pointer)
		}
		if got := strings.Join(pointers, " "); got != row.pointers {
			t.Errorf("%s: problems at %q, want %q", row.seed, got, row.pointers)
		}
	}
}

func TestSeedThatCannotBeRead(t *testing.T) {
	broken := errors.New("disk is gone")
	if err := simulator.New(simulator.Options{}).Seed(brokenReader{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want it to wrap %v", err, broken)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// weakKey is a good SPKI PEM of an RSA key of 1024 bits.
const weakKey = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDYb4EYeB+RAv9edXXTOxC/kN/q
2paPMOZGtRufNIKMtG6JLNDmHmhnqzrFwXmVFg6VKoPBk95Ya6EkaDYXpjG9YTjn
dzCA2QooPRC4Z80/9nbJuoC0i5Mg0PB7j4FqQXTW0w4cSU60PBfncNw+HUQsGpUt
B28iKLt5TVnq1RskzwIDAQAB
-----END PUBLIC KEY-----
`
