package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// of is a command of a payment that was captured at so many units; 0 names no captured amount.
func of(payment, id string, captured, amount int64) schemas.Command {
	c := command(id, "")
	c.Payment.Reference = payment
	c.Amount.Micros = amount * 1_000_000
	if captured > 0 {
		c.Payment.Amount = &schemas.Money{Micros: captured * 1_000_000, Currency: "HKD"}
	}
	return c
}

// moved is what went back of a payment, in units.
func (f *fixture) moved(payment string) (units int64) {
	for _, m := range f.provider.Movements() {
		if m.Reference == payment {
			units += m.Amount.Micros / 1_000_000
		}
	}
	return units
}

func (f *fixture) outcome(id string, k schemas.Kind, r schemas.Reason) {
	f.t.Helper()
	if last := f.lastEvent(id); last.Kind != k || last.Reason != r {
		f.t.Errorf("%s ended as %s(%s), want %s(%s)", id, last.Kind, last.Reason, k, r)
	}
}

// Two refunds of 60 on a payment of 100 come at the same moment, at two workers, while the provider is slow.
func TestRefundsAtTheSameMomentNeverExceedThePayment(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: 300 * time.Millisecond})
	f.start()
	f.start()
	for p := range 5 {
		payment := fmt.Sprint("p", p)
		f.publish(of(payment, payment+"-a", 100, 60))
		f.publish(of(payment, payment+"-b", 100, 60))
		f.publish(of(payment, payment+"-c", 100, 40))
	}
	f.quiet()
	for p := range 5 {
		payment := fmt.Sprint("p", p)
		kinds := map[schemas.Kind]int{}
		for _, id := range []string{"a", "b", "c"} {
			last := f.lastEvent(payment + "-" + id)
			kinds[last.Kind]++
			if last.Kind == schemas.KindFailed && last.Reason != schemas.ReasonExceedsRemaining {
				t.Errorf("%s-%s failed as %s, want %s", payment, id, last.Reason, schemas.ReasonExceedsRemaining)
			}
		}
		if got := f.moved(payment); got != 100 || kinds[schemas.KindSucceeded] != 2 || kinds[schemas.KindFailed] != 1 {
			t.Errorf("%s: %d of 100 went back, outcomes %v; want all of it, two that succeeded and one that did not fit",
				payment, got, kinds)
		}
	}
}

// What is known of a payment binds every refund of it, whether or not its own command names the captured amount, and
// whether it came before or after the one that did.
func TestCapturedAmountBindsEveryRefund(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	f.start()
	settle := func(c schemas.Command) {
		f.publish(c)
		f.quiet()
	}
	settle(of("p", "unnamed-before", 0, 30))
	settle(of("p", "names", 100, 30))
	settle(of("p", "equal", 100, 30))
	settle(of("p", "unnamed-after", 0, 11))
	settle(of("p", "contradicts", 101, 10))
	settle(of("p", "exact", 0, 10))
	f.outcome("unnamed-before", schemas.KindSucceeded, "")
	f.outcome("names", schemas.KindSucceeded, "")
	f.outcome("equal", schemas.KindSucceeded, "")
	f.outcome("unnamed-after", schemas.KindFailed, schemas.ReasonExceedsRemaining)
	f.outcome("contradicts", schemas.KindRejected, schemas.ReasonInvalid)
	f.outcome("exact", schemas.KindSucceeded, "")
	if p := f.lastEvent("contradicts").Problems; len(p) != 1 || p[0].Pointer != "/payment/amount" {
		t.Errorf("problems %v, want one at /payment/amount", p)
	}
	if reissue := f.lastEvent("unnamed-after").Reissue; reissue == nil || !*reissue {
		t.Error("a smaller refund may fit, but the event says that none may succeed")
	}
	if n := f.messages(schemas.StreamDead); n != 1 {
		t.Errorf("%d dead letters, want the contradicting command's", n)
	}
}

// A refund that fails gives its room to one that waits for it; one that succeeds does not.
func TestRoomComesBackWithAFailure(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: time.Second},
		func(c *consumer.Config) { c.Instances[0].Timeout = 10 * time.Second })
	r := f.start()
	first := of("p", "declined", 100, 60)
	first.Options = []byte(`{"script":["declined:declined"]}`)
	f.publish(first)
	f.eventually("the first refund has its share", func() error {
		look, err := r.store.LookPayment(context.Background(), provider, "p")
		if err == nil && !look.Holds("declined") {
			err = errors.New("it has none")
		}
		return err
	})
	f.publish(of("p", "waits", 100, 60))
	f.quiet()
	f.outcome("declined", schemas.KindFailed, schemas.ReasonDeclined)
	f.outcome("waits", schemas.KindSucceeded, "")
	f.publish(of("p", "late", 100, 60))
	f.quiet()
	f.outcome("late", schemas.KindFailed, schemas.ReasonExceedsRemaining)
	if got, want := f.kindsOf("waits"), []schemas.Kind{"dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v: a look spares an intent that would be denied", got, want)
	}
}

// Many refunds of a payment that takes one at a time wait for each other. However often they meet, none is given up.
func TestRefundsThatTakeTurnsBurnNoAttempts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: &providers.Capabilities{
		Concurrent: providers.OneAtATime}}, func(c *consumer.Config) { c.Instances[0].MaxAttempts = 1 })
	f.start()
	f.start()
	for i := range 6 {
		f.publish(of("p", fmt.Sprint("r", i), 0, 10))
	}
	f.quiet()
	for i := range 6 {
		f.outcome(fmt.Sprint("r", i), schemas.KindSucceeded, "")
	}
}
