package consumer

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"refundworker/providers"
	"refundworker/schemas"
)

// delay is how long to wait after round n (1 for the first). spread, from 0 to 1, places it within the jitter.
func (b Backoff) delay(n int, spread float64) time.Duration {
	exp := backoff.NewExponentialBackOff(backoff.WithInitialInterval(b.Initial), backoff.WithMultiplier(b.Multiplier),
		backoff.WithMaxInterval(b.Max), backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
	d := exp.NextBackOff()
	for range min(max(n, 1), 64) - 1 {
		d = exp.NextBackOff()
	}
	return d + time.Duration((2*spread-1)*b.Jitter*float64(d))
}

// nextLook is how long to wait for the next lookup of a refund that has been in doubt or pending since a time:
// soon at first, then daily. A provider's answer may take days, and asking costs it work. The looks stand at fixed
// times, so that whoever asks how long, and however often, is led to the same one.
func nextLook(since, now time.Time) time.Duration {
	age := max(now.Sub(since), 0)
	for _, at := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour} {
		if age < at {
			return at - age
		}
	}
	step := 24 * time.Hour
	if age < 4*time.Hour {
		step = time.Hour
	}
	return step - age%step
}

// deferral is when to try again after a provider's "not now": its own wish, or what the reason needs.
// deferrals counts the earlier ones.
func deferral(r providers.Result, caps providers.Capabilities, deferrals int, now time.Time) time.Time {
	if r.After > 0 {
		return now.Add(min(r.After, 24*time.Hour))
	}
	switch r.Reason {
	case schemas.ReasonDayEnd:
		return nextDay(now, caps.DayEnd)
	case schemas.ReasonInsufficientBalance:
		// Tomorrow's sales may cover it: an hour first, then longer.
		return now.Add(min(time.Hour<<min(deferrals, 5), 24*time.Hour))
	}
	return now.Add(min(time.Minute<<min(deferrals, 10), time.Hour))
}

// nextDay is half past midnight, when the provider's day has surely ended.
func nextDay(now time.Time, zone *time.Location) time.Time {
	if zone == nil {
		zone = time.UTC
	}
	y, m, d := now.In(zone).Date()
	next := time.Date(y, m, d+1, 0, 30, 0, 0, zone)
	if next.Day() == d { // summer time begins at midnight there: half past does not exist, and became half past eleven
		next = next.Add(time.Hour)
	}
	return next.UTC()
}
