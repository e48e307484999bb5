package simulator_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"refundworker/providers/simulator"
)

// together runs calls at once and counts the response codes. Calls are built before the first one starts.
func (w *world) together(n int, build func(i int) func() (answer, error)) map[string]int {
	w.t.Helper()
	codes := make([]string, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			send := build(i)
			ready.Done()
			ready.Wait()
			a, err := send()
			if err != nil {
				a.ResponseCode = err.Error()
			}
			codes[i] = a.ResponseCode
		})
	}
	done.Wait()
	count := map[string]int{}
	for _, code := range codes {
		count[code]++
	}
	return count
}

func TestHundredRefundsAtOnceMoveMoneyOnce(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	got := w.together(100, func(i int) func() (answer, error) {
		if i%2 == 0 {
			return w.prepared("/direct/refund", `"merchantReference":"m-1","amount":1`)
		}
		return w.prepared(refundPath, refund)
	})
	if got["0000"] != 1 || got["SIM301"] != 99 {
		t.Errorf("answers %v, want one 0000 and 99 SIM301", got)
	}
	w.movements(refundLine)
}

func TestHundredRefundsOfAnOrderThatIsCreatedByThem(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(100_00)}))
	var want []string
	for _, reference := range []string{"new-1", "new-2", "new-3", "new-4", "new-5"} {
		got := w.together(100, func(int) func() (answer, error) {
			return w.prepared(refundPath, `"merchantReference":"`+reference+`","amount":1`)
		})
		if got["0000"] != 1 || got["SIM301"] != 99 {
			t.Errorf("answers %v, want one 0000 and 99 SIM301", got)
		}
		want = append(want, reference+" REFUND 1000000")
		w.movements(want...)
	}
}

// Without sockets in between the calls overlap far more.
func TestRefundsAtOnceWithoutSockets(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(100_00)}))
	for id := range 20 {
		body := sealed(fmt.Sprintf(`{"merchantId":"700123","orderId":%d,"amount":1}`, id+1))
		var done sync.WaitGroup
		for range 50 {
			done.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/bbmsl"+refundPath, strings.NewReader(body))
				w.sim.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		done.Wait()
		if got := len(w.sim.Ledger()); got != id+1 {
			t.Fatalf("%d movements of %d orders, want one of each", got, id+1)
		}
	}
}

func TestHundredVoidsAtOnce(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSuccess)
	got := w.together(100, func(int) func() (answer, error) { return w.prepared("/direct/void", `"orderId":4922`) })
	if got["0000"] != 1 || got["SIM305"] != 99 {
		t.Errorf("answers %v, want one 0000 and 99 SIM305", got)
	}
	w.movements("4922 CANCEL 129900000")
}

// TestNoMoreMoneyThanTheRulesAllow throws refunds, voids, new listings and lost answers at a few orders at
// once. However they fall, in the end each order has moved once, and never above its amount.
func TestNoMoreMoneyThanTheRulesAllow(t *testing.T) {
	w := start(t)
	list := []simulator.BBMSLPayment{
		{Reference: "1", MerchantReference: "a", Amount: hkd(500)}, {Reference: "2", Amount: hkd(500)},
		{Reference: "3", Amount: hkd(500), Status: "SUCCESS"}, {Reference: "four", Amount: hkd(500)},
	}
	w.must(w.sim.BBMSL.SetPayments(list))
	w.faults(simulator.Fault{Probability: 0.3, Seed: 1, Effect: simulator.EffectDropAfter},
		simulator.Fault{Probability: 0.2, Seed: 2, Effect: simulator.EffectReset},
		simulator.Fault{Operation: "void", Every: 3, Effect: simulator.EffectGarbage})
	members := []string{`"orderId":1`, `"merchantReference":"a"`, `"orderId":2`, `"orderId":3`, `"merchantReference":"four"`}
	w.together(300, func(i int) func() (answer, error) {
		random := rand.New(rand.NewPCG(uint64(i), 5))
		handle := members[random.IntN(len(members))]
		switch random.IntN(8) {
		case 0:
			return func() (answer, error) {
				return answer{}, w.sim.BBMSL.SetPayments(list[:random.IntN(len(list)+1)])
			}
		case 1, 2:
			return w.prepared("/direct/void", handle)
		}
		return w.prepared(refundPath, fmt.Sprintf(`%s,"amount":%d.%02d`, handle, random.IntN(7), random.IntN(100)))
	})
	w.faults()
	w.must(w.sim.BBMSL.SetPayments(list))
	for _, handle := range members {
		w.ask(refundPath, handle+`,"amount":5`)
		w.ask("/direct/void", handle)
	}
	moved := map[string]int{}
	for _, m := range w.sim.Ledger() {
		moved[m.Reference]++
		if m.Amount.Micros > 5_000_000 || m.Amount.Micros <= 0 {
			t.Errorf("%s of %s: %s", m.Kind, m.Reference, m.Amount)
		}
	}
	if want := map[string]int{"1": 1, "2": 1, "3": 1, "four": 1}; !maps.Equal(moved, want) {
		t.Errorf("movements by payment %v, want %v", moved, want)
	}
}
