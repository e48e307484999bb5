package brakes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/providers"
)

var errNoAnswer = errors.New("connection reset")

// testBrakes hold nothing back but by their rates.
func testBrakes(rates ...Rates) *Brakes {
	cfg := Config{Provider: "test", Breaker: Breaker{}.WithDefaults(), RetryAfterMax: time.Minute, Log: nowhere}
	for _, r := range rates {
		cfg.Rates = r
	}
	b := New(cfg)
	b.SetStopped(false)
	return b
}

// admit takes a permit for one call.
func (b *Brakes) admit() (*Permit, error) {
	p := b.NewPermit()
	return p, p.Admit(context.Background(), 1)
}

// What a call says of the provider's health depends on nothing but its end.
func TestHealth(t *testing.T) {
	of := func(k providers.Kind, err error) error { return &providers.Error{Kind: k, Op: "refund", Err: err} }
	tests := []struct {
		name string
		err  error
		want health
	}{
		{"an answer, be it a no", nil, answers},
		{"nothing heard", of(providers.Unknown, errNoAnswer), fails},
		{"an error of no kind", errNoAnswer, fails},
		{"not reached", of(providers.Unavailable, errNoAnswer), fails},
		{"up, but refused to tell", of(providers.Unknown, fmt.Errorf("%w: 12", providers.ErrRefused)), answers},
		{"too many calls", of(providers.RateLimited, errNoAnswer), silent},
		{"a request that is wrong", of(providers.Invalid, errNoAnswer), silent},
		{"credentials", of(providers.Unauthorized, errNoAnswer), silent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := healthOf(answers, test.err); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if got := healthOf(reads, nil); got != reads {
		t.Errorf("a query that is answered: got %d, want %d", got, reads)
	}
}

// What a permit took is given back when a later reason holds calls back.
func TestPermitIsTakenWholeOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBrakes()
		b.account.begin(time.Now(), 0)
		time.Sleep(time.Minute)
		b.breaker.calls(slices.Repeat([]health{fails}, 20)...)
		if _, err := b.admit(); !errors.Is(err, errOpen) {
			t.Fatalf("got %v, want %v", err, errOpen)
		}
		b.quota.begin(time.Now(), 20*time.Second)
		time.Sleep(10 * time.Second)
		if _, err := b.admit(); !errors.Is(err, errQuota) {
			t.Fatalf("got %v, want %v", err, errQuota)
		}
		time.Sleep(10 * time.Second)
		if got, probes := b.Room(); got != 1 || !probes {
			t.Errorf("room for %d (probes: %t) after the cooldowns, want 1 probe", got, probes)
		}
		p, err := b.admit()
		if err != nil {
			t.Fatalf("the account's probe is gone: %v", err)
		}
		if _, err := b.admit(); !errors.Is(err, errAccount) {
			t.Errorf("beside the probe: got %v, want %v", err, errAccount)
		}
		p.Release()
		p.Release()
		if got := b.breaker.room(time.Now()); got != 3 {
			t.Errorf("room for %d after a permit without a call, want 3", got)
		}
	})
}

// A delivery asks twice. What it took first is given back, so that it is not in its own way.
func TestAdmitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBrakes()
		b.account.begin(time.Now(), 0)
		time.Sleep(time.Minute)
		p, err := b.admit()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Admit(t.Context(), 1); err != nil {
			t.Errorf("the probe asks again: got %v, want another permit", err)
		}
		if _, err := b.admit(); !errors.Is(err, errAccount) {
			t.Errorf("beside the probe: got %v, want %v", err, errAccount)
		}
	})
}

// One refund's preparation is answered and its call is not: the worst counts.
func TestWorstOfAPermitCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBrakes()
		for range 20 {
			p, err := b.admit()
			if err != nil {
				t.Fatal(err)
			}
			p.ReportQuery(t.Context(), nil)
			p.Report(t.Context(), errNoAnswer)
			p.ReportQuery(t.Context(), nil)
			p.Release()
		}
		if got := b.State(); got != StateOpen {
			t.Errorf("the provider is %s, want open", got)
		}
	})
}

// A provider that is stopped gets no calls until it is started, and none before it is known whether it is.
func TestStopped(t *testing.T) {
	b := New(Config{Breaker: Breaker{}.WithDefaults(), Log: nowhere})
	holds := func(wantErr error, wantRoom int, wantState string) {
		t.Helper()
		_, err := b.admit()
		if room, _ := b.Room(); !errors.Is(err, wantErr) || room != wantRoom || b.State() != wantState {
			t.Errorf("got %v, room for %d, %s; want %v, room for %d, %s", err, room, b.State(), wantErr, wantRoom, wantState)
		}
	}
	holds(errStopped, 0, StateClosed)
	select {
	case <-b.Known():
		t.Error("it is known whether the provider is stopped before anything was said")
	default:
	}
	b.SetStopped(true)
	<-b.Known()
	holds(errStopped, 0, StateStopped)
	b.SetStopped(false)
	holds(nil, Unbounded, StateClosed)
}
