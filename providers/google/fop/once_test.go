package fop_test

import (
	"fmt"
	"sync"
	"testing"

	"refundworker/providers"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/seal"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const (
	payments    = 100
	perPayment  = 10
	refundTries = 200
)

// Half of all calls break, before the refund is taken on or after it. Whoever asks until there is an answer, under the
// same requestId, moves each refund's money once: the payments hold exactly what is refunded, so a second time would
// leave another refund without its own.
func TestAThousandRefundsMoveTheirMoneyOnce(t *testing.T) {
	for _, api := range []fop.API{fop.RedirectFOP, fop.CardFOP} {
		t.Run(string(api), func(t *testing.T) {
			w := newWorld(t, api, seal.Plain, nil)
			w.breakHalf(t)
			part, whole := money(t, "1.25", "EUR"), money(t, "12.50", "EUR")
			var list []simulator.GooglePayment
			for n := range payments {
				list = append(list, simulator.GooglePayment{Reference: fmt.Sprintf("cap-%d", n), Account: account, Amount: whole})
			}
			if err := w.sim.Google.SetPayments(list); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for n := range payments {
				wg.Go(func() {
					for k := range perPayment {
						r := request(fmt.Sprintf("cap-%d", n), part)
						r.RequestID += schemas.RequestID(fmt.Sprintf(":%d", k))
						w.untilAnswered(t, r)
					}
				})
			}
			wg.Wait()
			w.wantEachOnce(t)
		})
	}
}

// breakHalf has a quarter of the calls dropped before their effect, and a third of the rest after it.
func (w *world) breakHalf(t *testing.T) {
	t.Helper()
	if err := w.sim.SetFaults([]simulator.Fault{
		{Type: simulator.TypeGoogle, Operation: "refund", Probability: 0.25, Seed: 11, Effect: simulator.EffectDropBefore},
		{Type: simulator.TypeGoogle, Operation: "refund", Probability: 1.0 / 3, Seed: 12, Effect: simulator.EffectDropAfter},
	}); err != nil {
		t.Fatal(err)
	}
}

// untilAnswered asks as the worker does: again and again, each attempt being one more that may have taken effect.
func (w *world) untilAnswered(t *testing.T, r providers.Request) {
	for r.Attempt = 1; r.Attempt <= refundTries; r.Attempt++ {
		res, err := w.Refund(t.Context(), r)
		if err == nil {
			if res.Status != providers.Acknowledged {
				t.Errorf("%s: got %+v, want acknowledged", r.RequestID, res)
			}
			return
		}
		if kind := providers.KindOf(err); kind != providers.Unknown {
			t.Errorf("%s: got %v, want unknown", r.RequestID, err)
			return
		}
	}
	t.Errorf("%s: no answer in %d tries", r.RequestID, refundTries)
}

func (w *world) wantEachOnce(t *testing.T) {
	t.Helper()
	moved := map[string]int{}
	for _, line := range w.sim.Ledger() {
		moved[line.Key]++
		if line.Kind != simulator.MovementRefund || line.Amount != money(t, "1.25", "EUR") {
			t.Errorf("%s: got %s of %v, want a refund of 1.25 EUR", line.Key, line.Kind, line.Amount)
		}
	}
	for n := range payments {
		for k := range perPayment {
			if id := fmt.Sprintf("r-cap-%d:%d", n, k); moved[id] != 1 {
				t.Errorf("%s: moved %d times, want once", id, moved[id])
			}
		}
	}
	if got := len(w.sim.Ledger()); got != payments*perPayment {
		t.Errorf("movements: got %d, want %d", got, payments*perPayment)
	}
}
