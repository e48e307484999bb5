package consumer

import (
	"context"
	"errors"
	"time"

	"refundworker/consumer/brakes"
	"refundworker/idempotency"
)

// turnsAhead is how far ahead lanes pull for turns: what is pulled for later ones would only be put off.
const turnsAhead = 5 * time.Second

// turns is how many deliveries may be begun that find turns at the provider's rates soon.
func (p *processor) turns(now time.Time) int {
	calls, ahead := 1, int(turnsAhead/time.Second)
	if p.caps.Prepares {
		calls = 2
	}
	turns, queued := brakes.Unbounded, int(p.queued.Load())
	if p.in.PerSecond > 0 {
		turns = (int(p.limit.TokensAt(now))+p.in.PerSecond*ahead)/calls - queued
	}
	if p.in.FleetPerSecond > 0 {
		turns = min(turns, max(p.in.FleetPerSecond*ahead/calls, 1)-queued)
		if now.UnixNano() < p.fleetTaken.Load() {
			turns = 0
		}
	}
	return max(turns, 0)
}

// errNoTurn says that other workers have the provider's next calls, for longer than there is time to wait.
var errNoTurn = errors.New("the fleet's rate has no turn in time")

// turn waits until the provider's rates let so many calls through, this process's own first: what it holds up takes no turns
// from other workers. ctx has to end, because it bounds how far ahead turns are taken.
func (p *processor) turn(ctx context.Context, calls int) error {
	if err := p.limit.WaitN(ctx, calls); err != nil {
		return err
	}
	end, _ := ctx.Deadline()
	wait, ok, err := p.store.TakeTurns(ctx, idempotency.Turns{Provider: p.in.Name, PerSecond: p.in.FleetPerSecond, Calls: calls,
		AtMost: time.Until(end)})
	if wait > turnsAhead {
		p.fleetTaken.Store(time.Now().Add(wait - turnsAhead).UnixNano())
	}
	switch {
	case err != nil:
		return err
	case !ok:
		return errNoTurn
	case wait == 0:
		return nil
	}
	return pause(ctx, wait)
}
