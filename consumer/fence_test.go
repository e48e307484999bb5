package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// gathering holds every Prepare until two have come. The first one runs meet.
type gathering struct {
	providers.Provider
	meet  func()
	mu    sync.Mutex
	here  int
	ready chan struct{}
}

func (g *gathering) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	g.mu.Lock()
	g.here++
	switch g.here {
	case 1:
		g.meet()
	case 2:
		close(g.ready)
	}
	g.mu.Unlock()
	select {
	case <-g.ready:
	case <-ctx.Done():
		return nil, providers.Result{}, ctx.Err()
	}
	return g.Provider.Prepare(ctx, r)
}

// Two workers are given the same attempt by force: the lease is deleted between their claims. Both pass
// Prepare; the journal takes one intent, and one call is made.
func TestFenceStopsTheSecondOfTwoWorkers(t *testing.T) {
	t.Parallel()
	var gather *gathering
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: 300 * time.Millisecond,
		Capabilities: &providers.Capabilities{}}, func(c *consumer.Config) {
		gather = &gathering{Provider: c.Instances[0].Provider, ready: make(chan struct{})}
		c.Instances[0].Provider = gather
	})
	second := command("one", "")
	second.Metadata = map[string]string{"copy": "2"} // other bytes, the same refund
	gather.meet = func() {
		keys, err := f.rdb.Keys(context.Background(), "*:r:one").Result()
		if err != nil || len(keys) != 1 {
			t.Errorf("record keys %v, %v, want one", keys, err)
			return
		}
		f.rdb.HDel(context.Background(), keys[0], "o", "l")
		f.publish(second)
	}
	f.start()
	f.start()
	f.publish(command("one", ""))
	f.quiet()
	select {
	case <-gather.ready:
	default:
		t.Fatal("only one claim was given attempt 1, want two by force")
	}
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1: this provider has neither key nor lookup nor a rule of its own", got)
	}
}

// crashing breaks off, as a dying process does, at one publish: before it is stored or after.
type crashing struct {
	jetstream.JetStream
	mu     sync.Mutex
	at     func(m *nats.Msg) bool
	before bool
	done   bool
}

func (c *crashing) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	c.mu.Lock()
	crash := !c.done && c.at(m)
	c.done = c.done || crash
	c.mu.Unlock()
	if crash && c.before {
		panic("crash before the publish")
	}
	ack, err := c.JetStream.PublishMsg(ctx, m, opts...)
	if crash {
		panic("crash after the publish")
	}
	return ack, err
}

// came reports whether it has come; the relay may still be publishing.
func (c *crashing) came() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// A process dies at each step that leaves a trace. The delivery comes again and the money moves once.
func TestCrashAtEachStep(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		at   func(m *nats.Msg) bool
	}{
		{"intent", entryOf(schemas.KindDispatched)},
		{"outcome", entryOf(schemas.KindSucceeded)},
		{"deferral", entryOf(schemas.KindDeferred)},
		{"schedule", under(schemas.Subjects{}.Later(provider, "one"))},
	}
	for _, step := range steps {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/before=%t", step.name, before), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:2s", "succeeded"},
					Capabilities: canLookUp}, func(c *consumer.Config) { c.Instances[0].Timeout = 200 * time.Millisecond })
				crash := &crashing{before: before, at: step.at}
				f.wrap = func(js jetstream.JetStream) jetstream.JetStream { crash.JetStream = js; return crash }
				f.start()
				f.publish(command("one", ""))
				f.quiet()
				if !crash.came() {
					t.Fatal("the crash never came")
				}
				if kinds := f.kindsOf("one"); kinds[len(kinds)-1] != schemas.KindSucceeded {
					t.Errorf("events %v, want succeeded at the end", kinds)
				}
				if got := len(f.provider.Movements()); got != 1 {
					t.Errorf("%d movements of money, want 1", got)
				}
			})
		}
	}
}

// A shutdown lets a call in hand end and journals what it answered.
func TestDrainRecordsWhatACallAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: 700 * time.Millisecond})
	r := f.start()
	f.publish(command("one", ""))
	f.eventually("the call is out", func() error { return f.was("one", schemas.KindDispatched) })
	if err := r.stop(); err != nil {
		t.Fatalf("worker ended with %v", err)
	}
	if err := f.reached("one", schemas.KindSucceeded); err != nil {
		t.Errorf("after the drain: %v", err)
	}
	if err := f.left(0, 0); err != nil {
		t.Error(err)
	}
}

// Redis is emptied while a call is out and while a refund is in doubt.
func TestRedisLostInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied"}, Latency: 300 * time.Millisecond,
		Capabilities: &providers.Capabilities{Lookup: true, LookupDelay: time.Millisecond}})
	f.start()
	for i := range 20 {
		f.publish(command(fmt.Sprint("r", i), ""))
	}
	f.eventually("calls are out", func() error { return f.was("r0", schemas.KindDispatched) })
	f.mini.FlushAll()
	for i := range 20 {
		f.publish(command(fmt.Sprint("r", i), ""))
	}
	f.quiet()
	if got := len(f.provider.Movements()); got != 20 {
		t.Errorf("%d movements of money, want 20", got)
	}
	for i := range 20 {
		if err := f.reached(fmt.Sprint("r", i), schemas.KindSucceeded); err != nil {
			t.Error(err)
		}
	}
}

// Another refund of the payment ends while one is in doubt. That settles nothing about the one in doubt, and does
// not hold it up.
func TestDoubtGoesOnWhenAnotherRefundEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_lost", "succeeded"}, Capabilities: &providers.Capabilities{
		Lookup: true, LookupDelay: time.Millisecond, Concurrent: providers.OneAtATime}},
		func(c *consumer.Config) { c.Instances[0].Timeout = 200 * time.Millisecond })
	f.start()
	f.publish(command("doubt", ""))
	f.eventually("the first call is out", func() error { return f.was("doubt", schemas.KindDispatched) })
	other := command("other", "")
	other.Payment.Reference = "pay-doubt"
	other.RequestedAt = other.RequestedAt.Add(-time.Hour)
	past := other.RequestedAt.Add(time.Minute)
	other.NotAfter = &past
	f.publish(other)
	f.quiet()
	if err := f.reached("other", schemas.KindFailed); err != nil {
		t.Error(err)
	}
	if err := f.reached("doubt", schemas.KindSucceeded); err != nil || len(f.provider.Movements()) != 1 {
		t.Errorf("%v, %d movements; want succeeded with 1", err, len(f.provider.Movements()))
	}
}
