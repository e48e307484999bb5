package brakes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"refundworker/schemas"
)

// Config says what a provider's brakes are set to.
type Config struct {
	// Provider names the instance in the log.
	Provider schemas.ProviderName
	Breaker  Breaker
	Rates    Rates
	// RetryAfterMax is the longest cooldown for too many calls, whatever the provider asks for.
	RetryAfterMax time.Duration
	Log           *slog.Logger
}

// Breaker leaves a provider alone while most of its calls bring no answer: then nothing is pulled for Open, and after
// that a few calls tell whether it is back. Declines are answers. Defaults 20, 75, 20, 30 s, 5 s, 3.
type Breaker struct {
	// Off turns it off.
	Off bool
	// Consecutive is how many calls in a row without an answer open it.
	Consecutive int
	// Percent of the calls within Interval without an answer opens it, once there were at least Calls.
	Percent, Calls int
	Interval       time.Duration
	// Open is how long nothing is pulled.
	Open time.Duration
	// Probes is how many calls go through then; as many answers in a row close it.
	Probes int
}

// Rates bound the calls of a provider, queries among them.
type Rates struct {
	// PerSecond bounds this process's calls; 0 does not.
	PerSecond int
	// FleetPerSecond bounds the calls of all workers together; 0 does not.
	FleetPerSecond int
	// Book books so many calls at the fleet's rate, all of them or none. It returns how long to wait for the last, and whether
	// they are booked: not if that would be longer than atMost. It is not called without FleetPerSecond.
	Book func(ctx context.Context, calls int, atMost time.Duration) (wait time.Duration, booked bool, err error)
	// Prepares is set where a refund makes two calls, as in providers.Capabilities.
	Prepares bool
}

// WithDefaults returns a copy in which every zero field has its default.
func (b Breaker) WithDefaults() Breaker {
	b.Consecutive = cmp.Or(b.Consecutive, 20)
	b.Percent = cmp.Or(b.Percent, 75)
	b.Calls = cmp.Or(b.Calls, 20)
	b.Interval = cmp.Or(b.Interval, 30*time.Second)
	b.Open = cmp.Or(b.Open, 5*time.Second)
	b.Probes = cmp.Or(b.Probes, 3)
	return b
}

// Problems returns every problem of the settings. Each begins with the setting's name.
func (b Breaker) Problems() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if b.Consecutive < 1 {
		wrong("consecutive is %d, want at least 1", b.Consecutive)
	}
	if b.Percent < 1 || b.Percent > 100 {
		wrong("percent is %d, want 1 to 100", b.Percent)
	}
	if b.Calls < 1 {
		wrong("calls is %d, want at least 1", b.Calls)
	}
	if b.Interval < time.Second {
		wrong("interval is %s, want at least 1s", b.Interval)
	}
	if b.Open < 100*time.Millisecond || b.Open > 10*time.Minute {
		wrong("open is %s, want 100ms to %s", b.Open, 10*time.Minute)
	}
	if b.Probes < 1 || b.Probes > 100 {
		wrong("probes is %d, want 1 to 100", b.Probes)
	}
	return errs
}
