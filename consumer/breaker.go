package consumer

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
)

// breaker leaves a provider alone while its calls bring no answer.
type breaker struct {
	cfg     Breaker
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	log     *slog.Logger
	// changes counts the changes of state, so that a call that began before the last one does not count.
	changes atomic.Int64
	// streak counts the calls in a row without an answer, however far apart: the circuit forgets them with its window.
	streak atomic.Int64
	// tripped is what opened it; it is read and written under the circuit's own lock.
	tripped gobreaker.Counts
}

func newBreaker(in Instance, log *slog.Logger) *breaker {
	b := &breaker{cfg: in.Breaker, log: log.With("provider", string(in.Name))}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(in.Breaker.Probes),
		Interval:     in.Breaker.Interval,
		BucketPeriod: in.Breaker.Interval / 10,
		Timeout:      in.Breaker.Open,
		ReadyToTrip:  b.trips,
		IsExcluded:   func(err error) bool { return errors.Is(err, errSilent) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.changes.Add(1)
			b.streak.Store(0)
			b.tell(from, to)
		},
	})
	return b
}

// What the circuit is told of calls that were not answered, and of probes that made none.
var (
	errFails  = errors.New("no answer")
	errSilent = errors.New("no call")
)

func (v verdict) err() error {
	switch v {
	case silent:
		return errSilent
	case fails:
		return errFails
	}
	return nil
}

// trips decides after each call without an answer. Calls that are under way do not count.
func (b *breaker) trips(c gobreaker.Counts) bool {
	if b.cfg.Off {
		return false
	}
	b.tripped = c
	failed, all := int(c.TotalFailures), int(c.TotalFailures)+int(c.TotalSuccesses)
	return int(b.streak.Load()) >= b.cfg.Consecutive || all >= b.cfg.Calls && 100*failed >= b.cfg.Percent*all
}

// tell logs the first opening and the closing: what comes between would be told with each probe.
func (b *breaker) tell(from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		b.log.Info("the provider answers again")
	case from == gobreaker.StateClosed:
		b.log.Warn("the provider does not answer: it is left alone until it does",
			"unanswered", b.tripped.TotalFailures, "answered", b.tripped.TotalSuccesses, "within", b.cfg.Interval.String(),
			"opensFor", b.cfg.Open.String())
	}
}

// enter gives the right to a call, and what to tell at its end; it reports false when there is none.
func (b *breaker) enter() (func(verdict), bool) {
	changes := b.changes.Load()
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, false
	}
	if b.circuit.State() == gobreaker.StateHalfOpen {
		return func(v verdict) { done(v.err()) }, true
	}
	return func(v verdict) {
		if v >= answers && b.changes.Load() == changes {
			b.count(v)
		}
	}, true
}

// count counts a call when it ends: the circuit forgets one that took longer than its window if it is counted when it begins.
func (b *breaker) count(v verdict) {
	done, err := b.circuit.Allow()
	if err != nil {
		return
	}
	if v == fails {
		b.streak.Add(1)
	} else {
		b.streak.Store(0)
	}
	done(v.err())
}

// room is how many calls may be begun now.
func (b *breaker) room() int {
	switch b.circuit.State() {
	case gobreaker.StateClosed:
		return unbounded
	case gobreaker.StateHalfOpen:
		c := b.circuit.Counts()
		return max(b.cfg.Probes-int(c.Requests)+int(c.TotalExclusions), 0)
	}
	return 0
}

func (b *breaker) state() string {
	switch b.circuit.State() {
	case gobreaker.StateHalfOpen:
		return stateHalfOpen
	case gobreaker.StateOpen:
		return stateOpen
	}
	return stateClosed
}
