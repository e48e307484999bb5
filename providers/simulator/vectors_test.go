package simulator_test

import (
	"encoding/json"
	"testing"

	"refundworker/providers/simulator"
)

type signatureCase struct {
	Name, Path, RequestString, ExpectedHTTPBody, Signature string
}

func TestSignatureVectors(t *testing.T) {
	var vectors struct {
		Cases, NegativeCases []signatureCase
	}
	readJSON("request-signature", &vectors)
	if len(vectors.Cases) != 5 || len(vectors.NegativeCases) != 1 {
		t.Fatalf("got %d and %d vectors, want 5 and 1", len(vectors.Cases), len(vectors.NegativeCases))
	}
	for _, v := range vectors.Cases {
		t.Run(v.Name, func(t *testing.T) {
			w := start(t)
			w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(129_90)}))
			if got := w.codeOf(v.Path, v.ExpectedHTTPBody); got != "0000" {
				t.Errorf("response code %s, want 0000", got)
			}
		})
	}
	for _, v := range vectors.NegativeCases {
		t.Run(v.Name, func(t *testing.T) {
			w := start(t)
			w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(129_90)}))
			if got := w.codeOf("/hosted-checkout/refund", envelope(v.RequestString, v.Signature)); got != "SIM103" {
				t.Errorf("response code %s, want SIM103", got)
			}
			w.movements()
		})
	}
}

func (w *world) codeOf(path, body string) string {
	w.t.Helper()
	_, text, err := w.post(w.t.Context(), path, body)
	w.must(err)
	var a answer
	w.must(json.Unmarshal([]byte(text), &a))
	return a.ResponseCode
}
