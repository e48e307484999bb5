package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"refundworker/consumer/refund"
	"refundworker/idempotency"
	"refundworker/providers"
)

// calls is the provider behind its brakes, for one delivery.
type calls struct{ *delivery }

// Admit is part of refund.Provider. What was claimed just before the worker pauses asks nothing any more.
func (c *calls) Admit(calls int, until time.Time) error {
	if err := c.mayCall(); err != nil { // before it costs a permit
		return err
	}
	// Half of the time that is left at most: the intent has to be stored in the other half.
	ctx, cancel := context.WithTimeout(c.ctx, time.Until(until)/2)
	defer cancel()
	if err := c.permit.Admit(ctx, calls); err != nil {
		return fmt.Errorf("%w: %w", refund.ErrNotAsked, err)
	}
	return c.mayCall()
}

// mayCall returns refund.ErrNotAsked when what a provider answers cannot be relied on or kept now.
func (c *calls) mayCall() error {
	if reason := c.store.Gate().Closed(); reason != idempotency.Ready {
		return fmt.Errorf("%w: %s", refund.ErrNotAsked, reason)
	}
	if !c.sender.Connected(c.store.Gate()) {
		return fmt.Errorf("%w: %s", refund.ErrNotAsked, reasonNATS)
	}
	return nil
}

// Prepare is part of refund.Provider.
func (c *calls) Prepare(call refund.Call) (providers.Baseline, providers.Result, error) {
	ctx, cancel := context.WithDeadline(c.ctx, call.Until)
	defer cancel()
	baseline, result, err := c.in.Provider.Prepare(ctx, call.Request)
	if c.caps.Prepares {
		c.permit.ReportQuery(c.ctx, err)
	}
	return baseline, result, err
}

// Refund is part of refund.Provider.
func (c *calls) Refund(call refund.Call) (providers.Result, error) {
	if err := c.mayCall(); err != nil {
		return providers.Result{}, err
	}
	ctx, cancel := context.WithDeadline(c.ctx, call.Until)
	defer cancel()
	result, err := c.callQuickly(ctx, call.Request)
	c.permit.Report(c.ctx, err)
	return result, err
}

// Lookup is part of refund.Provider.
func (c *calls) Lookup(call refund.Call) (providers.Finding, error) {
	ctx, cancel := context.WithDeadline(c.ctx, call.Until)
	defer cancel()
	finding, err := c.in.Provider.Lookup(ctx, call.Request)
	c.permit.ReportQuery(c.ctx, err)
	return finding, err
}

const (
	quickRetryFirst = 100 * time.Millisecond
	quickRetryAll   = 2 * time.Second
)

// callQuickly repeats a call, in its own time, only after what surely was not executed. Each repetition keeps to the
// provider's rates.
func (c *calls) callQuickly(ctx context.Context, r providers.Request) (providers.Result, error) {
	// The rates are not waited for until late: a call that begins late ends without an answer.
	soon, cancel := context.WithTimeout(ctx, quickRetryAll)
	defer cancel()
	policy := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithInitialInterval(quickRetryFirst),
		backoff.WithMaxElapsedTime(quickRetryAll)), ctx)
	var result providers.Result
	var last error
	called := false
	// The last call's own error counts, not that of the waiting between calls.
	_ = backoff.Retry(func() error {
		if called && c.permit.Repeat(soon) != nil {
			return nil
		}
		called = true
		result, last = c.in.Provider.Refund(ctx, r)
		var e *providers.Error
		if errors.As(last, &e) && e.Kind == providers.Unavailable && e.RetryAfter == 0 {
			return last
		}
		return nil
	}, policy)
	return result, last
}
