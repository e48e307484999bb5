package brakes

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

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

func newBreaker(cfg Breaker, log *slog.Logger) *breaker {
	b := &breaker{cfg: cfg, log: log}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(cfg.Probes),
		Interval:     cfg.Interval,
		BucketPeriod: cfg.Interval / 10,
		Timeout:      cfg.Open,
		ReadyToTrip:  b.trips,
		IsExcluded:   func(err error) bool { return errors.Is(err, errSilent) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.changes.Add(1)
			b.streak.Store(0)
			b.logChange(from, to)
		},
	})
	return b
}

// What the circuit takes for calls that were not answered, and for probes that made none.
var (
	errFails  = errors.New("no answer")
	errSilent = errors.New("no call")
)

func (h health) err() error {
	switch h {
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

// logChange logs the first opening and the closing: what comes between would be logged with each probe.
func (b *breaker) logChange(from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		b.log.Info("the provider answers again")
	case from == gobreaker.StateClosed:
		b.log.Warn("the provider does not answer: it is left alone until it does",
			"unanswered", b.tripped.TotalFailures, "answered", b.tripped.TotalSuccesses, "within", b.cfg.Interval.String(),
			"opensFor", b.cfg.Open.String())
	}
}

// admit is part of brake.
func (b *breaker) admit(time.Time) (release func(health), err error) {
	changes := b.changes.Load()
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, errOpen
	}
	if b.circuit.State() == gobreaker.StateHalfOpen {
		return func(h health) { done(h.err()) }, nil
	}
	return func(h health) {
		if h >= answers && b.changes.Load() == changes {
			b.count(h)
		}
	}, nil
}

// count counts a call when it ends: the circuit forgets one that took longer than its window if it is counted when it begins.
func (b *breaker) count(h health) {
	done, err := b.circuit.Allow()
	if err != nil {
		return
	}
	if h == fails {
		b.streak.Add(1)
	} else {
		b.streak.Store(0)
	}
	done(h.err())
}

// room is part of brake.
func (b *breaker) room(time.Time) int {
	switch b.circuit.State() {
	case gobreaker.StateClosed:
		return Unbounded
	case gobreaker.StateHalfOpen:
		c := b.circuit.Counts()
		return max(b.cfg.Probes-int(c.Requests)+int(c.TotalExclusions), 0)
	}
	return 0
}

func (b *breaker) state() string {
	switch b.circuit.State() {
	case gobreaker.StateHalfOpen:
		return StateHalfOpen
	case gobreaker.StateOpen:
		return StateOpen
	}
	return StateClosed
}
