package simulator_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"refundworker/providers/simulator"
)

type googleCase struct {
	ID, Direction string
	Body          json.RawMessage
	Raw           *string
	Expect        googleExpect
}

type googleExpect struct {
	HTTP             int
	HTTPAlternatives []int
	Code             string
	CodeAlternatives []string
	Result, Field    string
	ClientMessage    string
	BodyMayBeEmpty   bool
	NewRefunds       *int
	SameAsStep       *int
}

func (c googleCase) body() []byte {
	if c.Raw != nil {
		return []byte(*c.Raw)
	}
	return c.Body
}

// Every request of the published cases gets the answer that its case names. The first of several allowed codes
// is the one that the simulator gives.
func TestGoogleRequestVectors(t *testing.T) {
	for _, file := range []struct {
		name, path string
		cases      int
	}{
		{"asynchronous_refund_redirect.json", redirectPath, 51},
		{"asynchronous_refund_redirect.json", "/redirect-fop-v1/asynchronousRefund", 51},
		{"asynchronous_refund_card.json", cardPath, 17},
		{"echo.json", echoPath, 3},
	} {
		var vector struct{ Cases []googleCase }
		readVector(t, file.name, &vector)
		requests := slices.DeleteFunc(vector.Cases, func(c googleCase) bool { return c.Direction != "request" })
		if len(requests) != file.cases {
			t.Errorf("%s has %d requests, want %d", file.name, len(requests), file.cases)
		}
		for _, c := range requests {
			t.Run(file.path+" "+c.ID, func(t *testing.T) {
				w := startPlain(t)
				w.post(redirectPath, w.redirect("earlier", "pay-7f20:0002", "40000000"))
				before := len(w.sim.Ledger())
				a := w.post(file.path, c.body())
				w.fits(a, c.Expect)
				moved := 0
				if a.status == http.StatusOK && file.path != echoPath {
					moved = 1
				}
				if got := len(w.sim.Ledger()) - before; got != moved {
					t.Errorf("%d movements, want %d", got, moved)
				}
			})
		}
	}
}

// fits compares an answer with what a case expects.
func (w *googleWorld) fits(a googleAnswer, want googleExpect) {
	w.Helper()
	if a.status != want.HTTP && !slices.Contains(want.HTTPAlternatives, a.status) {
		w.Errorf("status %d (%s), want %d", a.status, a.body, want.HTTP)
	}
	if want.BodyMayBeEmpty && len(a.body) == 0 {
		return
	}
	if got := a.code(); got != want.Code && want.Code != "" {
		w.Errorf("code %q (%s), want %q", got, a.body, want.Code)
	}
	if got := a.result(); want.Result != "" && got != want.Result {
		w.Errorf("result %q, want %q", got, want.Result)
	}
	if got, _ := a.document["clientMessage"].(string); want.ClientMessage != "" && got != want.ClientMessage {
		w.Errorf("clientMessage %q, want %q", got, want.ClientMessage)
	}
	if !strings.Contains(string(a.body), want.Field) {
		w.Errorf("answer %s does not name %s", a.body, want.Field)
	}
	if _, ok := a.document["responseHeader"]; !ok && a.status != http.StatusServiceUnavailable {
		w.Errorf("answer %s has no responseHeader", a.body)
	}
}

type googleSequence struct {
	ID              string
	Parallel        bool
	NewRefundsTotal int
	Steps           []struct {
		AtMillis string
		Inject   string
		Body     json.RawMessage
		Expect   googleExpect
	}
}

// What an id means over time: a 200 is remembered with its content, an error is not.
func TestGoogleIdempotencySequences(t *testing.T) {
	var vector struct{ Sequences []googleSequence }
	readVector(t, "idempotency_sequences.json", &vector)
	if len(vector.Sequences) != 12 {
		t.Errorf("got %d sequences, want 12", len(vector.Sequences))
	}
	for _, sequence := range vector.Sequences {
		t.Run(sequence.ID, func(t *testing.T) {
			if w := startPlain(t); sequence.Parallel {
				w.playTogether(sequence)
			} else {
				w.play(sequence)
			}
		})
	}
}

func (w *googleWorld) play(sequence googleSequence) {
	var answers []googleAnswer
	for i, step := range sequence.Steps {
		at, err := strconv.ParseInt(step.AtMillis, 10, 64)
		w.must(err)
		w.millis.Store(at)
		w.inject(step.Inject)
		before := len(w.sim.Ledger())
		a := w.post(redirectPath, step.Body)
		answers = append(answers, a)
		w.fits(a, step.Expect)
		if got := len(w.sim.Ledger()) - before; got != *step.Expect.NewRefunds {
			w.Errorf("step %d: %d new refunds, want %d", i, got, *step.Expect.NewRefunds)
		}
		if same := step.Expect.SameAsStep; same != nil && !reflect.DeepEqual(untimed(a), untimed(answers[*same])) {
			w.Errorf("step %d answers %s, want the answer of step %d: %s", i, a.body, *same, answers[*same].body)
		}
	}
}

// untimed is a document without its timestamp.
func untimed(a googleAnswer) map[string]any {
	var copied map[string]any
	if json.Unmarshal(a.body, &copied) == nil {
		delete(copied, "responseHeader")
	}
	return copied
}

// inject makes the change of state that a step asks for.
func (w *googleWorld) inject(change string) {
	w.Helper()
	reference, isPayment := strings.CutPrefix(change, "createPayment:")
	switch {
	case change == "":
	case change == "storeDown":
		w.must(w.sim.SetFaults([]simulator.Fault{{Type: simulator.TypeGoogle, Operation: "refund",
			Effect: simulator.EffectStatus, Code: "503", Times: 1}}))
	case isPayment && strings.HasPrefix(reference, "pay-sek"):
		w.must(w.sim.Google.SetPayments(append(slices.Clone(vectorPayments), simulator.GooglePayment{
			Reference: reference, Account: "NorthQuayRedirect_SEK", Amount: money("48500000", "SEK")})))
	case isPayment:
		w.must(w.sim.Google.SetPayments(append(slices.Clone(vectorPayments), simulator.GooglePayment{
			Reference: reference, Account: euroAccount, Amount: money("48500000", "EUR")})))
	default:
		w.Fatalf("unknown change %q", change)
	}
}

func (w *googleWorld) playTogether(sequence googleSequence) {
	var done sync.WaitGroup
	answers := make([]googleAnswer, len(sequence.Steps))
	for i, step := range sequence.Steps {
		done.Go(func() {
			a, err := w.send(redirectPath, "application/json", step.Body)
			if err != nil {
				w.Errorf("step %d: %v", i, err)
			}
			answers[i] = a
		})
	}
	done.Wait()
	for i, step := range sequence.Steps {
		w.fits(answers[i], step.Expect)
	}
	if got := len(w.sim.Ledger()); got != sequence.NewRefundsTotal {
		w.Errorf("%d new refunds, want %d", got, sequence.NewRefundsTotal)
	}
}
