package consumer

import (
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

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
