// Package brakes decides when a provider may be called. Each provider instance has its own brakes.
//
// # What holds calls back
//
//	velocity   too many refunds, or too much money: no call until a person starts the provider again
//	account    the provider refuses our credentials: a cooldown
//	quota      the provider wants fewer calls: a cooldown, as long as it asks for within bounds
//	breaker    calls bring no answer: no call for a while, then a few probes
//	rates      so many calls a second, of this process and of all workers: a call waits
//
// A worker asks Room before it pulls, so that what cannot be called for stays in its stream. Each delivery has a Permit from
// then on: Admit fills it before a call, Report tells it how the call ended, and Release gives it back.
//
// # Guarantee
//
// A call is admitted only while nothing holds it back, and none before it is known whether velocity does. After a cooldown
// one call goes first, and a half-open breaker admits no more than its probes. A probe's place is free again once its permit
// is given back, whether it made a call or not.
//
// A "no" is an answer, and an answer ends a cooldown. While the quota's cooldown runs it does not: it is to a call from
// before. For the breaker, the answer to a query is enough for a probe and for nothing else: a provider whose queries work
// and whose refunds do not would never be left alone.
//
// # What it does not do
//
// It makes no calls and repeats none. It knows this process only: the fleet's velocity and the bookings at the fleet's rate
// are kept elsewhere. Nothing is journalled or measured here.
package brakes

import (
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Brakes hold a provider instance back for any of several reasons, each with an end of its own. They are safe for concurrent
// use.
type Brakes struct {
	log *slog.Logger
	// stopped is set while the velocity stop holds. It says nothing before known is closed.
	stopped   atomic.Bool
	known     chan struct{}
	closeOnce sync.Once

	account, quota *cooldown
	breaker        *breaker
	rates          *rates
	// all are those that end by themselves, in the order in which a permit takes them.
	all []brake
}

// brake holds calls back for one reason.
type brake interface {
	// room is how many calls may begin now.
	room(now time.Time) int
	// admit returns what takes in how the call ended, or why there is no call.
	admit(now time.Time) (release func(health), err error)
}

// States of a provider.
const (
	StateStopped  = "stopped"
	StateResting  = "resting"
	StateClosed   = "closed"
	StateHalfOpen = "half_open"
	StateOpen     = "open"
)

// Unbounded is the room where nothing holds back.
const Unbounded = math.MaxInt

// Why no call is admitted.
var (
	errStopped = errors.New("it is stopped by its velocity")
	errAccount = errors.New("it does not take our credentials")
	errQuota   = errors.New("it wants fewer calls")
	errOpen    = errors.New("its breaker is open")
)

// New returns brakes that admit nothing until it is known whether the provider is stopped by its velocity.
func New(cfg Config) *Brakes {
	b := &Brakes{
		log:     cfg.Log.With("provider", string(cfg.Provider)),
		rates:   newRates(cfg.Rates),
		known:   make(chan struct{}),
		account: &cooldown{why: errAccount, first: time.Minute, longest: 15 * time.Minute},
		quota:   &cooldown{why: errQuota, first: time.Second, longest: cfg.RetryAfterMax, firm: true},
	}
	b.breaker = newBreaker(cfg.Breaker, b.log)
	b.all = []brake{b.account, b.quota, b.breaker}
	return b
}

// SetStopped notes whether the provider is stopped by its velocity.
func (b *Brakes) SetStopped(stopped bool) {
	b.stopped.Store(stopped)
	b.closeOnce.Do(func() { close(b.known) })
}

// Known is closed once it is known whether the provider is stopped.
func (b *Brakes) Known() <-chan struct{} { return b.known }

// isStopped reports whether no call is admitted because of velocity: a stop holds, or nobody knows yet whether one does.
func (b *Brakes) isStopped() bool {
	select {
	case <-b.known:
		return b.stopped.Load()
	default:
		return true
	}
}

// Room is how many deliveries may be begun now, and whether they are probes: how probes end decides how many come next.
func (b *Brakes) Room() (n int, probes bool) {
	if b.isStopped() {
		return 0, false
	}
	now := time.Now()
	n = Unbounded
	for _, brake := range b.all {
		n = min(n, brake.room(now))
	}
	return min(n, b.rates.room(now)), n < Unbounded
}

// State says what holds the provider back: StateClosed when nothing does.
func (b *Brakes) State() string {
	switch {
	case b.stopped.Load():
		return StateStopped
	case b.account.isDoubted(), b.quota.isDoubted():
		return StateResting
	}
	return b.BreakerState()
}

// BreakerState is StateClosed, StateHalfOpen or StateOpen.
func (b *Brakes) BreakerState() string { return b.breaker.state() }
