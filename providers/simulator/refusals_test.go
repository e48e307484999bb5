package simulator_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"refundworker/providers/simulator"
)

// turnedDown checks the refusals, each as "type operation reference code".
func turnedDown(t *testing.T, sim *simulator.Server, want ...string) {
	t.Helper()
	var got []string
	for _, r := range sim.Refusals() {
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Type, r.Operation, r.Reference, r.Code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("refusals are %q, want %q", got, want)
	}
}

// Whoever tests a caller asks whether a rule of the protocol had to stop it. A query that finds nothing was not stopped, a
// stranger was not heard, and what a fault refuses breaks no rule.
func TestRefusalsOfBBMSL(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	w.code(refundPath, `"orderId":4922,"amount":200`, "SIM303")
	w.code(refundPath, refund, "0000")
	w.code(refundPath, refund, "SIM301")
	w.code("/hosted-checkout/void", `"orderId":4922`, "SIM305")
	w.code(refundPath, `"orderId":7,"amount":1`, "SIM201")
	w.code("/hosted-checkout/query", `"orderId":7`, "SIM201")
	w.faults(simulator.Fault{Effect: simulator.EffectRefuse, Code: "E1"})
	w.code(refundPath, refund, "E1")
	w.must(w.sim.BBMSL.SetKeys(nil))
	w.code(refundPath, refund, "SIM102")
	turnedDown(t, w.sim, "bbmsl refund 4922 SIM303", "bbmsl refund 4922 SIM301", "bbmsl void 4922 SIM305", "bbmsl refund 7 SIM201")
}

// A repeat that is given the first call's answer was not refused again, and what the bank declines breaks no rule.
func TestRefusalsOfCraftgate(t *testing.T) {
	waits := with(twoItems(), func(p *simulator.CraftgatePayment) { p.Behaviour, p.Lookups = simulator.CraftgateWaiting, 9 })
	declines := simulator.CraftgatePayment{Reference: "730002", Amount: lira(100_00), Behaviour: "REFUND_DECLINE"}
	rest := simulator.CraftgatePayment{Reference: "730003", Amount: lira(10_00)}
	s := startShop(t, waits, declines, rest)
	refund := func(body, name string) *http.Request { return key(s.request(http.MethodPost, itemPath, body), name) }
	const above = `{"paymentTransactionId":730003,"refundPrice":25.5}`
	s.get(refund(item25, "k-1"))
	s.refused(refund(item25, "k-2"), "422 TOO_MANY_REQUESTS")
	s.refused(refund(above, "k-1"), "422 9201")
	s.refused(refund(above, "k-3"), "422 MAY_HAVE_ALREADY_REFUNDED")
	s.refused(refund(above, "k-3"), "422 MAY_HAVE_ALREADY_REFUNDED")
	s.refused(refund(`{"paymentTransactionId":1}`, ""), "422 9102")
	s.refused(s.request(http.MethodPost, wholePath, `{"paymentId":730002}`), "422 REFUND_DECLINE")
	turnedDown(t, s.sim, "craftgate refund-transaction 730001 TOO_MANY_REQUESTS", "craftgate refund-transaction 730003 9201",
		"craftgate refund-transaction 730003 MAY_HAVE_ALREADY_REFUNDED", "craftgate refund-transaction 1 9102")
}

func TestRefusalsOfGoogle(t *testing.T) {
	w := startPlain(t)
	for _, body := range [][]byte{w.redirect("r-1", "pay-7f20:0001", "48500000"), w.redirect("r-2", "pay-7f20:0001", "1000000"),
		w.redirect("r-1", "pay-7f20:0001", "1000000"), w.redirect("r-3", "pay-none", "1000000"),
		w.redirect("r-1", "pay-7f20:0001", "48500000")} {
		w.post(redirectPath, body)
	}
	turnedDown(t, w.sim, "google refund pay-7f20:0001 PRECONDITION_VIOLATION", "google refund pay-7f20:0001 IDEMPOTENCY_VIOLATION",
		"google refund pay-none INVALID_IDENTIFIER")
	if status, text := w.control(http.MethodGet, "/_control/refusals", ""); status != http.StatusOK ||
		!strings.HasPrefix(text, firstRefusal) {
		t.Errorf("%d %q, want 200 and NDJSON that begins with %q", status, text, firstRefusal)
	}
	w.control(http.MethodDelete, "/_control", "")
	turnedDown(t, w.sim)
}

const firstRefusal = `{"type":"google","operation":"refund","reference":"pay-7f20:0001","code":"PRECONDITION_VIOLATION",` +
	`"at":"2026-06-01T12:00:00Z"}` + "\n"
