package simulator_test

import (
	"net/http"
	"testing"

	"refundworker/providers/simulator"
)

func TestGooglePaymentDocuments(t *testing.T) {
	const euro = `{"amountMicros":"10000000","currencyCode":"EUR"}`
	for _, row := range []struct{ path, document, pointers string }{
		{"payments", `[]`, ""},
		{"payments", `[{"reference":"a:1","account":"x","amount":` + euro + `},{"reference":"a:1","account":"y","amount":` + euro + `}]`, ""},
		{"payments", `[{}]`, "/0/reference /0/account /0/amount"},
		{"payments", `[{"reference":"a/1","account":"x","amount":` + euro + `}]`, "/0/reference"},
		{"payments", `[{"reference":"a","account":"x","amount":` + euro + `},{"reference":"a","account":"x","amount":` + euro + `}]`, "/1"},
		{"payments", `[{"reference":"a","account":"x","amount":{"amountMicros":"0","currencyCode":"EUR"}}]`, "/0/amount"},
		{"payments", `[{"reference":"a","account":"x","amount":12}]`, "/0/amount"},
		{"payments", `[{"reference":"a","account":"x","status":"PAID","amount":` + euro + `}]`, "/0/status"},
		{"open", `{"account":"x","amount":` + euro + `}`, ""},
		{"open", `{"amount":` + euro + `}`, ""},
		{"open", `{"reference":"a","account":"x"}`, "/reference /amount"},
		{"keys", `[{"account":"x","mode":"plain","secret":"y"}]`, "/0/secret"},
		{"keys", `[{"account":"x","mode":"pgp","publicKeys":"y"}]`, "/0/publicKeys"},
		{"keys", `[{"account":"x","mode":"ssl"}]`, "/0/mode"},
	} {
		w := startGoogle(t)
		_, text := w.control(http.MethodPut, "/_control/"+row.path+"/google", row.document)
		if got := pointersOf(text); got != row.pointers {
			t.Errorf("%s %s: problems at %q (%s), want %q", row.path, row.document, got, text, row.pointers)
		}
	}
}

// A payment with a refund stays what it is, whatever is listed later; one without is replaced.
func TestGooglePaymentWithRefundStays(t *testing.T) {
	w := startPlain(t)
	w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000"))
	more := simulator.GooglePayment{Reference: "pay-7f20:0001", Account: euroAccount, Amount: money("99000000", "EUR")}
	for _, list := range [][]simulator.GooglePayment{{more}, nil} {
		w.must(w.sim.Google.SetPayments(list))
		if a := w.post(redirectPath, w.redirect("r-2", "pay-7f20:0001", "1000000")); a.code() != "preconditionViolation" {
			t.Errorf("listed as %v: %d %s, want preconditionViolation", list, a.status, a.body)
		}
		if a := w.post(redirectPath, w.redirect("r-3", "pay-7f20:0002", "1000000")); a.code() != "invalidIdentifier" {
			t.Errorf("listed as %v: %d %s, want invalidIdentifier", list, a.status, a.body)
		}
	}
	w.lines("pay-7f20:0001 REFUND 48500000 r-1")
}

// An open shape with an account is for that account alone.
func TestGoogleOpenShape(t *testing.T) {
	w := startPlain(t)
	w.must(w.sim.Google.SetOpen(simulator.GooglePayment{Account: euroAccount, Amount: money("5000000", "EUR")}))
	for _, step := range []struct {
		path   string
		body   []byte
		status int
	}{
		{redirectPath, w.redirect("r-1", "new-1", "5000000"), http.StatusOK},
		{redirectPath, w.redirect("r-2", "new-1", "1"), http.StatusBadRequest},
		{redirectPath, w.redirect("r-3", "new-2", "5000001"), http.StatusBadRequest},
		{cardPath, w.card("r-4", "new-3", "1"), http.StatusNotFound},
	} {
		if a := w.post(step.path, step.body); a.status != step.status {
			t.Errorf("%s: status %d (%s), want %d", step.body, a.status, a.body, step.status)
		}
	}
	w.lines("new-1 REFUND 5000000 r-1")
}

// What Forget drops includes accounts, payments, ids and what a payment has given back.
func TestForgetGoogle(t *testing.T) {
	w := startPlain(t)
	w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000"))
	w.sim.Forget()
	if a := w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000")); a.status != http.StatusNotFound || len(a.body) != 0 {
		t.Errorf("without accounts: %d %s, want 404 and nothing", a.status, a.body)
	}
	w.must(w.sim.Google.SetKeys([]simulator.GoogleKeys{{Account: euroAccount, Mode: simulator.GooglePlain}}))
	if a := w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "48500000")); a.code() != "invalidIdentifier" {
		t.Errorf("without payments: %d %s, want invalidIdentifier", a.status, a.body)
	}
	w.must(w.sim.Google.SetPayments(vectorPayments))
	if a := w.post(redirectPath, w.redirect("r-1", "pay-7f20:0001", "40000000")); a.status != http.StatusOK {
		t.Errorf("listed anew: %d %s, want 200", a.status, a.body)
	}
	w.lines("pay-7f20:0001 REFUND 40000000 r-1")
}
