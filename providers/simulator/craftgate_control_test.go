package simulator_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

const (
	tenLira       = `{"amountMicros":"10000000","currencyCode":"TRY"}`
	craftgateKeys = `[{"apiKey":"test-api-key","secretKey":"test-secret-key","webhookKey":"test-hook-key"}]`
)

func TestCraftgateDocuments(t *testing.T) {
	one := func(members string) string { return `[{"reference":"1","amount":` + tenLira + members + `}]` }
	for _, row := range []struct{ path, document, pointer string }{
		{"payments/craftgate", `[]`, ""},
		{"payments/craftgate", one(``), ""},
		{"payments/craftgate", one(`,"sameDay":true,"behaviour":"WAITING","lookups":3,"takes":"1s"`), ""},
		{"payments/craftgate", one(`,"behaviour":"REQUIRES_DAY_END"`), ""},
		{"payments/craftgate", one(`,"transactions":[{"reference":"1","amount":` + tenLira + `}]`), ""},
		{"payments/craftgate", one(`,"transactions":[]`), ""},
		{"payments/craftgate", one(`,"transactions":{}`), "/0/transactions"},
		{"payments/craftgate", one(`,"transactions":[{"reference":"1","amount":{"amountMicros":"9990000","currencyCode":"TRY"}}]`), "/0/transactions"},
		{"payments/craftgate", one(`,"transactions":[{"reference":"1","amount":{"amountMicros":"10000000","currencyCode":"USD"}}]`), "/0/transactions/0/amount"},
		{"payments/craftgate", one(`,"transactions":[{"reference":"1","amount":{"amountMicros":"20000000","currencyCode":"TRY"}},{"reference":"2","amount":{"amountMicros":"-10000000","currencyCode":"TRY"}}]`), "/0/transactions/1/amount"},
		{"payments/craftgate", one(`,"transactions":[{"reference":"x","amount":` + tenLira + `}]`), "/0/transactions/0/reference"},
		{"payments/craftgate", one(`,"transactions":[{"reference":"7","amount":` + tenLira + `},{"reference":"7","amount":` + tenLira + `}]`), "/0/transactions/1/reference"},
		{"payments/craftgate", one(`,"transactions":[{"id":"7"}]`), "/0/transactions/0/id"},
		{"payments/craftgate", one(`,"behaviour":"waiting"`), "/0/behaviour"},
		{"payments/craftgate", one(`,"behaviour":"MIXED"`), "/0/behaviour"},
		{"payments/craftgate", one(`,"lookups":1`), "/0/lookups"},
		{"payments/craftgate", one(`,"behaviour":"WAITING","lookups":-1`), "/0/lookups"},
		{"payments/craftgate", one(`,"takes":"soon"`), "/0/takes"},
		{"payments/craftgate", one(`,"takes":"61s"`), "/0/takes"},
		{"payments/craftgate", one(`,"takes":"-1s"`), "/0/takes"},
		{"payments/craftgate", one(`,"card":"4111111111111111"`), "/0/card"},
		{"payments/craftgate", `[{"reference":"x","amount":` + tenLira + `}]`, "/0/reference"},
		{"payments/craftgate", `[{"reference":"1","amount":` + tenLira + `},{"reference":"1","amount":` + tenLira + `}]`, "/1/reference"},
		{"payments/craftgate", `[{"reference":"1","amount":{"amountMicros":"10000000","currencyCode":"HKD"}}]`, "/0/amount"},
		{"payments/craftgate", `[{"reference":"1","amount":{"amountMicros":"1","currencyCode":"KWD"}}]`, "/0/amount"},
		{"open/craftgate", `{"amount":` + tenLira + `,"sameDay":true,"behaviour":"FAILURE"}`, ""},
		{"open/craftgate", `{"amount":` + tenLira + `,"behaviour":"MIXED"}`, "/behaviour"},
		{"open/craftgate", `{}`, "/amount"},
		{"keys/craftgate", craftgateKeys, ""},
		{"keys/craftgate", `[{"apiKey":"","secretKey":"s"}]`, "/0/apiKey"},
		{"keys/craftgate", `[{"apiKey":"a","secretKey":""}]`, "/0/secretKey"},
		{"keys/craftgate", `[{"apiKey":"a","secretKey":"s"},{"apiKey":"a","secretKey":"t"}]`, "/1/apiKey"},
		{"keys/craftgate", `[{"apiKey":"a","secretKey":"s","hook":"h"}]`, "/0/hook"},
		{"faults", `[{"type":"craftgate","operation":"lookup","effect":"refuse","code":"UNKNOWN"}]`, ""},
		{"faults", `[{"type":"craftgate","operation":"void","effect":"reset"}]`, "/0/operation"},
	} {
		t.Run(row.path+" "+row.document[:min(90, len(row.document))], func(t *testing.T) {
			w := start(t)
			status, text := w.control(http.MethodPut, "/_control/"+row.path, row.document)
			w.answersProblem(status, text, row.pointer)
		})
	}
}

func TestCraftgateShapeHasNoReference(t *testing.T) {
	sim := simulator.New(simulator.Options{})
	for _, shape := range []simulator.CraftgatePayment{{Reference: "1", Amount: lira(1)},
		{Amount: lira(1), Transactions: []simulator.CraftgateTransaction{{Reference: "1", Amount: lira(1)}}}} {
		if err := sim.Craftgate.SetOpen(shape); err == nil {
			t.Errorf("%+v was taken as the shape of all payments", shape)
		}
	}
}

func TestCraftgateFromSeedToLedger(t *testing.T) {
	s := startShop(t)
	s.sim.Forget()
	s.must(s.sim.Seed(strings.NewReader(`{"keys":{"craftgate":` + craftgateKeys + `},"payments":{"craftgate":[
		{"reference":"771","amount":` + tenLira + `,"sameDay":true,"transactions":[{"reference":"9001","amount":` + tenLira + `}]}]},
		"open":{"craftgate":{"amount":` + tenLira + `}}}`)))
	s.get(key(s.request(http.MethodPost, wholePath, `{"paymentId":771}`), "k-1"))
	s.get(key(s.request(http.MethodPost, itemPath, `{"paymentTransactionId":5,"refundPrice":1}`), "k-2"))
	_, text := s.control(http.MethodGet, ledgerPath, "")
	want := `{"type":"craftgate","reference":"771","kind":"CANCEL","amount":` + tenLira + `,"key":"k-1","providerRefundId":"4000000001","at":"2031-03-04T05:06:07Z"}
{"type":"craftgate","reference":"5","kind":"REFUND","amount":{"amountMicros":"1000000","currencyCode":"TRY"},"key":"k-2","providerRefundId":"5000000001","at":"2031-03-04T05:06:07Z"}
`
	if text != want {
		t.Errorf("ledger is\n%swant\n%s", text, want)
	}
	s.sim.Forget()
	s.refused(s.request(http.MethodGet, payPath, ""), "401 9001")
	s.movements()
}

// Faults name a call by operation and payment, whichever id the call carries.
func TestCraftgateFaultsFindTheirPayment(t *testing.T) {
	s := startShop(t, twoItems(), simulator.CraftgatePayment{Reference: "9", Amount: lira(50_00), SameDay: true})
	s.ok(http.MethodPost, itemPath, item25)
	s.ok(http.MethodPost, wholePath, `{"paymentId":9}`)
	s.must(s.sim.Craftgate.SetOpen(simulator.CraftgatePayment{Amount: lira(1)}))
	for _, row := range []struct {
		operation, reference string
		calls                [][2]string
	}{
		{"refund", "730001", [][2]string{{wholePath, whole}}},
		{"refund", "10", [][2]string{{wholePath, `{"paymentId":10}`}}},
		{"refund-transaction", "730001", [][2]string{{itemPath, item25}, {itemPath, `{"paymentTransactionId":830002}`}}},
		{"refund-transaction", "10", [][2]string{{itemPath, `{"paymentTransactionId":10}`}}},
		{"lookup", "730001", [][2]string{{payPath, ""}, {payPath + "/refunds", ""}, {payPath + "/transactions", ""},
			{payPath + "/transactions/830001/refunds", ""}, {itemPath + "/5000000001", ""}, {wholeReports + "?paymentId=730001", ""}, {partReports + "?paymentId=730001", ""}}},
		{"lookup", "9", [][2]string{{wholePath + "/4000000001", ""}}},
	} {
		for _, c := range row.calls {
			method := http.MethodPost
			if c[1] == "" {
				method = http.MethodGet
			}
			s.faults(simulator.Fault{Operation: row.operation, Reference: row.reference, Effect: simulator.EffectRefuse, Code: "SCRIPTED"})
			s.refused(s.request(method, c[0], c[1]), "422 SCRIPTED")
			r := s.request(method, c[0], c[1])
			r.Header.Set("x-signature", "")
			s.refused(r, "401 9004") // a scripted refusal is for callers that are let in
			s.faults(simulator.Fault{Operation: row.operation, Reference: "1", Effect: simulator.EffectRefuse, Code: "SCRIPTED"})
			if method == http.MethodGet {
				s.ok(method, c[0], "")
			}
		}
	}
	s.movements("730001 REFUND 25500000", "9 CANCEL 50000000")
}

// A refund whose answer is lost has happened, and one that never arrived has not; the key tells either way.
func TestCraftgateLostAnswers(t *testing.T) {
	for _, row := range []struct {
		effect   simulator.Effect
		executed bool
	}{
		{simulator.EffectDropBefore, false}, {simulator.EffectReset, false},
		{simulator.EffectDropAfter, true},
	} {
		s := startShop(t, twoItems())
		s.faults(simulator.Fault{Operation: "refund", Effect: row.effect, Times: 1})
		if _, _, err := s.send(key(s.request(http.MethodPost, wholePath, whole), "k-1")); err == nil {
			t.Errorf("%s: an answer came", row.effect)
		}
		if got := len(s.sim.Ledger()) == 1; got != row.executed {
			t.Errorf("%s: executed is %v, want %v", row.effect, got, row.executed)
		}
		s.get(key(s.request(http.MethodPost, wholePath, whole), "k-1"))
		s.movements("730001 REFUND 100000000")
	}
}

func TestCraftgateBrokenAnswers(t *testing.T) {
	s := startShop(t, twoItems())
	for _, fault := range []simulator.Fault{{Effect: simulator.EffectGarbage}, {Effect: simulator.EffectStatus, Code: "502"},
		{Effect: simulator.EffectSlowBody, For: 10 * time.Millisecond}} {
		fault.Operation = "lookup"
		s.faults(fault)
		status, text, err := s.send(s.request(http.MethodGet, payPath, ""))
		whole := strings.HasPrefix(text, `{"data":{`)
		if err != nil && !errors.Is(err, io.EOF) || whole != (fault.Effect == simulator.EffectSlowBody) {
			t.Errorf("%s: %d %q %v", fault.Effect, status, text, err)
		}
	}
}
