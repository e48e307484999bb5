package consumer_test

import (
	"context"
	"sync"
	"testing"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// overtaken holds the first preparation until the second worker's call was made and what it journalled is applied.
type overtaken struct {
	providers.Provider
	meet, caughtUp func()

	mu   sync.Mutex
	here int
	made chan struct{}
	once sync.Once
}

func (o *overtaken) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	o.mu.Lock()
	o.here++
	first := o.here == 1
	o.mu.Unlock()
	if first {
		o.meet()
		<-o.made
		o.caughtUp()
	}
	return o.Provider.Prepare(ctx, r)
}

func (o *overtaken) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	defer o.once.Do(func() { close(o.made) })
	return o.Provider.Refund(ctx, r)
}

// A worker is overtaken between its claim and its intent: its lease is gone, by force, and another worker has made the
// attempt, which is in doubt. The number of the attempt is the claim's. One that is read again by then would be a new
// one, and the journal would take it.
func TestAttemptIsNumberedByTheClaim(t *testing.T) {
	t.Parallel()
	o := &overtaken{made: make(chan struct{})}
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"}, Capabilities: &providers.Capabilities{}},
		func(c *consumer.Config) {
			o.Provider = c.Instances[0].Provider
			c.Instances[0].Provider = o
		})
	one := command("one", "")
	o.meet = func() {
		keys, err := f.rdb.Keys(context.Background(), "*:r:one").Result()
		if err != nil || len(keys) != 1 {
			t.Errorf("record keys %v, %v, want one", keys, err)
			return
		}
		f.rdb.HDel(context.Background(), keys[0], "o", "l")
		f.publish(again(one))
	}
	o.caughtUp = func() { f.eventually("the attempt is applied", func() error { return f.inState("one", "d1") }) }
	f.start()
	f.publish(one)
	f.eventually("a person is asked", func() error { return f.was("one", schemas.KindParked) })
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1: this provider has neither key nor lookup nor a rule of its own", got)
	}
	if got := f.kindsOf("one"); len(got) != 2 {
		t.Errorf("events %v, want dispatched and parked", got)
	}
}

// A worker hears that its intent is stored only after its lease has ended, and another worker has found the refund not
// made and has made it. By its own clock it is too late for a call.
func TestNoCallAfterTheLease(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: canLookUp})
	held := f.hold(&turnstile{at: entryOf(schemas.KindDispatched), stored: true})
	defer held.open()
	f.start()
	one := command("one", "")
	f.publish(one)
	f.wait("the intent is stored", held.arrived)
	f.publish(again(one))
	f.eventually("another claim makes the refund", func() error { return f.reached("one", schemas.KindSucceeded) })
	held.open()
	f.quiet()
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1: no call may leave after the lease", got)
	}
	if got := f.kindsOf("one"); len(got) != 3 {
		t.Errorf("events %v, want dispatched twice and succeeded", got)
	}
}
