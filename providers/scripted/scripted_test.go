package scripted_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/providers"
	"refundworker/providers/providertest"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

func request(id, script string) providers.Request {
	r := providers.Request{RequestID: schemas.RequestID(id), Payment: schemas.Payment{Reference: "p-" + id},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, Attempt: 1, IdempotencyKey: id}
	if script != "" {
		r.Options = json.RawMessage(`{"script":` + script + `}`)
	}
	return r
}

func newProvider(t *testing.T, cfg scripted.Config) *scripted.Provider {
	t.Helper()
	p, err := scripted.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{New: func(t *testing.T, _ func(http.Handler) http.Handler) providertest.World {
		p := newProvider(t, scripted.Config{})
		declined := request("declined", `["declined:account_closed"]`)
		return providertest.World{
			Provider:   p,
			Refundable: func(n int) providers.Request { return request("r"+string(rune('A'+n)), "") },
			Declined:   &declined,
			Refused: map[string]providers.Request{
				"unknown outcome": request("x", `["perhaps"]`),
				"unknown option":  {RequestID: "x", Options: json.RawMessage(`{"by":"orderId"}`)},
			},
			Movements: func() int { return len(p.Movements()) },
		}
	}})
}

func TestOutcomes(t *testing.T) {
	const failed = -1
	tests := []struct {
		outcome string
		status  providers.Status
		kind    providers.Kind
		moved   int
		found   providers.FindingKind
	}{
		{"succeeded", providers.Succeeded, 0, 1, providers.Found},
		{"cancelled", providers.Cancelled, 0, 1, providers.Found},
		{"acknowledged", providers.Acknowledged, 0, 0, providers.Found},
		{"partial", providers.Partial, 0, 1, providers.Found},
		{"declined:not_found", providers.Declined, 0, 0, providers.Found},
		{"not_now:day_end", providers.NotNow, 0, 0, providers.NotFound},
		{"unknown_applied", failed, providers.Unknown, 1, providers.Found},
		{"unknown_lost", failed, providers.Unknown, 0, providers.NotFound},
		{"unavailable", failed, providers.Unavailable, 0, providers.NotFound},
		{"rate_limited:9s", failed, providers.RateLimited, 0, providers.NotFound},
		{"invalid", failed, providers.Invalid, 0, providers.NotFound},
		{"unauthorized", failed, providers.Unauthorized, 0, providers.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.outcome, func(t *testing.T) {
			p := newProvider(t, scripted.Config{Outcomes: []string{tt.outcome}})
			res, err := p.Refund(t.Context(), request("r1", ""))
			if tt.status == failed && (err == nil || providers.KindOf(err) != tt.kind) {
				t.Errorf("got %v, want an error of kind %v", err, tt.kind)
			}
			if tt.status != failed && (err != nil || res.Status != tt.status) {
				t.Errorf("got %v, %v, want %v", res.Status, err, tt.status)
			}
			if got := len(p.Movements()); got != tt.moved {
				t.Errorf("movements: got %d, want %d", got, tt.moved)
			}
			if f, err := p.Lookup(t.Context(), request("r1", "")); err != nil || f.Kind != tt.found {
				t.Errorf("Lookup: got %v, %v, want %v", f.Kind, err, tt.found)
			}
		})
	}
}

func TestDetailsOfOutcomes(t *testing.T) {
	p := newProvider(t, scripted.Config{})
	res, err := p.Refund(t.Context(), request("r1", `["not_now:provider_busy:90s"]`))
	if err != nil || res.Reason != schemas.ReasonProviderBusy || res.After != 90*time.Second {
		t.Errorf("not_now: got %+v, %v", res, err)
	}
	_, err = p.Refund(t.Context(), request("r2", `["rate_limited:9s"]`))
	if e, ok := err.(*providers.Error); !ok || e.RetryAfter != 9*time.Second {
		t.Errorf("rate_limited: got %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("panic: got none")
		}
	}()
	_, _ = p.Refund(t.Context(), request("r3", `["panic"]`))
}

func TestScriptRunsPerRequest(t *testing.T) {
	p := newProvider(t, scripted.Config{Outcomes: []string{"unavailable", "not_now:day_end", "succeeded"}})
	for _, id := range []string{"a", "b"} {
		for n, want := range []providers.Status{providers.NoResult, providers.NotNow, providers.Succeeded, providers.Succeeded} {
			if res, _ := p.Refund(t.Context(), request(id, "")); res.Status != want {
				t.Errorf("%s, call %d: got %v, want %v", id, n+1, res.Status, want)
			}
		}
	}
	// Without a key life nothing protects from a second call, and the ledger shows it.
	if got := len(p.Movements()); got != 4 {
		t.Errorf("movements: got %d, want 4", got)
	}
}

func TestKeyIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"},
			Capabilities: &providers.Capabilities{KeyLife: time.Hour}})
		r := request("r1", "")
		if _, err := p.Refund(t.Context(), r); err == nil {
			t.Fatal("first call: got an answer")
		}
		res, err := p.Refund(t.Context(), r)
		if err != nil || res.Status != providers.Succeeded || len(p.Movements()) != 1 {
			t.Errorf("same key: got %v, %v, %d movements, want the old answer", res.Status, err, len(p.Movements()))
		}
		time.Sleep(time.Hour)
		if _, err := p.Refund(t.Context(), r); err != nil || len(p.Movements()) != 2 {
			t.Errorf("key too old: got %v, %d movements, want a second one", err, len(p.Movements()))
		}
		if _, err := p.Lookup(t.Context(), r); err == nil {
			t.Error("Lookup: got an answer although the sheet has none")
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, scripted.Config{Latency: time.Second})
		start := time.Now()
		if _, err := p.Refund(t.Context(), request("r1", "")); err != nil || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want an answer after 1s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := p.Refund(ctx, request("r2", "")); err == nil || providers.KindOf(err) != providers.Unknown {
			t.Errorf("got %v, want unknown", err)
		}
		if got := len(p.Movements()); got != 1 {
			t.Errorf("movements: got %d, want 1", got)
		}
	})
}

func TestConfigReportsEveryProblem(t *testing.T) {
	_, err := scripted.New(scripted.Config{Latency: -1, Outcomes: []string{"succeeded", "declined:day_end", "not_now:soon",
		"not_now:day_end:later", "rate_limited:-1s", "", "declined"}})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"latency", "outcomes[1]", "outcomes[2]", "outcomes[3]", "outcomes[4]", "outcomes[5]", "outcomes[6]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "outcomes[0]") {
		t.Errorf("got %v, but outcomes[0] is fine", err)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add(`{"script":["succeeded","not_now:day_end:1h"]}`)
	f.Add(`{"script":["rate_limited:","unknown"]} x`)
	p, err := scripted.New(scripted.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, options string) {
		_, _, err := p.Prepare(t.Context(), providers.Request{RequestID: "r1", Options: json.RawMessage(options)})
		if err != nil && providers.KindOf(err) != providers.Invalid {
			t.Errorf("got %v, want invalid or nothing", err)
		}
	})
}
