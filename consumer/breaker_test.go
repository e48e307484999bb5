package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"refundworker/providers"
	"refundworker/schemas"
)

// What a call says of the provider's health depends on nothing but its end.
func TestVerdicts(t *testing.T) {
	of := func(k providers.Kind, err error) error { return &providers.Error{Kind: k, Op: "refund", Err: err} }
	tests := []struct {
		name string
		err  error
		want verdict
	}{
		{"an answer, be it a no", nil, answers},
		{"nothing heard", of(providers.Unknown, errReset), fails},
		{"an error of no kind", errReset, fails},
		{"not reached", of(providers.Unavailable, errReset), fails},
		{"up, but refused to tell", of(providers.Unknown, fmt.Errorf("%w: 12", providers.ErrRefused)), answers},
		{"too many calls", of(providers.RateLimited, errReset), silent},
		{"a request that is wrong", of(providers.Invalid, errReset), silent},
		{"credentials", of(providers.Unauthorized, errReset), silent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := weigh(answers, test.err); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if got := weigh(reads, nil); got != reads {
		t.Errorf("a query that is answered: got %d, want %d", got, reads)
	}
}

// fused is a breaker of the defaults, or of others.
func fused(log *slog.Logger, changes ...func(*Breaker)) *breaker {
	in := Instance{Name: "test", Breaker: Breaker{Consecutive: 20, Percent: 75, Calls: 20, Interval: 30 * time.Second,
		Open: 5 * time.Second, Probes: 3}}
	for _, change := range changes {
		change(&in.Breaker)
	}
	return newBreaker(in, log)
}

var nowhere = slog.New(slog.DiscardHandler)

// calls makes one call after the other and reports whether all were let through.
func (b *breaker) calls(verdicts ...verdict) bool {
	for _, v := range verdicts {
		end, ok := b.enter()
		if !ok {
			return false
		}
		end(v)
	}
	return true
}

// The breaker opens when too many calls are not answered, in a row or of those of late, and on nothing else.
func TestBreakerOpens(t *testing.T) {
	all := func(n int, v verdict) []verdict { return slices.Repeat([]verdict{v}, n) }
	tests := []struct {
		name   string
		apart  time.Duration
		calls  []verdict
		change func(*Breaker)
		want   string
	}{
		{"one less than in a row", 0, all(19, fails), nil, stateClosed},
		{"so many in a row", 0, all(20, fails), nil, stateOpen},
		{"in a row, however far apart", time.Hour, all(20, fails), nil, stateOpen},
		{"an answer ends the row", 0, slices.Concat(all(10, fails), all(6, answers), all(3, fails)), nil, stateClosed},
		{"three in four", 0, slices.Repeat([]verdict{answers, fails, fails, fails}, 5), nil, stateOpen},
		{"three in four of too few", 0, slices.Repeat([]verdict{answers, fails, fails, fails}, 4), nil, stateClosed},
		{"three in four of too few of late", 2 * time.Second, slices.Repeat([]verdict{answers, fails, fails, fails}, 10), nil,
			stateClosed},
		{"three in four of the last half minute, whenever it began", time.Second,
			slices.Concat(all(11, answers), slices.Repeat([]verdict{fails, fails, fails, answers}, 9)), nil, stateOpen},
		{"two in three", 0, slices.Repeat([]verdict{answers, fails, fails}, 100), nil, stateClosed},
		{"answers alone", 0, all(1000, answers), nil, stateClosed},
		{"calls that say nothing", 0, all(1000, silent), nil, stateClosed},
		{"queries are answered and refunds are not", 0, slices.Repeat([]verdict{reads, reads, fails}, 20), nil, stateOpen},
		{"what says nothing does not end the row", 0, slices.Repeat([]verdict{silent, fails}, 20), nil, stateOpen},
		{"turned off", 0, all(1000, fails), func(b *Breaker) { b.Off = true }, stateClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.change == nil {
					test.change = func(*Breaker) {}
				}
				b := fused(nowhere, test.change)
				for _, v := range test.calls {
					time.Sleep(test.apart)
					b.calls(v)
				}
				if got := b.state(); got != test.want {
					t.Errorf("the breaker is %s, want %s", got, test.want)
				}
			})
		})
	}
}

// Calls last longer than the breaker's window. They count when they end.
func TestSlowCallsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fused(nowhere, func(b *Breaker) { b.Consecutive = 1000 })
		var ends []func(verdict)
		for range 20 {
			end, _ := b.enter()
			ends = append(ends, end)
		}
		time.Sleep(4 * time.Minute)
		for _, end := range ends {
			end(fails)
		}
		if got := b.state(); got != stateOpen {
			t.Errorf("the breaker is %s after 20 calls that were not answered, want open", got)
		}
	})
}

// opened has a breaker open and its time pass.
func opened(b *breaker) {
	b.calls(slices.Repeat([]verdict{fails}, b.cfg.Consecutive)...)
	time.Sleep(b.cfg.Open + time.Nanosecond)
}

// An open breaker lets nothing through for a while, and then no more than its probes.
func TestHalfOpenLetsProbesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fused(nowhere)
		b.calls(slices.Repeat([]verdict{fails}, 20)...)
		if b.calls(answers) || b.room() != 0 {
			t.Error("an open breaker lets a call through")
		}
		time.Sleep(b.cfg.Open + time.Nanosecond)
		var ends []func(verdict)
		for room := 3; room > 0; room-- {
			if got := b.room(); got != room {
				t.Errorf("room for %d, want %d", got, room)
			}
			end, ok := b.enter()
			if !ok {
				t.Fatalf("no probe with room for %d", room)
			}
			ends = append(ends, end)
		}
		if b.calls(answers) || b.room() != 0 {
			t.Error("a call beside all probes")
		}
		ends[0](silent)
		if got := b.room(); got != 1 {
			t.Errorf("room for %d after a probe that made no call, want 1", got)
		}
		ends[1](reads)
		ends[2](answers)
		if got := b.state(); got != stateHalfOpen {
			t.Errorf("%s after two answers of three, want half_open", got)
		}
		if !b.calls(answers) || b.state() != stateClosed || b.room() != unbounded {
			t.Errorf("%s after three answers, want closed", b.state())
		}
	})
}

// A probe without an answer opens the breaker again, whatever the other probes heard.
func TestFailedProbeOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fused(nowhere)
		opened(b)
		if !b.calls(answers, answers, fails) || b.state() != stateOpen {
			t.Errorf("the breaker is %s, want open", b.state())
		}
		time.Sleep(b.cfg.Open + time.Nanosecond)
		if !b.calls(answers, answers, answers) || b.state() != stateClosed {
			t.Errorf("the breaker is %s after the next probes, want closed", b.state())
		}
	})
}

// Calls that began before the breaker opened end while probes are out, and after it closed. They say nothing of the
// provider as it is now.
func TestCallsFromBeforeDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fused(nowhere)
		var late []func(verdict)
		for range 40 {
			end, _ := b.enter()
			late = append(late, end)
		}
		opened(b)
		for _, end := range late[:20] {
			end(fails)
		}
		if got := b.state(); got != stateHalfOpen || b.room() != 3 {
			t.Errorf("the breaker is %s with room for %d, want half_open for 3", got, b.room())
		}
		b.calls(answers, answers, answers)
		for _, end := range late[20:] {
			end(fails)
		}
		if got := b.state(); got != stateClosed {
			t.Errorf("the breaker is %s, want closed", got)
		}
	})
}

// Probes that make no call, from many at once: none of them keeps the breaker waiting.
func TestEveryProbeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fused(nowhere)
		opened(b)
		var probes sync.WaitGroup
		for range 8 {
			probes.Go(func() {
				for range 1000 {
					if end, ok := b.enter(); ok {
						end(silent)
					}
				}
			})
		}
		probes.Wait()
		if got := b.room(); got != 3 {
			t.Errorf("room for %d, want 3", got)
		}
	})
}

// The log tells the first opening, with what led to it, and the closing; not each probe that fails.
func TestBreakerTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := fused(slog.New(slog.NewTextHandler(&log, nil)))
		b.calls(answers)
		opened(b)
		for range 5 {
			b.calls(fails)
			time.Sleep(b.cfg.Open + time.Nanosecond)
		}
		b.calls(answers, answers, answers)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines, want 2:\n%s", len(lines), log.String())
		}
		for i, want := range [][]string{
			{"level=WARN", "provider=test", "unanswered=19", "answered=1", "within=30s"}, {"level=INFO", "provider=test"}} {
			for _, part := range want {
				if !strings.Contains(lines[i], part) {
					t.Errorf("line %q lacks %q", lines[i], part)
				}
			}
		}
	})
}

// The metric is 1 for the state that holds and 0 for the others.
func TestBreakerStateIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, reader := fused(nowhere), metric.NewManualReader()
		watchBreakers(Telemetry{Meters: metric.NewMeterProvider(metric.WithReader(reader))},
			func() map[schemas.ProviderName]string { return map[schemas.ProviderName]string{"test": b.state()} })
		holds := func(want string) {
			t.Helper()
			var collected metricdata.ResourceMetrics
			if err := reader.Collect(context.Background(), &collected); err != nil {
				t.Fatal(err)
			}
			measured := collected.ScopeMetrics[0].Metrics[0]
			points := measured.Data.(metricdata.Gauge[int64]).DataPoints
			if measured.Name != "refund.breaker.state" || len(points) != 3 {
				t.Fatalf("%s has %d points, want refund.breaker.state with 3", measured.Name, len(points))
			}
			for _, p := range points {
				name, _ := p.Attributes.Value("provider")
				state, _ := p.Attributes.Value("state")
				if name.AsString() != "test" || (p.Value == 1) != (state.AsString() == want) {
					t.Errorf("%s of %s is %d while the breaker is %s", state.AsString(), name.AsString(), p.Value, want)
				}
			}
		}
		holds(stateClosed)
		b.calls(slices.Repeat([]verdict{fails}, 20)...)
		holds(stateOpen)
		time.Sleep(b.cfg.Open + time.Nanosecond)
		holds(stateHalfOpen)
	})
}

// What a delivery took is given back when a later reason holds it.
func TestPassIsTakenWholeOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrakes(Instance{Name: "test", RetryAfterMax: time.Minute, Breaker: fused(nowhere).cfg}, nowhere)
		b.account.refused(time.Now(), 0)
		time.Sleep(time.Minute)
		b.breaker.calls(slices.Repeat([]verdict{fails}, 20)...)
		if _, err := b.enter(time.Now()); !errors.Is(err, errOpen) {
			t.Fatalf("got %v, want %v", err, errOpen)
		}
		b.quota.refused(time.Now(), 20*time.Second)
		time.Sleep(10 * time.Second)
		if _, err := b.enter(time.Now()); !errors.Is(err, errQuota) {
			t.Fatalf("got %v, want %v", err, errQuota)
		}
		time.Sleep(10 * time.Second)
		if got := b.room(time.Now()); got != 1 {
			t.Errorf("room for %d after the rests, want 1", got)
		}
		p, err := b.enter(time.Now())
		if err != nil {
			t.Fatalf("the account's probe is gone: %v", err)
		}
		if _, err := b.enter(time.Now()); !errors.Is(err, errAccount) {
			t.Errorf("beside the probe: got %v, want %v", err, errAccount)
		}
		p.end()
		p.end()
		if got := b.breaker.room(); got != 3 {
			t.Errorf("room for %d after a pass without a call, want 3", got)
		}
	})
}

// One refund's preparation is answered and its call is not: the worst counts.
func TestWorstOfAPassCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrakes(Instance{Name: "test", RetryAfterMax: time.Minute, Breaker: fused(nowhere).cfg}, nowhere)
		for range 20 {
			p, err := b.enter(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			p.hears(reads)
			p.hears(fails)
			p.hears(reads)
			p.end()
		}
		if got := b.state(); got != stateOpen {
			t.Errorf("the provider is %s, want open", got)
		}
	})
}

// An instance that is stopped makes no calls until it is started.
func TestStopped(t *testing.T) {
	b := newBrakes(Instance{Name: "test", RetryAfterMax: time.Minute, Breaker: fused(nowhere).cfg}, nowhere)
	b.stop()
	if _, err := b.enter(noon); !errors.Is(err, errStopped) || b.room(noon) != 0 || b.state() != stateStopped {
		t.Errorf("stopped: got %v, room for %d, %s", err, b.room(noon), b.state())
	}
	b.start()
	if _, err := b.enter(noon); err != nil || b.room(noon) != unbounded || b.state() != stateClosed {
		t.Errorf("started: got %v, room for %d, %s", err, b.room(noon), b.state())
	}
}
