package refund

import (
	"time"

	"refundworker/providers"
)

// Rules is what a provider instance is worked by. Every field is set.
type Rules struct {
	Capabilities providers.Capabilities
	// Timeout bounds one call; LeaseMargin is added to it to make a lease.
	Timeout, LeaseMargin time.Duration
	// RecordGrace is how long it is tried to journal that money moved, also past the lease.
	RecordGrace time.Duration
	// Accept is how old requestedAt may be for a refund that nobody has begun.
	Accept time.Duration
	// MaxAttempts bounds the calls that may have reached the provider, and GiveUpAfter the time for which a refund is
	// tried whose calls surely did not. Then a person is asked.
	MaxAttempts int
	GiveUpAfter time.Duration
	// PendingTimeout is how long a provider may owe a result, RetryAfterMax what it may ask us to wait.
	PendingTimeout, RetryAfterMax time.Duration
	Backoff                       Backoff
	// SameAmount has a refund wait while another one of the same payment and amount is in doubt.
	SameAmount bool
}

// Backoff is exponential with jitter: Initial, then times Multiplier up to Max; each delay is moved by up to Jitter of
// itself, either way.
type Backoff struct {
	Initial, Max       time.Duration
	Multiplier, Jitter float64
}

func (r Rules) lease() time.Duration { return r.Timeout + r.LeaseMargin }

const (
	// straggler is how long after a lease's end a request that was sent under it may still arrive at the provider, and
	// clocksApart how far the clocks of two workers may differ: each stops when it is 5 s off the servers'. By whichever
	// clock a lease's end was written, nothing that was sent under it arrives later than arrived after it.
	straggler   = 5 * time.Second
	clocksApart = 10 * time.Second
	arrived     = straggler + clocksApart
	// callMargin is kept free between the latest end of a call and the end of its lease.
	callMargin = 2 * time.Second
	// scheduleFloor is the shortest wait that a schedule is used for.
	scheduleFloor = 2 * time.Second
	// giveBack is the delay of a delivery whose ending could not be stored, notReady of one that was not begun.
	giveBack = 5 * time.Second
	notReady = time.Second
	// busyLook bounds the wait for another claim, which usually ends long before its lease.
	busyLook = 5 * time.Second
	// parkedAgain is how long a parked refund waits before it is journalled as parked again.
	parkedAgain = 7 * 24 * time.Hour
	// doubtLimit is how long lookups may fail before a person is asked.
	doubtLimit = 7 * 24 * time.Hour
	// unauthorizedFloor keeps wrong credentials from hammering a provider.
	unauthorizedFloor = time.Minute
	// appendPause spaces out what is appended again.
	appendPause, appendPauseMax = 200 * time.Millisecond, 5 * time.Second
	// verdictLook bounds the wait for a payment that cannot be looked at now.
	verdictLook = 30 * time.Second
	// rivalWait bounds how long a command waits in its stream behind another one with other content.
	rivalWait = time.Minute
	// maxTried bounds all attempts, those among them that surely did nothing: a chain must stay short enough to be read.
	maxTried = 1000
	// unreadable is the wait for a chain that cannot be read now, and brokenWait for one that cannot be read at all.
	unreadable, brokenWait = time.Minute, 15 * time.Minute
	// newerWait is how long a command waits behind a message that only a newer version of the worker can read.
	newerWait = 30 * time.Second
)

// delay is how long to wait after round n (1 for the first). spread, from 0 to 1, places it within the jitter.
func (b Backoff) delay(n int, spread float64) time.Duration {
	d := float64(b.Initial)
	for range min(max(n, 1), 64) - 1 {
		d = min(d*b.Multiplier, float64(b.Max))
	}
	d = min(d, float64(b.Max))
	return time.Duration(d + (2*spread-1)*b.Jitter*d)
}

// isOver reports whether a time has come, by the monotonic clock or by the wall's: on a machine that was suspended the former
// stood still, and the time is over all the same.
func isOver(now, until time.Time) bool {
	return !now.Before(until) || !now.Round(0).Before(until.Round(0))
}

// nextLook is how long to wait for the next lookup of a refund that has been in doubt or pending since a time: soon at
// first, then daily. A provider's answer may take days, and asking costs it work. The looks stand at fixed times, so
// that whoever asks how long, and however often, is led to the same one.
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
