package consumer_test

import (
	"context"
	"errors"
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

// More refunds come than the provider's rate lets through within their leases. None of them uses up an attempt by
// waiting.
func TestRateCostsNoAttempts(t *testing.T) {
	t.Parallel()
	const refunds, perSecond = 120, 2
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
		f.start()
		for i := range refunds {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(10 * time.Minute)
		f.quiet()
		if got := len(f.events()); got != 2*refunds {
			t.Errorf("%d events, want dispatched and succeeded for each of %d refunds", got, refunds)
		}
		if got := len(f.provider.Movements()); got != refunds {
			t.Errorf("%d movements of money, want %d", got, refunds)
		}
	}, func(c *consumer.Config) { c.Instances[0].PerSecond = perSecond })
}

// deaf does not answer the first lookup, which follows a call at once.
type deaf struct {
	providers.Provider
	asked atomic.Bool
}

func (d *deaf) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	if !d.asked.Swap(true) {
		return providers.Finding{}, &providers.Error{Op: "lookup", Err: errors.New("no answer")}
	}
	return d.Provider.Lookup(ctx, r)
}

// Redis has lost a payment that a refund in doubt holds, and nothing else. That it is not there does not say that the
// hold was never granted.
func TestLostPaymentIsNoAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"}, Capabilities: oneAtATime},
		func(c *consumer.Config) { c.Instances[0].Provider = &deaf{Provider: c.Instances[0].Provider} })
	f.start()
	f.publish(command("one", ""))
	f.eventually("the call is made", func() error {
		if len(f.provider.Movements()) == 0 {
			return fmt.Errorf("events %v", f.kindsOf("one"))
		}
		return f.inState("one", "d1")
	})
	payments, err := f.rdb.Keys(context.Background(), "*:p:*").Result()
	if err != nil || len(payments) != 1 {
		t.Fatalf("payment keys %v, %v, want one", payments, err)
	}
	f.rdb.Del(context.Background(), payments[0])
	f.eventually("the refund is looked at again", func() error {
		retries, err := f.js.Stream(context.Background(), schemas.StreamRetries)
		if err != nil {
			return err
		}
		if n := retries.CachedInfo().State.LastSeq; n < 4 {
			return fmt.Errorf("%d schedules so far", n)
		}
		return nil
	})
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched"}; !slices.Equal(got, want) {
		t.Errorf("events while the payment is lost %v, want %v", got, want)
	}
	f.mini.FlushAll() // which has everything built anew
	f.quiet()
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1", got)
	}
	if err := f.reached("one", schemas.KindSucceeded); err != nil {
		t.Error(err)
	}
}
