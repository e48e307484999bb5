package craftgate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"refundworker/providers"
	"refundworker/providers/simulator"
)

// weather breaks calls at random: before they are executed, after, or by telling the caller to come again. Of the
// calls that ask to move money nearly half are broken.
type weather struct {
	mu        sync.Mutex
	dice      *rand.Rand
	forgetful bool
}

func (y *weather) roll() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.dice.IntN(100)
}

func (y *weather) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if y.forgetful {
			r.Header.Del("x-idempotency-key")
		}
		roll := y.roll()
		if !moves(r) {
			roll *= 10 // a report is lost now and then
		}
		switch {
		case roll < 20:
			panic(http.ErrAbortHandler)
		case roll < 40:
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case roll < 45 && moves(r):
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = w.Write([]byte(`{"errors":{"errorCode":"10999","errorGroup":"REFUND_DECLINE"}}`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// driven is one refund on its way, as the worker keeps it.
type driven struct {
	providers.Request
	deferrals int
}

var errTooMany = errors.New("no end after 200 rounds")

// drive takes a refund to its end as the worker does: a call in doubt is looked up before anything else, one that surely did
// nothing is repeated under its key, and a "not now" brings a new key.
func (w *world) drive(ctx context.Context, d driven) (providers.Result, error) {
	for range 200 {
		if d.Attempt > 0 {
			f, err := w.Lookup(ctx, d.Request)
			switch {
			case err != nil:
				continue
			case f.Kind == providers.Found && f.Result.Status != providers.Acknowledged:
				return f.Result, nil
			case f.Kind == providers.TooEarly:
				continue
			case f.Kind == providers.Found:
				d.ProviderRefundID = f.Result.ProviderRefundID
				continue
			case d.ProviderRefundID != "": // it was taken on, so nothing is tried again
				continue
			case f.Kind != providers.NotFound:
				return providers.Result{}, fmt.Errorf("lookup: %v: %s", f.Kind, f.Detail)
			}
		}
		baseline, res, err := w.Prepare(ctx, d.Request)
		if err != nil && !providers.KindOf(err).Safe() {
			return providers.Result{}, err
		}
		if err != nil {
			continue
		}
		if res.Status == providers.NoResult {
			res, err = w.call(ctx, &d, baseline)
		}
		switch {
		case err != nil:
		case res.Status == providers.Acknowledged:
			d.ProviderRefundID = res.ProviderRefundID
		case res.Status == providers.NotNow:
			d.deferrals++
			d.Attempt, d.Baseline = 0, nil
			d.IdempotencyKey = string(d.RequestID) + ":r" + strconv.Itoa(d.deferrals)
		default:
			return res, nil
		}
	}
	return providers.Result{}, errTooMany
}

func (w *world) call(ctx context.Context, d *driven, baseline providers.Baseline) (providers.Result, error) {
	before := d.Request
	d.Attempt++
	if d.Baseline == nil {
		d.Baseline = baseline
	}
	res, err := w.Refund(ctx, d.Request)
	if err != nil && providers.KindOf(err).Safe() {
		d.Request = before
	}
	return res, err
}

// order is one of the thousand: its payment, the command, and what has to come of it.
func order(t *testing.T, n int) (simulator.CraftgatePayment, providers.Request, providers.Status) {
	reference := strconv.Itoa(1_000_000 + n*10)
	p := simulator.CraftgatePayment{Reference: reference, Amount: amount(t, "100.00", "TRY"), Transactions: []simulator.CraftgateTransaction{
		{Reference: reference, Amount: amount(t, "60.00", "TRY")}, {Reference: strconv.Itoa(1_000_001 + n*10), Amount: amount(t, "40.00", "TRY")}}}
	r, want := whole(t, reference), providers.Succeeded
	switch n % 7 {
	case 0:
		p.SameDay, want = true, providers.Cancelled
	case 1, 2:
		r.Amount = amount(t, "12.34", "TRY")
		r.Options = json.RawMessage(`{"paymentTransactionId":"` + reference + `"}`)
	case 3:
		p.Behaviour, want = "ARCHIVED_PAYMENT", providers.Declined
	case 4:
		p.Behaviour, p.Lookups = simulator.CraftgateWaiting, 2
	case 5:
		p.Behaviour, want = simulator.CraftgateWaitingFailure, providers.Declined
		r.Amount = amount(t, "12.34", "TRY")
		r.Options = json.RawMessage(`{"paymentTransactionId":"` + reference + `"}`)
	}
	return p, r, want
}

// TestLostAnswers plays a thousand refunds in bad weather, with a provider that honours the key and with one that forgets
// it: money moves once for each that succeeds, and for no other.
func TestLostAnswers(t *testing.T) {
	for _, forgetful := range []bool{false, true} {
		t.Run(fmt.Sprintf("forgetful %v", forgetful), func(t *testing.T) {
			t.Parallel()
			const seed = 20310304
			sky := &weather{dice: rand.New(rand.NewPCG(seed, 0)), forgetful: forgetful}
			w := newWorld(t, simulator.CraftgatePayment{}, sky.around)
			play(t, w, 1000)
		})
	}
}

func play(t *testing.T, w *world, refunds int) {
	t.Helper()
	var payments []simulator.CraftgatePayment
	requests, wants := make([]providers.Request, refunds), make([]providers.Status, refunds)
	for n := range refunds {
		p, r, want := order(t, n)
		payments, requests[n], wants[n] = append(payments, p), r, want
	}
	w.payments(t, payments...)
	results := make([]providers.Result, refunds)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := worker; n < refunds; n += 8 {
				res, err := w.drive(t.Context(), driven{Request: requests[n]})
				if results[n] = res; err != nil || res.Status != wants[n] {
					t.Errorf("refund %d: got %v %q, %v, want %v", n, res.Status, res.Reason, err, wants[n])
				}
			}
		})
	}
	group.Wait()
	moved := map[string][]simulator.Movement{}
	for _, m := range w.sim.Ledger() {
		moved[m.Reference] = append(moved[m.Reference], m)
	}
	for n, r := range requests {
		kind := map[providers.Status]simulator.MovementKind{providers.Succeeded: simulator.MovementRefund, providers.Cancelled: simulator.MovementCancel}[results[n].Status]
		got := moved[r.Payment.Reference]
		if kind == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Kind != kind || got[0].Amount != r.Amount || !names(results[n], got[0].ProviderRefundID) {
			t.Errorf("refund %d, %v %+v: the ledger has %+v", n, results[n].Status, results[n].Raw, got)
		}
	}
}

// names tells whether a result says under which ids the provider booked the refund.
func names(r providers.Result, ids string) bool {
	return r.ProviderRefundID == ids || r.Raw != nil && r.Raw.Message == "refund transactions "+ids
}
