package providertest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
)

// World is one adapter with a provider of its own behind it.
type World struct {
	Provider providers.Provider
	// Refundable makes the n-th of any number of requests for refunds that the provider will grant, each of
	// another payment.
	Refundable func(n int) providers.Request
	// Declined is a request that the provider refuses for good; nil when it cannot be provoked.
	Declined *providers.Request
	// Refused are requests that break a limit which the adapter knows: refused before any call.
	Refused map[string]providers.Request
	// Limits are requests at the edge of the limits, which must go through.
	Limits map[string]providers.Request
	// Movements counts the movements of money in the provider's ledger.
	Movements func() int
	// Down takes the provider off the network and drops the adapter's idle connections, because a request
	// written into a dying one is rightly in doubt; nil for a provider in process.
	Down func()
}

// Harness makes worlds.
type Harness struct {
	// New returns a fresh world. A provider behind HTTP serves around(its handler).
	New func(t *testing.T, around func(http.Handler) http.Handler) World
	// Moves tells the HTTP requests that ask to move money; nil for a provider in process.
	Moves func(*http.Request) bool
	// Odd are answers that the adapter cannot know or read: unknown statuses, missing fields.
	Odd map[string]Answer
}

// Answer is a complete HTTP answer.
type Answer struct {
	Status      int
	ContentType string
	Body        string
}

// patience bounds every call of a row; rows in which nothing answers use a deadline of their own.
const patience = 20 * time.Second

// Run runs every row that fits the harness.
func Run(t *testing.T, h Harness) {
	t.Run("contract", func(t *testing.T) { runContract(t, h) })
	if h.Moves != nil {
		t.Run("faults", func(t *testing.T) { runFaults(t, h) })
	}
}

// row is one rule of the contract that holds for any adapter.
type row struct {
	name, rule string
	run        func(*testing.T, *traffic, World)
}

var rows = []row{
	{"success", "a granted refund moves money once and says so", success},
	{"decline", "a no is a result, not an error, and moves nothing", decline},
	{"refused", "what breaks a known limit is Invalid with its problems, before any call", refusedEarly},
	{"limits", "what just keeps a limit goes through", limits},
	{"cancelled", "a call that was cancelled before it began surely did nothing", cancelledBefore},
	{"lookup", "a lookup never moves money", lookupMovesNothing},
	{"concurrent", "an adapter is safe for concurrent use", concurrent},
	{"unreachable", "a provider that cannot be reached surely did nothing", unreachable},
}

func runContract(t *testing.T, h Harness) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var seen traffic
			w := h.New(t, seen.count(h.Moves))
			defer func() {
				if t.Failed() {
					t.Logf("the rule: %s", r.rule)
				}
			}()
			r.run(t, &seen, w)
		})
	}
}

// prepared returns the request as the worker would send it: with the baseline, as the first attempt.
func prepared(t *testing.T, w World, r providers.Request) (providers.Request, providers.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	baseline, res, err := w.Provider.Prepare(ctx, r)
	r.Baseline, r.Attempt = baseline, 1
	return r, res, err
}

func ready(t *testing.T, w World, r providers.Request) providers.Request {
	t.Helper()
	r, res, err := prepared(t, w, r)
	if err != nil || res.Status != providers.NoResult {
		t.Fatalf("Prepare: got result %v, error %v, want to go on", res.Status, err)
	}
	return r
}

func refund(t *testing.T, w World, r providers.Request) (providers.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return w.Provider.Refund(ctx, r)
}

func wantMovements(t *testing.T, w World, want int) {
	t.Helper()
	if got := w.Movements(); got != want {
		t.Errorf("movements of money: got %d, want %d", got, want)
	}
}

func granted(s providers.Status) bool {
	return s == providers.Succeeded || s == providers.Cancelled || s == providers.Acknowledged
}

func success(t *testing.T, _ *traffic, w World) {
	res, err := refund(t, w, ready(t, w, w.Refundable(0)))
	if err != nil || !granted(res.Status) {
		t.Errorf("Refund: got %v, %v, want it granted", res.Status, err)
	}
	wantMovements(t, w, 1)
}

func decline(t *testing.T, _ *traffic, w World) {
	if w.Declined == nil {
		return
	}
	r, res, err := prepared(t, w, *w.Declined)
	if err == nil && res.Status == providers.NoResult {
		res, err = refund(t, w, r)
	}
	if err != nil || res.Status != providers.Declined || res.Reason == "" {
		t.Errorf("got status %v, reason %q, error %v, want declined with a reason", res.Status, res.Reason, err)
	}
	wantMovements(t, w, 0)
}

func refusedEarly(t *testing.T, seen *traffic, w World) {
	for name, r := range w.Refused {
		before := seen.total()
		_, _, err := prepared(t, w, r)
		var e *providers.Error
		if !errors.As(err, &e) || e.Kind != providers.Invalid || len(e.Problems) == 0 {
			t.Errorf("%s: Prepare: got %v, want Invalid with problems", name, err)
		}
		if got := seen.total() - before; got != 0 {
			t.Errorf("%s: got %d calls of the provider, want none", name, got)
		}
	}
	wantMovements(t, w, 0)
}

func limits(t *testing.T, _ *traffic, w World) {
	for name, r := range w.Limits {
		if res, err := refund(t, w, ready(t, w, r)); err != nil || !granted(res.Status) {
			t.Errorf("%s: got %v, %v, want it granted", name, res.Status, err)
		}
	}
	wantMovements(t, w, len(w.Limits))
}

func cancelledBefore(t *testing.T, _ *traffic, w World) {
	r := ready(t, w, w.Refundable(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Provider.Refund(ctx, r); err == nil || !providers.KindOf(err).Safe() {
		t.Errorf("Refund: got %v, want an error of a safe kind", err)
	}
	wantMovements(t, w, 0)
}

func lookupMovesNothing(t *testing.T, seen *traffic, w World) {
	if !w.Provider.Capabilities().Lookup {
		return
	}
	r := ready(t, w, w.Refundable(0))
	wantFinding(t, w, r, providers.NotFound)
	wantMovements(t, w, 0)
	if got := seen.moving(); got != 0 {
		t.Errorf("Lookup sent %d requests that move money, want none", got)
	}
	if _, err := refund(t, w, r); err != nil {
		t.Fatalf("Refund: %v", err)
	}
	wantFinding(t, w, r, providers.Found)
	wantMovements(t, w, 1)
}

func wantFinding(t *testing.T, w World, r providers.Request, want providers.FindingKind) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := w.Provider.Lookup(ctx, r)
	if err != nil || f.Kind != want {
		t.Errorf("Lookup: got %v (%s), %v, want %v", f.Kind, f.Detail, err, want)
	}
	if f.Kind == providers.Found && !granted(f.Result.Status) {
		t.Errorf("Lookup: got a finding of status %v, want it granted", f.Result.Status)
	}
}

func concurrent(t *testing.T, _ *traffic, w World) {
	const calls = 32
	var wg sync.WaitGroup
	for n := range calls {
		wg.Go(func() {
			r := w.Refundable(n)
			baseline, _, err := w.Provider.Prepare(t.Context(), r)
			if err == nil {
				r.Baseline, r.Attempt = baseline, 1
				_, err = w.Provider.Refund(t.Context(), r)
			}
			if err != nil {
				t.Errorf("refund %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	wantMovements(t, w, calls)
}

func unreachable(t *testing.T, _ *traffic, w World) {
	if w.Down == nil {
		return
	}
	r := ready(t, w, w.Refundable(0))
	w.Down()
	if _, err := refund(t, w, r); providers.KindOf(err) != providers.Unavailable {
		t.Errorf("Refund: got %v, want unavailable", err)
	}
	wantMovements(t, w, 0)
}
