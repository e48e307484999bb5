package simulator_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"refundworker/providers/simulator"
)

// A hundred callers ask for a third of a payment each, at once: three of them get it, whoever they are.
func TestGooglePaymentIsNeverRefundedAboveItsAmount(t *testing.T) {
	w := startPlain(t)
	counts := w.together(100, func(i int) []byte {
		return w.redirect(fmt.Sprintf("r-%d", i), "pay-7f20:0001", "16000000")
	})
	if counts[http.StatusOK] != 3 || counts[http.StatusBadRequest] != 97 {
		t.Errorf("answers by status %v, want three 200 and 97 400", counts)
	}
	if got := len(w.sim.Ledger()); got != 3 {
		t.Errorf("%d movements, want 3", got)
	}
}

// The same request comes a hundred times at once, with a fresh timestamp each: money moves once.
func TestGoogleRepeatsAtOnceMoveMoneyOnce(t *testing.T) {
	w := startPlain(t)
	var mu sync.Mutex
	counts := w.together(100, func(i int) []byte {
		mu.Lock()
		defer mu.Unlock()
		w.millis.Store(vectorNow + int64(i))
		return w.redirect("r-1", "pay-7f20:0001", "1000000")
	})
	if counts[http.StatusOK] != 100 {
		t.Errorf("answers by status %v, want 100 times 200", counts)
	}
	w.lines("pay-7f20:0001 REFUND 1000000 r-1")
}

// Requests, repeats, lost answers and new listings fall on an open payment at random. In the end each request
// has moved its money at most once and the payment has given back no more than it took.
func TestGoogleLedgerHoldsUnderFaults(t *testing.T) {
	w := startPlain(t)
	w.must(w.sim.Google.SetOpen(simulator.GooglePayment{Amount: money("50000000", "EUR")}))
	w.must(w.sim.SetFaults([]simulator.Fault{
		{Type: simulator.TypeGoogle, Operation: "refund", Effect: simulator.EffectDropAfter, Probability: 0.3, Seed: 1},
		{Type: simulator.TypeGoogle, Operation: "refund", Effect: simulator.EffectReset, Probability: 0.2, Seed: 2}}))
	var done sync.WaitGroup
	for i := range 300 {
		done.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			if random.IntN(20) == 0 {
				_ = w.sim.Google.SetPayments(nil) // cannot be refused
			}
			id := random.IntN(40)
			capture := fmt.Sprintf("open-%d", id%3)
			_, _ = w.send(redirectPath, "application/json", // an answer may be lost
				w.redirect(fmt.Sprintf("r-%d", id), capture, fmt.Sprintf("%d000000", 3+id%5)))
		})
	}
	done.Wait()
	given, keys := map[string]int64{}, map[string]bool{}
	for _, m := range w.sim.Ledger() {
		given[m.Reference] += m.Amount.Micros
		if keys[m.Key] {
			t.Errorf("%s moved twice", m.Key)
		}
		keys[m.Key] = true
	}
	for reference, micros := range given {
		if micros > 50_000_000 {
			t.Errorf("%s gave back %d micros, more than it took", reference, micros)
		}
	}
	if len(keys) < 15 {
		t.Errorf("only %d refunds moved; the test shows little", len(keys))
	}
}

func (w *googleWorld) together(n int, build func(i int) []byte) map[int]int {
	statuses := make([]int, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			body := build(i)
			ready.Done()
			ready.Wait()
			a, err := w.send(redirectPath, "application/json", body)
			if err != nil {
				w.Errorf("call %d: %v", i, err)
			}
			statuses[i] = a.status
		})
	}
	done.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	return counts
}

// Rules of the protocol that no published case names.
func TestGoogleProtocolRules(t *testing.T) {
	redirect, card := string(startPlain(t).redirect("r-1", "pay-7f20:0001", "1000000")),
		string(startPlain(t).card("r-1", "cap_Q9xL-31", "1000000"))
	for _, row := range []struct {
		rule, path, body string
		status           int
		code             string
	}{
		{"flat needs minor", cardPath, strings.Replace(card, `"minor":0,`, ``, 1), 400, "MISSING_REQUIRED_FIELD"},
		{"flat needs revision", cardPath, strings.Replace(card, `,"revision":0`, ``, 1), 400, "MISSING_REQUIRED_FIELD"},
		{"an echo's message makes no refund an echo", cardPath, strings.Replace(strings.Replace(card,
			`"paymentIntegratorAccountId":"LanternCards_CAD",`, ``, 1), `"captureRequestId"`, `"clientMessage":"x","captureRequestId"`, 1),
			400, "MISSING_REQUIRED_FIELD"},
		{"a written out major of 0 is not served", redirectPath, strings.Replace(redirect, `"major":1`, `"major":0`, 1), 400, "invalidApiVersion"},
		{"the version goes before missing fields", redirectPath,
			`{"requestHeader":{"protocolVersion":{"major":2}}}`, 400, "invalidApiVersion"},
		{"a duplicate name deep inside", redirectPath, strings.Replace(redirect, `"currencyCode":"EUR"`,
			`"currencyCode":"EUR","x":[{"a":1,"a":2}]`, 1), 400, "invalidDecryptedRequest"},
		{"bytes that are no UTF-8", redirectPath, strings.Replace(redirect, "pay-", "\xff", 1), 400, "invalidDecryptedRequest"},
		{"nothing at all", redirectPath, "", 400, "invalidDecryptedRequest"},
		{"an unknown currency", redirectPath, strings.Replace(redirect, `"EUR"`, `"XYZ"`, 1), 400, "invalidFieldValue"},
		{"a capture outside the alphabet", redirectPath, strings.Replace(redirect, "pay-7f20:0001", "pay/1", 1), 400, "invalidFieldValue"},
		{"the clock goes before the payment", redirectPath, strings.NewReplacer("pay-7f20:0001", "nowhere",
			"1780315200000", "1780315139999").Replace(redirect), 400, "requestTimestampOutOfRange"},
		{"a card payment through the redirect account", redirectPath,
			strings.Replace(redirect, "pay-7f20:0001", "cap_Q9xL-31", 1), 404, "invalidIdentifier"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			w := startPlain(t)
			a := w.post(row.path, []byte(row.body))
			if a.status != row.status || a.code() != row.code {
				t.Errorf("%d %q (%s), want %d %q", a.status, a.code(), a.body, row.status, row.code)
			}
			w.lines()
		})
	}
}

// Whatever order and spacing its members have, a repeat is the same request; one more member makes it another.
func TestGoogleContentIsComparedByMeaning(t *testing.T) {
	w := startPlain(t)
	body := string(w.redirect("r-1", "pay-7f20:0001", "1000000"))
	reordered := `{"refundAmount":{"currencyCode":"EUR", "amountMicros":"1000000"},"captureRequestId":"pay-7f20:0001",` +
		body[1:strings.Index(body, `"captureRequestId"`)]
	reordered = strings.TrimRight(reordered, ", \n\t") + "}"
	for _, row := range []struct {
		body   string
		status int
	}{{body, 200}, {reordered, 200}, {strings.Replace(body, `{"requestHeader"`, `{"future":1,"requestHeader"`, 1), 412}} {
		if a := w.post(redirectPath, []byte(row.body)); a.status != row.status {
			t.Errorf("%s: status %d (%s), want %d", row.body, a.status, a.body, row.status)
		}
	}
	w.lines("pay-7f20:0001 REFUND 1000000 r-1")
}

// The two APIs have a method each, so the same id in both is two requests.
func TestGoogleIdIsPerMethod(t *testing.T) {
	w := startPlain(t)
	w.must(w.sim.Google.SetOpen(simulator.GooglePayment{Amount: money("50000000", "EUR")}))
	redirect := w.post(redirectPath, w.redirect("r-1", "both", "1000000"))
	card := w.post(cardPath, []byte(strings.Replace(string(w.card("r-1", "both", "2000000")), cardAccount, euroAccount, 1)))
	if redirect.result() != "acknowledged" || card.result() != "ACKNOWLEDGED" {
		t.Errorf("answers %s and %s, want both acknowledged", redirect.body, card.body)
	}
	w.lines("both REFUND 1000000 r-1", "both REFUND 2000000 r-1")
}

// A scripted refusal has its code's own status and its family's spelling, and moves nothing.
func TestGoogleScriptedRefusals(t *testing.T) {
	for _, row := range []struct {
		path, code, want string
		status           int
	}{
		{redirectPath, "USER_ACTION_IN_PROGRESS", "userActionInProgress", 423},
		{cardPath, "USER_ACTION_IN_PROGRESS", "USER_ACTION_IN_PROGRESS", 423},
		{redirectPath, "FORBIDDEN", "forbidden", 403},
		{cardPath, "INVALID_PAYLOAD_SIGNATURE", "INVALID_PAYLOAD_SIGNATURE", 401},
		{redirectPath, "IDEMPOTENCY_VIOLATION", "idempotencyViolation", 412},
	} {
		w := startPlain(t)
		w.must(w.sim.SetFaults([]simulator.Fault{{Type: simulator.TypeGoogle, Operation: "refund",
			Effect: simulator.EffectRefuse, Code: row.code}}))
		body := w.redirect("r-1", "pay-7f20:0001", "1000000")
		if row.path == cardPath {
			body = w.card("r-1", "cap_Q9xL-31", "1000000")
		}
		if a := w.post(row.path, body); a.status != row.status || a.code() != row.want {
			t.Errorf("%s: %d %q, want %d %q", row.code, a.status, a.code(), row.status, row.want)
		}
		w.lines()
	}
}
