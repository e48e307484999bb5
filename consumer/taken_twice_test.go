package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// takesTwice takes a refund on, lets it come to nothing for now, and takes it on again.
type takesTwice struct {
	providers.Provider
	calls, lookups atomic.Int32
}

func (p *takesTwice) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	p.calls.Add(1)
	return p.Provider.Refund(ctx, r)
}

func (p *takesTwice) Lookup(context.Context, providers.Request) (providers.Finding, error) {
	if p.lookups.Add(1) > 1 {
		return providers.Finding{Kind: providers.NotFound}, nil
	}
	return providers.Finding{Kind: providers.NotFound, Result: providers.Result{Status: providers.NotNow,
		Reason: schemas.ReasonProviderBusy, After: 2 * time.Second}}, nil
}

// A provider takes a refund on twice within minutes. Both are journalled, and while it owes the result of the second
// nobody calls again.
func TestTakenOnTwice(t *testing.T) {
	t.Parallel()
	p := &takesTwice{}
	f := newFixture(t, scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: &providers.Capabilities{
		Lookup: true, LookupDelay: time.Millisecond, Asynchronous: true}}, func(c *consumer.Config) {
		p.Provider = c.Instances[0].Provider
		c.Instances[0].Provider = p
	})
	r := f.start()
	f.publish(command("one", ""))
	told := []schemas.Kind{"dispatched", "acknowledged", "deferred", "dispatched", "acknowledged"}
	for n := range int32(3) {
		f.eventually(fmt.Sprintf("%d lookups", n), func() error { // which a report asks for
			if n < 2 {
				if got := f.kindsOf("one"); !slices.Equal(got, told[:2+3*n]) {
					return fmt.Errorf("events %v", got)
				}
			}
			if p.lookups.Load() == n {
				return nil
			}
			return r.worker.Inbox().Hurry(t.Context(), provider, "one")
		})
		if n == 2 {
			break
		}
	}
	if got := f.kindsOf("one"); !slices.Equal(got, told) || p.calls.Load() != 2 {
		t.Errorf("events %v after %d calls, want %v after 2", got, p.calls.Load(), told)
	}
}
