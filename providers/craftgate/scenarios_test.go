package craftgate_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/craftgate"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// first prepares and calls, as the worker does while no earlier call can have taken effect.
func (w *world) first(t *testing.T, r providers.Request) (providers.Request, providers.Result, error) {
	t.Helper()
	baseline, res, err := w.Prepare(t.Context(), r)
	r.Baseline, r.Attempt = baseline, 1
	if err != nil || res.Status != providers.NoResult {
		return r, res, err
	}
	res, err = w.Refund(t.Context(), r)
	return r, res, err
}

// behaving is payment 771 of 100.00 in two items, whose refunds end in the given way.
func behaving(t *testing.T, b simulator.CraftgateBehaviour) simulator.CraftgatePayment {
	return simulator.CraftgatePayment{Reference: "771", Amount: amount(t, "100.00", "TRY"), Behaviour: b,
		Transactions: []simulator.CraftgateTransaction{{Reference: "9001", Amount: amount(t, "60.00", "TRY")},
			{Reference: "9002", Amount: amount(t, "40.00", "TRY")}}}
}

func part(t *testing.T, id, price string) providers.Request {
	r := whole(t, "771")
	r.RequestID, r.IdempotencyKey = schemas.RequestID(id), id
	r.Amount = amount(t, price, "TRY")
	r.Options = json.RawMessage(`{"paymentTransactionId":"9001"}`)
	return r
}

// TestEveryGroup: each refusal, through the whole protocol. What the simulator books as failed is listed afterwards; the
// other groups are refused at the door.
func TestEveryGroup(t *testing.T) {
	for _, g := range craftgate.Groups() {
		t.Run(g.Name, func(t *testing.T) {
			w := newWorld(t, simulator.CraftgatePayment{}, nil)
			booked := w.sim.Craftgate.SetPayments([]simulator.CraftgatePayment{behaving(t, simulator.CraftgateBehaviour(g.Name))}) == nil
			if !booked {
				w.payments(t, behaving(t, ""))
				if err := w.sim.SetFaults([]simulator.Fault{{Type: simulator.TypeCraftgate, Operation: "refund-transaction",
					Effect: simulator.EffectRefuse, Code: g.Name}}); err != nil {
					t.Fatal(err)
				}
			}
			r, res, err := w.first(t, part(t, "r1", "10.00"))
			want := map[craftgate.Class]providers.Status{craftgate.Final: providers.Declined, craftgate.Later: providers.NotNow}[g.Class]
			if want == providers.NoResult {
				if err == nil || providers.KindOf(err) != providers.Unknown {
					t.Errorf("got %v, %v, want unknown", res.Status, err)
				}
			} else if err != nil || res.Status != want || res.Reason != g.Reason || res.Raw.Code != g.Name {
				t.Errorf("got %v %q %+v, %v, want %v %q", res.Status, res.Reason, res.Raw, err, want, g.Reason)
			}
			f, err := w.Lookup(t.Context(), r)
			kinds := map[craftgate.Class]providers.FindingKind{craftgate.Final: providers.Found, craftgate.InDoubt: providers.TooEarly}
			kind, told := kinds[g.Class]
			if !told || !booked {
				kind = providers.NotFound
			}
			if err != nil || f.Kind != kind {
				t.Errorf("lookup: got %v (%s), %v, want %v", f.Kind, f.Detail, err, kind)
			}
			if got := w.sim.Ledger(); len(got) != 0 {
				t.Errorf("ledger: got %v", got)
			}
		})
	}
}

// TestShapes: each way in which Craftgate gives money back, and what the worker makes of it.
func TestShapes(t *testing.T) {
	tests := []struct {
		name      string
		behaviour simulator.CraftgateBehaviour
		sameDay   bool
		whole     bool
		want      providers.Status
		moved     string
	}{
		{"whole, the same day", "", true, true, providers.Cancelled, "100.00 TRY"},
		{"whole, another day", "", false, true, providers.Succeeded, "100.00 TRY"},
		{"item", "", false, false, providers.Succeeded, "10.00 TRY"},
		{"item, the same day", "", true, false, providers.Succeeded, "10.00 TRY"},
		{"booked as failed", simulator.CraftgateFailure, false, false, providers.Declined, ""},
		{"booked as failed, whole", simulator.CraftgateFailure, false, true, providers.Declined, ""},
		{"waits", simulator.CraftgateWaiting, false, false, providers.Acknowledged, ""},
		{"waits, whole", simulator.CraftgateWaiting, false, true, providers.Acknowledged, ""},
		{"one item fails", simulator.CraftgateMixed, false, true, providers.Partial, "60.00 TRY"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, simulator.CraftgatePayment{}, nil)
			p := behaving(t, tt.behaviour)
			p.SameDay = tt.sameDay
			w.payments(t, p)
			r := part(t, "r1", "10.00")
			if tt.whole {
				r = whole(t, "771")
			}
			r, res, err := w.first(t, r)
			if err != nil || res.Status != tt.want {
				t.Fatalf("got %v %+v, %v, want %v", res.Status, res.Raw, err, tt.want)
			}
			moved := ""
			for _, m := range w.sim.Ledger() {
				moved += m.Amount.String()
				if ids := res.ProviderRefundID + res.Raw.Message; tt.want != providers.Partial && !strings.HasSuffix(ids, m.ProviderRefundID) {
					t.Errorf("ids: got %q, want %q", ids, m.ProviderRefundID)
				}
			}
			if moved != tt.moved {
				t.Errorf("moved %q, want %q", moved, tt.moved)
			}
			f, err := w.Lookup(t.Context(), r)
			want := tt.want
			if want == providers.Acknowledged { // the simulator ends it with the first look
				want = providers.Succeeded
			}
			if f.Kind == providers.Found && f.Result.Status == providers.Acknowledged {
				f, err = w.Lookup(t.Context(), r)
			}
			if err != nil || f.Kind != providers.Found || f.Result.Status != want {
				t.Errorf("lookup: got %v %v (%s), %v, want %v", f.Kind, f.Result.Status, f.Detail, err, want)
			}
		})
	}
}

// TestWaitingIsFollowedUp: a refund that Craftgate left waiting is waiting, look after look, until it has ended.
func TestWaitingIsFollowedUp(t *testing.T) {
	for behaviour, want := range map[simulator.CraftgateBehaviour]providers.Status{
		simulator.CraftgateWaiting: providers.Succeeded, simulator.CraftgateWaitingFailure: providers.Declined} {
		w := newWorld(t, simulator.CraftgatePayment{}, nil)
		p := behaving(t, behaviour)
		p.Lookups = 3
		w.payments(t, p)
		r, res, err := w.first(t, part(t, "r1", "10.00"))
		if err != nil || res.Status != providers.Acknowledged || res.ProviderRefundID == "" {
			t.Fatalf("got %v, %v, want acknowledged", res.Status, err)
		}
		for range 3 {
			if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.Found || f.Result.Status != providers.Acknowledged {
				t.Errorf("%s: got %v %v, %v, want acknowledged", behaviour, f.Kind, f.Result.Status, err)
			}
		}
		if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.Found || f.Result.Status != want {
			t.Errorf("%s: got %v %v (%s), %v, want %v", behaviour, f.Kind, f.Result.Status, f.Detail, err, want)
		}
	}
}

// TestNewKeyAfterNotNow: a refund that was told to wait is asked for again under another key, and the failure that is
// still listed under its name says nothing about the new call.
func TestNewKeyAfterNotNow(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, "POS_BALANCE_NOT_SUFFICIENT"))
	_, res, err := w.first(t, part(t, "r1", "10.00"))
	if err != nil || res.Status != providers.NotNow {
		t.Fatalf("first: got %v, %v", res.Status, err)
	}
	w.payments(t, behaving(t, ""))
	again := part(t, "r1", "10.00")
	if _, res, err = w.first(t, again); err != nil || res.Status != providers.NotNow {
		t.Errorf("under the old key: got %v, %v, want the old answer", res.Status, err)
	}
	again.IdempotencyKey = "r1:r1"
	baseline, res, err := w.Prepare(t.Context(), again)
	if err != nil || res.Status != providers.NoResult {
		t.Fatalf("Prepare: got %v, %v", res.Status, err)
	}
	again.Baseline, again.Attempt = baseline, 1
	if f, err := w.Lookup(t.Context(), again); err != nil || f.Kind != providers.NotFound {
		t.Errorf("before the new call: got %v (%s), %v, want not found", f.Kind, f.Detail, err)
	}
	if res, err = w.Refund(t.Context(), again); err != nil || res.Status != providers.Succeeded || len(w.sim.Ledger()) != 1 {
		t.Errorf("under the new key: got %v, %v, ledger %v", res.Status, err, w.sim.Ledger())
	}
	if got := w.sim.Ledger(); len(got) == 1 && got[0].Key != "r1_cr1" {
		t.Errorf("key: got %q, want r1_cr1", got[0].Key)
	}
}

// TestAnItemOfAnotherPayment: a refund of an item names no payment, so it is checked that it belongs to the command's.
func TestAnItemOfAnotherPayment(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, ""))
	r := item(t, "772", "10.00")
	r.Options = json.RawMessage(`{"paymentTransactionId":"9001"}`)
	if _, res, err := w.first(t, r); err != nil || res.Reason != schemas.ReasonNotFound || len(w.sim.Ledger()) != 0 {
		t.Errorf("got %v %q, %v, ledger %v, want not found and no money moved", res.Status, res.Reason, err, w.sim.Ledger())
	}
}

// TestWholeNeedsAllThatIsLeft: the call for a whole payment carries no amount, so nothing else may be asked of it.
func TestWholeNeedsAllThatIsLeft(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, ""))
	r := whole(t, "771")
	r.Amount = amount(t, "90.00", "TRY")
	var e *providers.Error
	_, _, err := w.first(t, r)
	want := schemas.Problem{Pointer: "/amount", Rule: "must equal what is left of the payment, or name options.paymentTransactionId"}
	if !errors.As(err, &e) || e.Kind != providers.Invalid || len(e.Problems) != 1 || e.Problems[0] != want {
		t.Fatalf("got %v, want invalid at /amount", err)
	}
	if _, res, err := w.first(t, part(t, "r1", "10.00")); err != nil || res.Status != providers.Succeeded {
		t.Fatalf("part: got %v, %v", res.Status, err)
	}
	if _, res, err := w.first(t, r); err != nil || res.Status != providers.Succeeded || len(w.sim.Ledger()) != 2 {
		t.Errorf("the rest: got %v, %v, ledger %v", res.Status, err, w.sim.Ledger())
	}
	r.RequestID = "late"
	if _, res, err := w.first(t, r); err != nil || res.Reason != schemas.ReasonAlreadyRefunded {
		t.Errorf("once more: got %v %q, %v, want already_refunded", res.Status, res.Reason, err)
	}
}

// TestUnknownPayment: a payment that Craftgate does not know ends the refund, unless a call may have left before.
func TestUnknownPayment(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusNotFound)
			_, _ = rw.Write([]byte(`{"errors":{"errorCode":"9101","errorDescription":"no such"}}`))
		})
	})
	r := whole(t, "771")
	if _, res, err := w.Prepare(t.Context(), r); err != nil || res.Reason != schemas.ReasonNotFound {
		t.Errorf("first: got %v %q, %v, want not found", res.Status, res.Reason, err)
	}
	r.Attempt = 1
	if _, res, err := w.Prepare(t.Context(), r); providers.KindOf(err) != providers.Unavailable || !errors.Is(err, providers.ErrRefused) {
		t.Errorf("after a call: got %v, %v, want unavailable", res.Status, err)
	}
	if _, err := w.Lookup(t.Context(), r); err == nil || providers.KindOf(err) != providers.Unknown {
		t.Errorf("lookup: got %v, want unknown", err)
	}
}

// TestOurNameIsTaken: before the first call nothing of ours can be listed. What is, is for a person.
func TestOurNameIsTaken(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, ""))
	done, res, err := w.first(t, part(t, "r1", "10.00"))
	if err != nil || res.Status != providers.Succeeded {
		t.Fatalf("got %v, %v", res.Status, err)
	}
	if _, res, err := w.first(t, part(t, "r1", "10.00")); err != nil || res.Status != providers.Conflicting {
		t.Errorf("the requestId anew: got %v, %v, want conflicting", res.Status, err)
	}
	if _, res, err := w.Prepare(t.Context(), done); err != nil || res.Status != providers.Succeeded || len(w.sim.Ledger()) != 1 {
		t.Errorf("after a call: got %v, %v, ledger %v, want succeeded", res.Status, err, w.sim.Ledger())
	}
	done.Attempt, done.IdempotencyKey = 2, "" // as if the key had died in between
	if res, err := w.Refund(t.Context(), done); err != nil || res.Status != providers.Succeeded || len(w.sim.Ledger()) != 1 {
		t.Errorf("second call: got %v, %v, ledger %v, want succeeded and nothing moved", res.Status, err, w.sim.Ledger())
	}
}

// TestSomebodyElseRefunds: between our reading and our call a back office refunds.
func TestSomebodyElseRefunds(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, ""))
	prepare := func(r providers.Request) providers.Request {
		baseline, res, err := w.Prepare(t.Context(), r)
		if err != nil || res.Status != providers.NoResult {
			t.Fatalf("Prepare: got %v, %v", res.Status, err)
		}
		r.Baseline, r.Attempt = baseline, 1
		return r
	}
	some, all := prepare(part(t, "r1", "60.00")), prepare(whole(t, "771"))
	if _, res, err := w.first(t, part(t, "other", "30.00")); err != nil || res.Status != providers.Succeeded {
		t.Fatalf("other: got %v, %v", res.Status, err)
	}
	if res, err := w.Refund(t.Context(), some); err != nil || res.Status != providers.Declined || res.Reason != schemas.ReasonExceedsRemaining {
		t.Errorf("item: got %v %q, %v, want exceeds_remaining", res.Status, res.Reason, err)
	}
	if f, err := w.Lookup(t.Context(), all); err != nil || f.Kind != providers.Contradiction {
		t.Errorf("lookup: got %v (%s), %v, want a contradiction", f.Kind, f.Detail, err)
	}
	all.Attempt = 2
	if res, err := w.Refund(t.Context(), all); err == nil || providers.KindOf(err) != providers.Unknown {
		t.Errorf("second call: got %v, %v, want unknown", res.Status, err)
	}
	all.Attempt = 1
	if res, err := w.Refund(t.Context(), all); err == nil || providers.KindOf(err) != providers.Unknown {
		t.Errorf("whole, of which less was left: got %v, %v, want unknown", res.Status, err)
	}
	f, err := w.Lookup(t.Context(), all)
	if err != nil || f.Result.Status != providers.Partial || f.Result.Raw.Message != "5000000002 SUCCESS 30.00, 5000000003 SUCCESS 40.00" {
		t.Errorf("lookup: got %v %v %+v, %v, want a partial refund of what was left", f.Kind, f.Result.Status, f.Result.Raw, err)
	}
}

// TestManyItems: a basket whose entries fill several pages is read to its end.
func TestManyItems(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	p := simulator.CraftgatePayment{Reference: "771", Amount: amount(t, "100.00", "TRY")}
	for i := range 25 {
		p.Transactions = append(p.Transactions, simulator.CraftgateTransaction{Reference: strconv.Itoa(9001 + i), Amount: amount(t, "4.00", "TRY")})
	}
	w.payments(t, p)
	r, res, err := w.first(t, whole(t, "771"))
	if err != nil || res.Status != providers.Succeeded || strings.Count(res.Raw.Message, ",") != 24 {
		t.Fatalf("got %v %+v, %v", res.Status, res.Raw, err)
	}
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.Found || f.Result.Status != providers.Succeeded || f.Result.Raw.Message != res.Raw.Message {
		t.Errorf("lookup: got %v %+v, %v, want the same 25", f.Kind, f.Result, err)
	}
}

// TestVouchedFailure: a person has vouched that a call nobody answered for came to nothing. The failure that stays listed
// under the refund's name then says nothing about the calls after it.
func TestVouchedFailure(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, "UNKNOWN"))
	r, _, err := w.first(t, part(t, "r1", "10.00"))
	if err == nil || providers.KindOf(err) != providers.Unknown {
		t.Fatalf("got %v, want unknown", err)
	}
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.TooEarly {
		t.Errorf("before: got %v (%s), %v, want too early", f.Kind, f.Detail, err)
	}
	r = part(t, "r1", "10.00")
	baseline, res, err := w.Prepare(t.Context(), r)
	if err != nil || res.Status != providers.NoResult {
		t.Fatalf("Prepare: got %v, %v", res.Status, err)
	}
	r.Baseline, r.Attempt = baseline, 1
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.NotFound {
		t.Errorf("after: got %v (%s), %v, want not found", f.Kind, f.Detail, err)
	}
}

// TestRefusedWhileAnEarlierCallArrives: the second call is refused because the first, believed lost, has just been executed.
func TestRefusedWhileAnEarlierCallArrives(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !moves(r) {
				next.ServeHTTP(rw, r)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), r)
			rw.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = rw.Write([]byte(`{"errors":{"errorCode":"10999","errorGroup":"NON_REFUNDABLE_PAYMENT"}}`))
		})
	})
	w.payments(t, behaving(t, ""))
	r := part(t, "r1", "10.00")
	baseline, _, err := w.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.Baseline, r.Attempt = baseline, 2
	if res, err := w.Refund(t.Context(), r); err != nil || res.Status != providers.Succeeded || len(w.sim.Ledger()) != 1 {
		t.Errorf("got %v %q, %v, ledger %v, want succeeded", res.Status, res.Reason, err, w.sim.Ledger())
	}
}
