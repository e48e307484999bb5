package craftgate_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// TestHTTPStatuses: what an answer's status makes of a refund.
func TestHTTPStatuses(t *testing.T) {
	const refusal, validation, page = `{"errors":{"errorCode":"10051","errorGroup":"REFUND_DECLINE"}}`, `{"errors":{"errorCode":"4999"}}`, `<html>no</html>`
	tests := []struct {
		name   string
		status int
		body   string
		want   providers.Kind
		reason schemas.Reason
	}{
		{"refusal on 422", 422, refusal, 0, schemas.ReasonProviderBusy},
		{"refusal on 400", 400, refusal, 0, schemas.ReasonProviderBusy},
		{"refusal on 403", 403, refusal, 0, schemas.ReasonProviderBusy},
		{"refusal on 429", 429, refusal, 0, schemas.ReasonProviderBusy},
		{"refusal on 500", 500, refusal, providers.Unknown, ""},
		{"refusal on 302", 302, refusal, providers.Unknown, ""},
		{"validation on 422", 422, validation, providers.Invalid, ""},
		{"validation on 404", 404, validation, providers.Invalid, ""},
		{"validation on 401", 401, validation, providers.Unauthorized, ""},
		{"validation on 429", 429, validation, providers.RateLimited, ""},
		{"page on 400", 400, page, providers.Unknown, ""},
		{"page on 401", 401, page, providers.Unauthorized, ""},
		{"page on 403", 403, page, providers.Unauthorized, ""},
		{"page on 429", 429, page, providers.RateLimited, ""},
		{"page on 503", 503, page, providers.Unknown, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if !moves(r) {
						next.ServeHTTP(rw, r)
						return
					}
					rw.Header().Set("Retry-After", "7")
					rw.WriteHeader(tt.status)
					_, _ = rw.Write([]byte(tt.body))
				})
			})
			_, res, err := w.first(t, item(t, "771", "5.00"))
			if tt.reason != "" {
				if err != nil || res.Status != providers.NotNow || res.Reason != tt.reason {
					t.Errorf("got %v %q, %v, want not now, %q", res.Status, res.Reason, err, tt.reason)
				}
				return
			}
			var e *providers.Error
			if !errors.As(err, &e) || e.Kind != tt.want || tt.want == providers.RateLimited && e.RetryAfter != 7*time.Second {
				t.Errorf("got %v, %v, want kind %v", res.Status, err, tt.want)
			}
		})
	}
}

// TestUnreadableReports: a report that cannot be read, or is about something else, is never taken for "nothing happened".
func TestUnreadableReports(t *testing.T) {
	const payment, items, parts = "/payments/771", "/transactions", "/refund-transactions"
	tests := []struct{ name, path, body string }{
		{"page", payment, `<html>secret text`},
		{"another payment", payment, `{"data":{"id":772,"currency":"TRY","paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":100}}`},
		{"unknown status", payment, `{"data":{"id":771,"currency":"TRY","paymentStatus":"SUCCESS","refundStatus":"SLEEPING","refundablePrice":100}}`},
		{"no rest", payment, `{"data":{"id":771,"currency":"TRY","paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED"}}`},
		{"no items", items, `{"data":{}}`},
		{"items to come", items, `{"data":{"items":[],"totalSize":30}}`},
		{"item's rest unreadable", items, `{"data":{"items":[{"id":771,"refundablePrice":"secret text"}],"totalSize":1}}`},
		{"no list", parts, `{"data":{"totalSize":0}}`},
		{"no size", parts, `{"data":{"items":[]}}`},
		{"endless list", parts, `{"data":{"items":[{"id":1,"conversationId":"foreign"}],"totalSize":1000000}}`},
		{"list that ends early", parts, `{"data":{"items":[],"totalSize":3}}`},
		{"refund without id", parts, `{"data":{"items":[{"conversationId":"ord_c771","status":"FAILURE"}],"totalSize":1}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, tt.path) && !moves(r) {
						_, _ = rw.Write([]byte(tt.body))
						return
					}
					next.ServeHTTP(rw, r)
				})
			})
			r := item(t, "771", "5.00")
			_, res, err := w.Prepare(t.Context(), r)
			if err == nil || providers.KindOf(err) != providers.Unavailable {
				t.Errorf("Prepare: got %v, %v, want unavailable", res.Status, err)
			}
			r.Attempt = 1
			f, err := w.Lookup(t.Context(), r)
			if err == nil || providers.KindOf(err) != providers.Unknown {
				t.Errorf("Lookup: got %v, %v, want unknown", f.Kind, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the answer: %v", err)
			}
			if _, err := w.Refund(t.Context(), r); err == nil || !providers.KindOf(err).Safe() || len(w.sim.Ledger()) != 0 {
				t.Errorf("Refund without a baseline: got %v, ledger %v, want a safe error and no call", err, w.sim.Ledger())
			}
		})
	}
}

// TestFiltersAreCheckedAgain: a server that ignores the filters of a search must not hand us somebody else's refund.
func TestFiltersAreCheckedAgain(t *testing.T) {
	w := newWorld(t, simulator.CraftgatePayment{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/v1/refund-transactions") && !moves(r) {
				_, _ = rw.Write([]byte(`{"data":{"items":[{"id":1,"conversationId":"other","status":"SUCCESS","refundPrice":5},` +
					`{"id":2,"conversationId":"ord_c771","paymentId":772,"status":"SUCCESS","refundPrice":5},{"id":3,"status":"SUCCESS","refundPrice":5}],"totalSize":3}}`))
				return
			}
			next.ServeHTTP(rw, r)
		})
	})
	r := item(t, "771", "5.00")
	baseline, res, err := w.Prepare(t.Context(), r)
	if err != nil || res.Status != providers.NoResult {
		t.Fatalf("Prepare: got %v, %v", res.Status, err)
	}
	r.Baseline, r.Attempt = baseline, 1
	if f, err := w.Lookup(t.Context(), r); err != nil || f.Kind != providers.NotFound {
		t.Errorf("got %v %+v, %v, want not found", f.Kind, f.Result, err)
	}
}
