package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers/scripted"
)

// More refunds come to two workers than the fleet's rate lets through within their leases. Together they keep to it, and none
// of the refunds uses up an attempt by waiting.
func TestFleetRateHoldsForAllWorkersTogether(t *testing.T) {
	t.Parallel()
	const refunds, perSecond, burst = 60, 4, 2
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
		f.start()
		f.start()
		for i := range refunds {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(3 * time.Minute)
		f.quiet()
		if got := len(f.events()); got != 2*refunds {
			t.Errorf("%d events, want dispatched and succeeded for each of %d refunds", got, refunds)
		}
		var at []time.Time
		for _, m := range f.provider.Movements() {
			at = append(at, m.At)
		}
		slices.SortFunc(at, time.Time.Compare)
		if len(at) != refunds {
			t.Fatalf("%d movements of money, want %d", len(at), refunds)
		}
		for first := range at {
			for last := first + burst; last < len(at); last++ {
				took, least := at[last].Sub(at[first]), time.Duration(last-first+1-burst)*time.Second/perSecond
				if took < least {
					t.Fatalf("%d calls within %s, want at least %s", last-first+1, took, least)
				}
			}
		}
	}, func(c *consumer.Config) { c.Instances[0].FleetPerSecond = perSecond })
}

// Redis does not tell what the other workers call: nobody is called, nothing fails, and it goes on when Redis does.
func TestFleetRateWithoutAnAnswerCallsNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(c *consumer.Config) { c.Instances[0].FleetPerSecond = 100 })
	f.start()
	f.publish(command("one", ""))
	f.eventually("the first refund is made", func() error { return f.reached("one", "succeeded") })
	keys, err := f.rdb.Keys(t.Context(), "*:rate:"+string(provider)).Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys of the rate %v, %v, want one", keys, err)
	}
	// The script that counts turns cannot count with this; the others do not read it.
	if err := f.mini.Set(keys[0], "no number"); err != nil {
		t.Fatal(err)
	}
	f.publish(command("two", ""))
	f.eventually("the second refund waits in a schedule", func() error { return f.left(0, 1) })
	if got := f.kindsOf("two"); len(got) != 0 || len(f.provider.Movements()) != 1 {
		t.Errorf("events %v and %d movements of money, want none but those of the first", got, len(f.provider.Movements()))
	}
	f.mini.Del(keys[0])
	f.eventually("the second refund is made", func() error { return f.reached("two", "succeeded") })
}
