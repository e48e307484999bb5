package brakes

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// bookedAhead is how far ahead deliveries are begun for calls that the rates let through: one that is begun for a later call
// would only be put off.
const bookedAhead = 5 * time.Second

// errBooked says that other workers have the provider's next calls, for longer than there is time to wait.
var errBooked = errors.New("the fleet's rate has no turn in time")

// rates space out the calls of a provider.
type rates struct {
	cfg Rates
	// perRefund is how many calls a refund makes.
	perRefund int
	// process spaces out this process's own calls.
	process *rate.Limiter
	// queued counts the deliveries in hand that have not waited yet.
	queued atomic.Int64
	// fullUntil is a time in Unix nanoseconds: until then the fleet's calls are booked for longer than bookedAhead.
	fullUntil atomic.Int64
}

// newRates lets a tenth of a second's calls through at once, or one refund's two.
func newRates(cfg Rates) *rates {
	r := &rates{cfg: cfg, perRefund: 1, process: rate.NewLimiter(rate.Inf, 0)}
	if cfg.Prepares {
		r.perRefund = 2
	}
	if cfg.PerSecond > 0 {
		r.process = rate.NewLimiter(rate.Limit(cfg.PerSecond), max(2, cfg.PerSecond/10))
	}
	return r
}

// room is how many deliveries may be begun whose calls the rates let through soon.
func (r *rates) room(now time.Time) int {
	const seconds = int(bookedAhead / time.Second)
	n, queued := Unbounded, int(r.queued.Load())
	if r.cfg.PerSecond > 0 {
		n = (int(r.process.TokensAt(now))+r.cfg.PerSecond*seconds)/r.perRefund - queued
	}
	if r.cfg.FleetPerSecond > 0 {
		n = min(n, max(r.cfg.FleetPerSecond*seconds/r.perRefund, 1)-queued)
		if now.UnixNano() < r.fullUntil.Load() {
			n = 0
		}
	}
	return max(n, 0)
}

// wait waits until the rates let so many calls through, this process's own first: what it holds up books nothing of the
// fleet's. ctx has to end, because it bounds how far ahead calls are booked.
func (r *rates) wait(ctx context.Context, calls int) error {
	if err := r.process.WaitN(ctx, calls); err != nil || r.cfg.FleetPerSecond == 0 {
		return err
	}
	end, _ := ctx.Deadline()
	wait, booked, err := r.cfg.Book(ctx, calls, time.Until(end))
	if wait > bookedAhead {
		r.fullUntil.Store(time.Now().Add(wait - bookedAhead).UnixNano())
	}
	switch {
	case err != nil:
		return err
	case !booked:
		return errBooked
	case wait == 0:
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
