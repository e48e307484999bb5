package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/consumer/operator"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// startAgain lets the provider go on, as an operator does.
func (f *fixture) startAgain() {
	f.t.Helper()
	start := operator.Start{Provider: provider, By: schemas.Operator{Operator: "ann", Note: "looked at what waits"}}
	if _, err := operator.StartAgain(context.Background(), f.js, f.subjects, start); err != nil {
		f.t.Fatal(err)
	}
}

// kinds counts the events of the journal by kind.
func (f *fixture) kinds() map[schemas.Kind]int {
	f.t.Helper()
	out := map[schemas.Kind]int{}
	for _, e := range f.events() {
		out[e.Kind]++
	}
	return out
}

// A runaway caller publishes many more refunds than the bound allows, to two workers. As many as the bound allows go
// ahead, whatever is in hand; the rest wait until an operator looks, and then each is made once.
func TestVelocityStopsARunawayCaller(t *testing.T) {
	t.Parallel()
	const bound, all = 20, 120
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: 5 * time.Millisecond},
		func(c *consumer.Config) {
			c.Instances[0].Velocity = []consumer.Velocity{{Window: time.Hour, Count: bound}}
			c.LeaseMargin = 3 * time.Minute // a refund whose lease has run out is looked up, and nothing is while the provider is stopped
		})
	f.start()
	f.start()
	for i := range all {
		f.publish(command(fmt.Sprint("r", i), ""))
	}
	f.eventually("the stop is journalled", func() error {
		if n := f.kinds()[schemas.KindStopped]; n != 1 {
			return fmt.Errorf("%d stops", n)
		}
		return nil
	})
	f.eventually("what was let through is done", func() error {
		if n := f.kinds()[schemas.KindSucceeded]; n != bound {
			return fmt.Errorf("%d succeeded", n)
		}
		return nil
	})
	if n := len(f.provider.Movements()); n != bound {
		t.Fatalf("%d movements of money while the provider is stopped, want %d", n, bound)
	}
	f.startAgain()
	f.quiet()
	kinds := f.kinds()
	if kinds[schemas.KindSucceeded] != all || len(f.provider.Movements()) != all || kinds[schemas.KindStopped] != 1 ||
		kinds[schemas.KindStarted] != 1 || kinds[schemas.KindParked]+kinds[schemas.KindFailed] != 0 {
		t.Errorf("%v and %d movements; want %d that succeeded, each once, one stop and one start", kinds,
			len(f.provider.Movements()), all)
	}
}
