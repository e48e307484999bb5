package brakes

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testBreaker is a breaker of the defaults, but for the changes.
func testBreaker(changes ...func(*Breaker)) *breaker {
	cfg := Breaker{}.WithDefaults()
	for _, change := range changes {
		change(&cfg)
	}
	return newBreaker(cfg, nowhere)
}

var nowhere = slog.New(slog.DiscardHandler)

// calls makes one call after the other and reports whether all were admitted.
func (b *breaker) calls(ends ...health) bool {
	for _, end := range ends {
		release, err := b.admit(time.Now())
		if err != nil {
			return false
		}
		release(end)
	}
	return true
}

// The breaker opens when too many calls are not answered, in a row or of those of late, and on nothing else.
func TestBreakerOpens(t *testing.T) {
	all := func(n int, end health) []health { return slices.Repeat([]health{end}, n) }
	tests := []struct {
		name   string
		apart  time.Duration
		calls  []health
		change func(*Breaker)
		want   string
	}{
		{"one less than in a row", 0, all(19, fails), nil, StateClosed},
		{"so many in a row", 0, all(20, fails), nil, StateOpen},
		{"in a row, however far apart", time.Hour, all(20, fails), nil, StateOpen},
		{"an answer ends the row", 0, slices.Concat(all(10, fails), all(6, answers), all(3, fails)), nil, StateClosed},
		{"three in four", 0, slices.Repeat([]health{answers, fails, fails, fails}, 5), nil, StateOpen},
		{"three in four of too few", 0, slices.Repeat([]health{answers, fails, fails, fails}, 4), nil, StateClosed},
		{"three in four of too few of late", 2 * time.Second, slices.Repeat([]health{answers, fails, fails, fails}, 10), nil,
			StateClosed},
		{"three in four of the last half minute, whenever it began", time.Second,
			slices.Concat(all(11, answers), slices.Repeat([]health{fails, fails, fails, answers}, 9)), nil, StateOpen},
		{"two in three", 0, slices.Repeat([]health{answers, fails, fails}, 100), nil, StateClosed},
		{"answers alone", 0, all(1000, answers), nil, StateClosed},
		{"calls that say nothing", 0, all(1000, silent), nil, StateClosed},
		{"queries are answered and refunds are not", 0, slices.Repeat([]health{reads, reads, fails}, 20), nil, StateOpen},
		{"what says nothing does not end the row", 0, slices.Repeat([]health{silent, fails}, 20), nil, StateOpen},
		{"turned off", 0, all(1000, fails), func(b *Breaker) { b.Off = true }, StateClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.change == nil {
					test.change = func(*Breaker) {}
				}
				b := testBreaker(test.change)
				for _, end := range test.calls {
					time.Sleep(test.apart)
					b.calls(end)
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
		b := testBreaker(func(b *Breaker) { b.Consecutive = 1000 })
		var releases []func(health)
		for range 20 {
			release, _ := b.admit(time.Now())
			releases = append(releases, release)
		}
		time.Sleep(4 * time.Minute)
		for _, release := range releases {
			release(fails)
		}
		if got := b.state(); got != StateOpen {
			t.Errorf("the breaker is %s after 20 calls that were not answered, want open", got)
		}
	})
}

// opened has a breaker open and its time pass.
func opened(b *breaker) {
	b.calls(slices.Repeat([]health{fails}, b.cfg.Consecutive)...)
	time.Sleep(b.cfg.Open + time.Nanosecond)
}

// An open breaker lets nothing through for a while, and then no more than its probes.
func TestHalfOpenLetsProbesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBreaker()
		b.calls(slices.Repeat([]health{fails}, 20)...)
		if b.calls(answers) || b.room(time.Now()) != 0 {
			t.Error("an open breaker lets a call through")
		}
		time.Sleep(b.cfg.Open + time.Nanosecond)
		var releases []func(health)
		for room := 3; room > 0; room-- {
			if got := b.room(time.Now()); got != room {
				t.Errorf("room for %d, want %d", got, room)
			}
			release, err := b.admit(time.Now())
			if err != nil {
				t.Fatalf("no probe with room for %d", room)
			}
			releases = append(releases, release)
		}
		if b.calls(answers) || b.room(time.Now()) != 0 {
			t.Error("a call beside all probes")
		}
		releases[0](silent)
		if got := b.room(time.Now()); got != 1 {
			t.Errorf("room for %d after a probe that made no call, want 1", got)
		}
		releases[1](reads)
		releases[2](answers)
		if got := b.state(); got != StateHalfOpen {
			t.Errorf("%s after two answers of three, want half_open", got)
		}
		if !b.calls(answers) || b.state() != StateClosed || b.room(time.Now()) != Unbounded {
			t.Errorf("%s after three answers, want closed", b.state())
		}
	})
}

// A probe without an answer opens the breaker again, whatever the other probes heard.
func TestFailedProbeOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBreaker()
		opened(b)
		if !b.calls(answers, answers, fails) || b.state() != StateOpen {
			t.Errorf("the breaker is %s, want open", b.state())
		}
		time.Sleep(b.cfg.Open + time.Nanosecond)
		if !b.calls(answers, answers, answers) || b.state() != StateClosed {
			t.Errorf("the breaker is %s after the next probes, want closed", b.state())
		}
	})
}

// Calls that began before the breaker opened end while probes are out, and after it closed. They say nothing of the
// provider as it is now.
func TestCallsFromBeforeDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBreaker()
		var late []func(health)
		for range 40 {
			release, _ := b.admit(time.Now())
			late = append(late, release)
		}
		opened(b)
		for _, release := range late[:20] {
			release(fails)
		}
		if got := b.state(); got != StateHalfOpen || b.room(time.Now()) != 3 {
			t.Errorf("the breaker is %s with room for %d, want half_open for 3", got, b.room(time.Now()))
		}
		b.calls(answers, answers, answers)
		for _, release := range late[20:] {
			release(fails)
		}
		if got := b.state(); got != StateClosed {
			t.Errorf("the breaker is %s, want closed", got)
		}
	})
}

// Probes that make no call, from many at once: none of them keeps the breaker waiting.
func TestEveryProbeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBreaker()
		opened(b)
		var probes sync.WaitGroup
		for range 8 {
			probes.Go(func() {
				for range 1000 {
					if release, err := b.admit(time.Now()); err == nil {
						release(silent)
					}
				}
			})
		}
		probes.Wait()
		if got := b.room(time.Now()); got != 3 {
			t.Errorf("room for %d, want 3", got)
		}
	})
}

// The log has the first opening, with what led to it, and the closing; not each probe that fails.
func TestBreakerLogsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := New(Config{Provider: "test", Breaker: Breaker{}.WithDefaults(), Log: slog.New(slog.NewTextHandler(&log, nil))}).breaker
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
