package bbmsl_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// attempt prepares and calls, as the worker does for its n-th attempt.
func (w *world) attempt(t *testing.T, r providers.Request, n int) (providers.Request, providers.Result, error) {
	t.Helper()
	if n == 1 {
		baseline, res, err := w.Prepare(t.Context(), r)
		if r.Baseline = baseline; err != nil || res.Status != providers.NoResult {
			return r, res, err
		}
	}
	r.Attempt = n
	res, err := w.Refund(t.Context(), r)
	return r, res, err
}

func (w *world) ledger() (kinds []simulator.MovementKind) {
	for _, m := range w.sim.Ledger() {
		kinds = append(kinds, m.Kind)
	}
	return kinds
}

// TestFirstAttempt walks from an order's state to the answer of the first attempt.
func TestFirstAttempt(t *testing.T) {
	tests := []struct {
		name   string
		status simulator.BBMSLStatus
		amount string
		void   bool
		want   providers.Status
		reason schemas.Reason
		moved  simulator.MovementKind
	}{
		{"settled, whole", simulator.BBMSLSettled, "15.00", true, providers.Succeeded, "", simulator.MovementRefund},
		{"settled, part", simulator.BBMSLSettled, "4.99", true, providers.Succeeded, "", simulator.MovementRefund},
		{"settled, above", simulator.BBMSLSettled, "15.01", true, providers.Declined, schemas.ReasonExceedsRemaining, ""},
		{"unsettled, whole, void on", simulator.BBMSLSuccess, "15.00", true, providers.Cancelled, "", simulator.MovementCancel},
		{"unsettled, part, void on", simulator.BBMSLSuccess, "4.99", true, providers.NotNow, schemas.ReasonDayEnd, ""},
		{"unsettled, whole, void off", simulator.BBMSLSuccess, "15.00", false, providers.NotNow, schemas.ReasonDayEnd, ""},
		{"unsettled, part, void off", simulator.BBMSLSuccess, "4.99", false, providers.NotNow, schemas.ReasonDayEnd, ""},
		{"open", simulator.BBMSLOpen, "15.00", true, providers.Declined, schemas.ReasonNotRefundable, ""},
		{"closed", simulator.BBMSLClosed, "15.00", true, providers.Declined, schemas.ReasonNotRefundable, ""},
		{"voided", simulator.BBMSLVoided, "15.00", true, providers.Declined, schemas.ReasonAlreadyRefunded, ""},
		{"refunded", simulator.BBMSLRefunded, "15.00", true, providers.Declined, schemas.ReasonAlreadyRefunded, ""},
	}
	for _, model := range []bbmsl.Model{bbmsl.Hosted, bbmsl.Direct} {
		for _, tt := range tests {
			t.Run(string(model)+" "+tt.name, func(t *testing.T) {
				w := newWorld(t, bbmsl.Config{Model: model, VoidUnsettled: tt.void}, nil)
				w.orders(t, simulator.BBMSLPayment{Reference: "4922", MerchantReference: "ord-1", Amount: hkd(t, "15.00"), Status: tt.status})
				_, res, err := w.attempt(t, request(t, "4922", tt.amount), 1)
				if err != nil || res.Status != tt.want || res.Reason != tt.reason {
					t.Errorf("got %v %q, %v, want %v %q", res.Status, res.Reason, err, tt.want, tt.reason)
				}
				got := w.ledger()
				if tt.moved == "" && len(got) != 0 || tt.moved != "" && (len(got) != 1 || got[0] != tt.moved) {
					t.Errorf("ledger: got %v, want %q", got, tt.moved)
				}
				if tt.moved != "" && res.ProviderRefundID != w.sim.Ledger()[0].ProviderRefundID {
					t.Errorf("refund id: got %q, want %q", res.ProviderRefundID, w.sim.Ledger()[0].ProviderRefundID)
				}
			})
		}
	}
}

func TestHandles(t *testing.T) {
	tests := []struct{ reference, options string }{
		{"4922", ``},
		{"4922", `{"by":"orderId"}`},
		{"1655817171", `{"by":"merchantReference"}`},
		{"ord-42", `{}`},
		{"0042", ``}, // as a number it would lose its zeros
		{`<a&b>"\'+/=`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.reference+tt.options, func(t *testing.T) {
			w := newWorld(t, bbmsl.Config{}, nil)
			if tt.reference == "1655817171" {
				w.orders(t, simulator.BBMSLPayment{Reference: "4922", MerchantReference: tt.reference, Amount: hkd(t, "15.00")})
			}
			r := request(t, tt.reference, "15.00")
			r.Options = json.RawMessage(tt.options)
			if _, res, err := w.attempt(t, r, 1); err != nil || res.Status != providers.Succeeded {
				t.Errorf("got %v, %v, want succeeded", res.Status, err)
			}
		})
	}
}

// TestLaterAttempt: what a second attempt must not do, and must not lose.
func TestLaterAttempt(t *testing.T) {
	settled := func(t *testing.T, w *world, status simulator.BBMSLStatus) {
		w.orders(t, simulator.BBMSLPayment{Reference: "4922", Amount: hkd(t, "15.00"), Status: status})
	}
	t.Run("an unsettled order has settled since", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{VoidUnsettled: true}, nil)
		settled(t, w, simulator.BBMSLSuccess)
		r, res, err := w.attempt(t, request(t, "4922", "5.00"), 1)
		if err != nil || res.Reason != schemas.ReasonDayEnd {
			t.Fatalf("first attempt: got %q, %v, want day_end", res.Reason, err)
		}
		settled(t, w, simulator.BBMSLSettled)
		if _, res, err = w.attempt(t, r, 2); err != nil || res.Status != providers.Succeeded {
			t.Errorf("second attempt: got %v, %v, want succeeded", res.Status, err)
		}
	})
	t.Run("a late first attempt is found", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{}, nil)
		first, res, err := w.attempt(t, request(t, "4922", "5.00"), 1)
		if err != nil || res.Status != providers.Succeeded {
			t.Fatalf("first attempt: got %v, %v", res.Status, err)
		}
		if _, res, err = w.attempt(t, first, 2); err != nil || res.Status != providers.Succeeded || len(w.ledger()) != 1 {
			t.Errorf("second attempt: got %v, %v, ledger %v, want succeeded and one movement", res.Status, err, w.ledger())
		}
	})
	t.Run("a late first attempt is found by prepare", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{}, nil)
		first, _, err := w.attempt(t, request(t, "4922", "5.00"), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, res, err := w.Prepare(t.Context(), first); err != nil || res.Status != providers.Succeeded {
			t.Errorf("got %v %q, %v, want succeeded", res.Status, res.Reason, err)
		}
	})
	t.Run("somebody else used the one refund", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{}, nil)
		r, _, err := w.attempt(t, request(t, "4922", "5.00"), 1)
		if err != nil {
			t.Fatal(err)
		}
		r.Amount = hkd(t, "6.00")
		if _, res, err := w.attempt(t, r, 2); err != nil || res.Status != providers.Declined || res.Reason != schemas.ReasonAlreadyRefunded {
			t.Errorf("got %v %q, %v, want declined, already refunded", res.Status, res.Reason, err)
		}
	})
}

// TestRefusals: a code says nothing, the order says why.
func TestRefusals(t *testing.T) {
	t.Run("balance", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{}, nil)
		if err := w.sim.BBMSL.SetBalance(hkd(t, "1.00")); err != nil {
			t.Fatal(err)
		}
		_, res, err := w.attempt(t, request(t, "4922", "5.00"), 1)
		if err != nil || res.Status != providers.NotNow || res.Reason != schemas.ReasonInsufficientBalance {
			t.Fatalf("got %v %q, %v, want not now for the balance", res.Status, res.Reason, err)
		}
		if res.Raw == nil || res.Raw.Scope != "bbmsl.responseCode" || res.Raw.Code != "SIM304" {
			t.Errorf("provider result: got %+v, want its code", res.Raw)
		}
	})
	t.Run("somebody else between prepare and call", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{}, nil)
		r := request(t, "4922", "5.00")
		baseline, _, err := w.Prepare(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.attempt(t, request(t, "4922", "5.00"), 1); err != nil {
			t.Fatal(err)
		}
		r.Baseline, r.Attempt = baseline, 1
		if res, err := w.Refund(t.Context(), r); err != nil || res.Reason != schemas.ReasonAlreadyRefunded {
			t.Errorf("got %v %q, %v, want declined, already refunded", res.Status, res.Reason, err)
		}
	})
	t.Run("settled just before its void", func(t *testing.T) {
		w := newWorld(t, bbmsl.Config{VoidUnsettled: true}, nil)
		w.orders(t, simulator.BBMSLPayment{Reference: "4922", Amount: hkd(t, "15.00"), Status: simulator.BBMSLSuccess})
		r := request(t, "4922", "15.00")
		baseline, _, err := w.Prepare(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		w.orders(t, simulator.BBMSLPayment{Reference: "4922", Amount: hkd(t, "15.00"), Status: simulator.BBMSLSettled})
		r.Baseline, r.Attempt = baseline, 1
		if res, err := w.Refund(t.Context(), r); err != nil || res.Status != providers.NotNow || res.Reason != schemas.ReasonProviderBusy {
			t.Errorf("got %v %q, %v, want not now, soon", res.Status, res.Reason, err)
		}
	})
	t.Run("the query after a refusal fails", func(t *testing.T) {
		var queries atomic.Int32
		w := newWorld(t, bbmsl.Config{}, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/query") {
					if queries.Add(1) > 1 {
						rw.WriteHeader(http.StatusBadGateway)
						return
					}
				}
				next.ServeHTTP(rw, r)
			})
		})
		if err := w.sim.BBMSL.SetBalance(hkd(t, "1.00")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.attempt(t, request(t, "4922", "5.00"), 1); err == nil || providers.KindOf(err) != providers.Unknown {
			t.Errorf("got %v, want unknown", err)
		}
	})
}

// TestPrepareErrors: a query moves no money, so no failure of it is a doubt.
func TestPrepareErrors(t *testing.T) {
	tests := []struct {
		name   string
		answer func(http.ResponseWriter)
		want   providers.Kind
		refuse bool
	}{
		{"unknown order", func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"responseCode":"SIM201","message":"secret text"}`))
		}, providers.Unavailable, true},
		{"page", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`<html>secret text`)) }, providers.Unavailable, false},
		{"server error", func(w http.ResponseWriter) { w.WriteHeader(503) }, providers.Unavailable, false},
		{"reset", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, providers.Unavailable, false},
		{"address not allowed", func(w http.ResponseWriter) { w.WriteHeader(403) }, providers.Unauthorized, false},
		{"too many", func(w http.ResponseWriter) { w.WriteHeader(429) }, providers.RateLimited, false},
		{"unknown status", func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"responseCode":"0000","order":{"currency":"HKD","amount":15,"status":"SLEEPING"}}`))
		}, providers.Unavailable, false},
		{"no order", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"responseCode":"0000"}`)) }, providers.Unavailable, false},
		{"no amount", func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"responseCode":"0000","order":{"currency":"HKD","status":"SETTLED"}}`))
		}, providers.Unavailable, false},
		{"another order", func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"responseCode":"0000","order":{"id":1,"currency":"HKD","amount":15,"status":"SETTLED"}}`))
		}, providers.Unavailable, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, bbmsl.Config{}, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { tt.answer(rw) })
			})
			_, _, err := w.Prepare(t.Context(), request(t, "4922", "5.00"))
			if err == nil || providers.KindOf(err) != tt.want || errors.Is(err, providers.ErrRefused) != tt.refuse {
				t.Errorf("got %v, want kind %v, refused %v", err, tt.want, tt.refuse)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the answer: %v", err)
			}
		})
	}
}

// TestHTTPStatuses: what an answer's status makes of a refund.
func TestHTTPStatuses(t *testing.T) {
	const refusal, page = `{"responseCode":"E1"}`, `<html>no</html>`
	tests := []struct {
		name   string
		status int
		body   string
		want   providers.Kind
		reason schemas.Reason
	}{
		{"refusal on 200", 200, refusal, 0, schemas.ReasonInsufficientBalance},
		{"refusal on 400", 400, refusal, 0, schemas.ReasonInsufficientBalance},
		{"refusal on 403", 403, refusal, 0, schemas.ReasonInsufficientBalance},
		{"refusal on 500", 500, refusal, providers.Unknown, ""},
		{"refusal on 302", 302, refusal, providers.Unknown, ""},
		{"page on 400", 400, page, providers.Unknown, ""},
		{"page on 401", 401, page, providers.Unauthorized, ""},
		{"page on 403", 403, page, providers.Unauthorized, ""},
		{"page on 429", 429, page, providers.RateLimited, ""},
		{"refusal on 429", 429, refusal, providers.RateLimited, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, bbmsl.Config{}, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/query") {
						next.ServeHTTP(rw, r)
						return
					}
					rw.Header().Set("Retry-After", "7")
					rw.WriteHeader(tt.status)
					_, _ = rw.Write([]byte(tt.body))
				})
			})
			_, res, err := w.attempt(t, request(t, "4922", "5.00"), 1)
			if tt.reason != "" {
				if err != nil || res.Status != providers.NotNow || res.Reason != tt.reason {
					t.Errorf("got %v %q, %v, want not now, %q", res.Status, res.Reason, err, tt.reason)
				}
				return
			}
			var e *providers.Error
			if !errors.As(err, &e) || e.Kind != tt.want || tt.want == providers.RateLimited && e.RetryAfter != 7*time.Second {
				t.Errorf("got %v, want kind %v", err, tt.want)
			}
		})
	}
}

// TestLaterAttemptsReadFirst: without a readable order nothing is sent.
func TestLaterAttemptsReadFirst(t *testing.T) {
	tests := []struct {
		name     string
		attempt  int
		baseline string
		query    string
		want     providers.Kind
	}{
		{"first, baseline damaged", 1, `{"status":1}`, "", providers.Unavailable},
		{"first, no baseline, query fails", 1, ``, "<html>", providers.Unavailable},
		{"later, query fails", 2, `{"status":"SETTLED","amount":"15000000","currency":"HKD"}`, "<html>", providers.Unavailable},
		{"later, status unknown", 2, ``, `{"responseCode":"0000","order":{"currency":"HKD","amount":15,"status":"SLEEPING"}}`, providers.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, bbmsl.Config{}, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "/query") {
						t.Error("a refund was sent")
					}
					_, _ = rw.Write([]byte(tt.query))
				})
			})
			r := request(t, "4922", "5.00")
			r.Attempt, r.Baseline = tt.attempt, json.RawMessage(tt.baseline)
			if _, err := w.Refund(t.Context(), r); err == nil || providers.KindOf(err) != tt.want {
				t.Errorf("got %v, want kind %v", err, tt.want)
			}
		})
	}
}
