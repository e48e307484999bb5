package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// brakes hold a provider instance back for any of several reasons, each with an end of its own: an operator's word, a
// rest that the provider asked for, a breaker that closes again. Lanes ask how much to pull, deliveries whether to call.
type brakes struct {
	// stopped is set while too many refunds, or too much money, stop the instance.
	stopped atomic.Bool
	// account rests while our credentials are refused, quota while there were too many calls.
	account, quota rest
	breaker        *breaker
}

// States of an instance, as Worker.Providers tells them; those of its breaker are a metric, too.
const (
	stateStopped  = "stopped"
	stateResting  = "resting"
	stateClosed   = "closed"
	stateHalfOpen = "half_open"
	stateOpen     = "open"
)

// unbounded is the room where nothing holds back.
const unbounded = math.MaxInt

func newBrakes(in Instance, log *slog.Logger) *brakes {
	return &brakes{
		account: rest{floor: time.Minute, most: 15 * time.Minute},
		quota:   rest{floor: time.Second, most: in.RetryAfterMax, firm: true},
		breaker: newBreaker(in, log),
	}
}

// stop holds the instance back until start.
func (b *brakes) stop() { b.stopped.Store(true) }

func (b *brakes) start() { b.stopped.Store(false) }

// room is how many deliveries may be begun now: none while held back, few where probes go first.
func (b *brakes) room(now time.Time) int {
	if b.stopped.Load() {
		return 0
	}
	return min(b.account.room(now), b.quota.room(now), b.breaker.room())
}

// state is the word for what holds the instance back.
func (b *brakes) state() string {
	switch {
	case b.stopped.Load():
		return stateStopped
	case b.account.doubted(), b.quota.doubted():
		return stateResting
	}
	return b.breaker.state()
}

// Why no call is made.
var (
	errStopped = errors.New("it is stopped by its velocity")
	errAccount = errors.New("it does not take our credentials")
	errQuota   = errors.New("it wants fewer calls")
	errOpen    = errors.New("its breaker is open")
)

// pass is the right to ask the provider, for one refund, until its end. Where a probe goes first it is the probe, and keeps
// others out: so each pass ends, with whatever was heard by then.
type pass struct {
	ends  []func(verdict)
	heard verdict
}

// enter gives a pass, or tells why there is none.
func (b *brakes) enter(now time.Time) (*pass, error) {
	if b.stopped.Load() {
		return nil, errStopped
	}
	p := &pass{}
	account, ok := b.account.enter(now)
	if !ok {
		return nil, errAccount
	}
	p.ends = append(p.ends, account)
	quota, ok := b.quota.enter(now)
	if !ok {
		p.end()
		return nil, errQuota
	}
	p.ends = append(p.ends, quota)
	breaker, ok := b.breaker.enter()
	if !ok {
		p.end()
		return nil, errOpen
	}
	p.ends = append(p.ends, breaker)
	return p, nil
}

// hears notes what a call says; of several the worst counts.
func (p *pass) hears(v verdict) { p.heard = max(p.heard, v) }

// end is safe to repeat, and on no pass at all.
func (p *pass) end() {
	if p == nil {
		return
	}
	for _, end := range p.ends {
		end(p.heard)
	}
	p.ends = nil
}

// verdict is what calls say of the provider's health, the worst last.
type verdict int

const (
	// silent: nothing. No call was made, or its answer is about us.
	silent verdict = iota
	// reads: it answers what moves no money. That is enough for a probe and for nothing else: a provider whose queries work
	// and whose refunds do not would never be left alone.
	reads
	// answers: it answers what it is there for, be it with a no.
	answers
	// fails: there was no answer.
	fails
)

// weigh is what the end of a call says, where an answer says good. Refused credentials and too many calls have rests of
// their own.
func weigh(good verdict, err error) verdict {
	if err == nil || errors.Is(err, providers.ErrRefused) {
		return good
	}
	switch providers.KindOf(err) {
	case providers.RateLimited, providers.Invalid, providers.Unauthorized:
		return silent
	}
	return fails
}

// errNoCall says that the provider may not be asked now: its rate leaves no room for a call within the lease, it is held
// back, or what it would answer could not be relied on or kept.
var errNoCall = errors.New("the provider may not be asked now")

// permit waits for the right to ask the provider so often, as long as a call would still end well inside the lease. What was
// claimed just before the gate closed asks nothing any more.
func (p *processor) permit(ctx context.Context, d *delivery, calls int) error {
	// Half of the time that is left at most: the intent has to be stored in the other half.
	ctx, cancel := context.WithTimeout(ctx, time.Until(p.lastCall(d))/2)
	defer cancel()
	err := p.turn(ctx, calls)
	d.hadTurn()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoCall, err)
	}
	if err := p.mayCall(); err != nil {
		return err
	}
	d.pass.end()
	if d.pass, err = p.brakes.enter(time.Now()); err != nil {
		return fmt.Errorf("%w: %w", errNoCall, err)
	}
	return nil
}

// mayCall tells whether what a provider answers can be relied on and kept now.
func (p *processor) mayCall() error {
	if reason := p.store.Gate().Reason(); reason != idempotency.Ready {
		return fmt.Errorf("%w: %s", errNoCall, reason)
	}
	if !p.journal.connected(p.store.Gate()) {
		return fmt.Errorf("%w: %s", errNoCall, reasonNATS)
	}
	return nil
}

// Providers tells what holds each provider back: "closed" when nothing does, "open" or "half_open" while calls bring no
// answer, "resting" while the provider takes no calls of ours, "stopped" after too many refunds. None of them makes the
// worker unready: the others go on.
func (w *Worker) Providers() map[schemas.ProviderName]string {
	states := make(map[schemas.ProviderName]string, len(w.processors))
	for _, p := range w.processors {
		states[p.in.Name] = p.brakes.state()
	}
	return states
}

// breakers tells the state of each instance's breaker by itself.
func (w *Worker) breakers() map[schemas.ProviderName]string {
	states := make(map[schemas.ProviderName]string, len(w.processors))
	for _, p := range w.processors {
		states[p.in.Name] = p.brakes.breaker.state()
	}
	return states
}
