package craftgate_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"refundworker/providers"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// takenAfterALostCall has a refund whose first call is lost, is looked up and is not found; the second one is taken on.
func takenAfterALostCall(t *testing.T, b simulator.CraftgateBehaviour, around func(http.Handler) http.Handler) (*world, providers.Request) {
	t.Helper()
	var calls atomic.Int32
	w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
		next = around(next)
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if moves(r) {
				if calls.Add(1) == 1 {
					panic(http.ErrAbortHandler)
				}
			}
			next.ServeHTTP(rw, r)
		})
	})
	p := behaving(t, b)
	p.Lookups = 1
	w.payments(t, p)
	r, _, err := w.first(t, part(t, "r1", "10.00"))
	if err == nil || providers.KindOf(err) != providers.Unknown {
		t.Fatalf("first call: got %v, want unknown", err)
	}
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.NotFound {
		t.Fatalf("after the first call: got %v (%s), %v, want not found", f.Kind, f.Detail, err)
	}
	r.Attempt = 2
	res, err := w.Refund(t.Context(), r)
	if err != nil || res.Status != providers.Acknowledged || res.ProviderRefundID == "" {
		t.Fatalf("second call: got %v %q, %v, want acknowledged under an id", res.Status, res.ProviderRefundID, err)
	}
	r.ProviderRefundID = res.ProviderRefundID
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.Found || f.Result.Status != providers.Acknowledged {
		t.Fatalf("taken on: got %v %v (%s), %v, want acknowledged", f.Kind, f.Result.Status, f.Detail, err)
	}
	return w, r
}

// A first call is lost and the second is taken on. However that one ends, its end is the refund's: the lost call never
// leaves a trace that could be waited for.
func TestTakenOnAfterALostCall(t *testing.T) {
	asTold := func(next http.Handler) http.Handler { return next }
	regrouped := func(group string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				w := httptest.NewRecorder()
				next.ServeHTTP(w, r)
				rw.WriteHeader(w.Code)
				_, _ = rw.Write([]byte(strings.ReplaceAll(w.Body.String(), `"errorGroup":"DECLINED"`, `"errorGroup":"`+group+`"`)))
			})
		}
	}
	tests := []struct {
		name   string
		ends   simulator.CraftgateBehaviour
		around func(http.Handler) http.Handler
		kind   providers.FindingKind
		status providers.Status
		reason schemas.Reason
	}{
		{"done", simulator.CraftgateWaiting, asTold, providers.Found, providers.Succeeded, ""},
		{"failed", simulator.CraftgateWaitingFailure, asTold, providers.Found, providers.Declined, schemas.ReasonDeclined},
		{"failed for now", simulator.CraftgateWaitingFailure, regrouped("POS_BALANCE_NOT_SUFFICIENT"), providers.NotFound,
			providers.NotNow, schemas.ReasonInsufficientBalance},
		{"failed, who knows how", simulator.CraftgateWaitingFailure, regrouped("NO_RESPONSE"), providers.TooEarly, providers.NoResult, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r := takenAfterALostCall(t, tt.ends, tt.around)
			f, err := w.Lookup(t.Context(), r)
			if err != nil || f.Kind != tt.kind || f.Result.Status != tt.status || f.Result.Reason != tt.reason {
				t.Errorf("got %v %v %q (%s), %v, want %v %v %q", f.Kind, f.Result.Status, f.Result.Reason, f.Detail, err, tt.kind, tt.status, tt.reason)
			}
		})
	}
}

// A refund that was taken on under an id and came to nothing was deferred. A look for a later call does not wait for the id
// any more.
func TestTakenOnAndGone(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, nil)
	w.payments(t, behaving(t, simulator.CraftgateWaitingFailure))
	r, res, err := w.first(t, part(t, "r1", "10.00"))
	for range 2 {
		if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.Found {
			t.Fatalf("got %v (%s), %v, want found", f.Kind, f.Detail, err)
		}
	}
	if err != nil || res.ProviderRefundID == "" {
		t.Fatalf("got %v, %v, want an id", res.Status, err)
	}
	r.Attempt, r.Baseline = 0, nil
	if r.Baseline, _, err = w.Prepare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Attempt, r.ProviderRefundID = 1, res.ProviderRefundID
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.NotFound {
		t.Errorf("got %v (%s), %v, want not found", f.Kind, f.Detail, err)
	}
}

// Only the payment's own report can say that there is no such payment. Whatever else is not there was not read, and is read
// again later.
func TestWhatIsMissingWasNotRead(t *testing.T) {
	for _, path := range []string{"/payments/771/transactions", "/v1/refunds", "/v1/refund-transactions"} {
		w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if !moves(r) && strings.HasSuffix(r.URL.Path, path) {
					rw.WriteHeader(http.StatusNotFound)
					_, _ = rw.Write([]byte(`{"errors":{"errorCode":"9101","errorDescription":"no such"}}`))
					return
				}
				next.ServeHTTP(rw, r)
			})
		})
		r := item(t, "771", "5.00")
		if strings.HasSuffix(path, "refunds") {
			r = whole(t, "771")
		}
		if _, res, err := w.Prepare(t.Context(), r); err == nil || providers.KindOf(err) != providers.Unavailable {
			t.Errorf("%s: got %v %q, %v, want unavailable", path, res.Status, res.Reason, err)
		}
	}
}
