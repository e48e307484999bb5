package consumer

import (
	"context"
	"errors"
	"time"

	"refundworker/idempotency"
)

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
