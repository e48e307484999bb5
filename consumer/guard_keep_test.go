package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A refund of 60 on a payment of 100 is open, in each way in which it can be, and Redis is lost. Another refund of 60
// comes. It waits for the first one as long as that may still move money.
func TestOpenRefundsKeepTheirShare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script string
		open   schemas.Kind
		// first and other are how the two end.
		first, other schemas.Kind
	}{
		{"doubt", `["unknown_lost","succeeded"]`, schemas.KindDispatched, schemas.KindSucceeded, schemas.KindFailed},
		{"deferred", `["not_now:provider_busy:4s","succeeded"]`, schemas.KindDeferred, schemas.KindSucceeded, schemas.KindFailed},
		{"deferred, and declined then", `["not_now:provider_busy:4s","declined:declined"]`, schemas.KindDeferred,
			schemas.KindFailed, schemas.KindSucceeded},
		{"pending", `["acknowledged"]`, schemas.KindAcknowledged, schemas.KindSucceeded, schemas.KindFailed},
		{"parked", `["partial"]`, schemas.KindParked, schemas.KindSucceeded, schemas.KindFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: &providers.Capabilities{
				Lookup: true, LookupDelay: time.Millisecond}}, func(c *consumer.Config) {
				c.Instances[0].Timeout = 200 * time.Millisecond
			})
			r := f.start()
			first := of("p", "first", 100, 60)
			first.Options = []byte(`{"script":` + test.script + `}`)
			f.publish(first)
			f.eventually("the first refund is open", func() error { return f.was("first", test.open) })
			rebuilds := r.store.Stats().Rebuilds
			f.mini.FlushAll()
			f.publish(of("p", "other", 100, 60))
			f.eventually("redis is rebuilt", func() error {
				if r.store.Stats().Rebuilds == rebuilds {
					return fmt.Errorf("%d rebuilds", rebuilds)
				}
				return nil
			})
			if test.open == schemas.KindAcknowledged || test.open == schemas.KindParked {
				f.eventually("the other refund waits, beside the first", func() error { return f.left(0, 2) })
				if n := len(f.kindsOf("other")); n != 0 {
					t.Errorf("%d events of the other refund while the first one is open, want none", n)
				}
				f.notice(result("first", "n-1", test.first, ""))
			}
			f.quiet()
			if last := f.lastEvent("first"); last.Kind != test.first {
				t.Errorf("the first refund ended as %s, want %s", last.Kind, test.first)
			}
			if last := f.lastEvent("other"); last.Kind != test.other {
				t.Errorf("the other refund ended as %s(%s), want %s", last.Kind, last.Reason, test.other)
			}
			if f.made("other") != (test.other == schemas.KindSucceeded) {
				t.Errorf("the other refund, which %s, was made: %t", test.other, f.made("other"))
			}
		})
	}
}

// made tells whether money moved for a refund.
func (f *fixture) made(id schemas.RequestID) bool {
	return slices.ContainsFunc(f.provider.Movements(), func(m scripted.Movement) bool { return m.RequestID == id })
}

// A worker dies as soon as its intent is stored, before anybody has granted it anything, and Redis is lost. Another
// refund of the payment comes, and its intent is journalled too: one call is made, the first one's.
func TestIntentsOfBothBeforeRedisIsLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: &providers.Capabilities{
		Lookup: true, LookupDelay: time.Millisecond}}, func(c *consumer.Config) {
		c.Instances[0].Timeout = 200 * time.Millisecond
	})
	crash := &crashing{at: entryOf(schemas.KindDispatched)}
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream { crash.JetStream = js; return crash }
	f.start()
	f.wrap = nil
	f.publish(of("p", "first", 100, 60))
	f.eventually("the first intent is stored", func() error { return f.was("first", schemas.KindDispatched) })
	f.mini.FlushAll()
	f.publish(of("p", "other", 100, 60))
	f.quiet()
	if got, want := f.kindsOf("first"), []schemas.Kind{"dispatched", "dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events of the first refund %v, want %v", got, want)
	}
	f.outcome("other", schemas.KindFailed, schemas.ReasonExceedsRemaining)
	if got := f.moved("p"); got != 60 {
		t.Errorf("%d of 100 went back, want 60", got)
	}
}

// heldBack holds a preparation of one refund, the nth, until it is told to go on, or to fail.
type heldBack struct {
	providers.Provider
	id      schemas.RequestID
	nth     int32
	err     error
	calls   atomic.Int32
	here    chan struct{}
	release chan struct{}
}

func (h *heldBack) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	if r.RequestID == h.id && h.calls.Add(1) == h.nth {
		close(h.here)
		<-h.release
		if h.err != nil {
			return nil, providers.Result{}, h.err
		}
	}
	return h.Provider.Prepare(ctx, r)
}

// While a refund is in hand, a copy of its command that names another captured amount is put aside. The refund waits,
// too, then, and its own command is what goes on: the copy alone would be rejected.
func TestTheFirstCopyOfACommandGoesOn(t *testing.T) {
	t.Parallel()
	held := &heldBack{id: "one", nth: 1, err: &providers.Error{Kind: providers.Unavailable, Op: "prepare", Err: errors.New("down")},
		here: make(chan struct{}), release: make(chan struct{})}
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(c *consumer.Config) {
		held.Provider = c.Instances[0].Provider
		c.Instances[0].Provider = held
		c.Instances[0].Backoff = consumer.Backoff{Initial: 6 * time.Second, Max: 6 * time.Second, Multiplier: 1}
		c.Instances[0].Timeout = 10 * time.Second
	})
	f.start()
	f.publish(of("p", "binds", 100, 10))
	f.quiet()
	f.publish(of("p", "one", 100, 60))
	f.wait("the refund is prepared", held.here)
	f.publish(of("p", "one", 60, 60))
	f.eventually("the copy waits", func() error { return f.left(1, 1) })
	close(held.release)
	f.quiet()
	f.outcome("one", schemas.KindSucceeded, "")
}

// A refund is settled by a notice while a worker prepares its next attempt. The attempt's intent is refused.
func TestRefundSettledBeforeItsIntentStaysAsItIs(t *testing.T) {
	t.Parallel()
	held := &heldBack{id: "one", nth: 2, here: make(chan struct{}), release: make(chan struct{})}
	f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:2s", "succeeded"}}, func(c *consumer.Config) {
		held.Provider = c.Instances[0].Provider
		c.Instances[0].Provider = held
		c.Instances[0].Timeout = 10 * time.Second
	})
	f.start()
	f.publish(of("p", "one", 100, 60))
	f.wait("the second attempt is prepared", held.here)
	f.notice(result("one", "n-1", schemas.KindSucceeded, ""))
	f.eventually("the refund is settled", func() error { return f.reached("one", schemas.KindSucceeded) })
	close(held.release)
	f.quiet()
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "deferred", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if reasons := f.deadReasons(); len(reasons) != 0 || f.made("one") {
		t.Errorf("dead letters %v, a call: %t; want neither", reasons, f.made("one"))
	}
}

// behind has one refund's intent wait until another refund's is stored.
type behind struct {
	jetstream.JetStream
	first, second string
	stored        chan struct{}
	once          sync.Once
}

func (b *behind) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	id := m.Header.Get(schemas.HeaderEventID)
	if id == b.second+":dispatched:1" {
		<-b.stored
	}
	ack, err := b.JetStream.PublishMsg(ctx, m, opts...)
	if id == b.first+":dispatched:1" {
		b.once.Do(func() { close(b.stored) })
	}
	return ack, err
}

// A refund's intent is denied, because another one was first. While it waits, a copy of its command comes that names
// another captured amount: the refund goes on as its first intent said.
func TestACopyCannotFailARefundThatWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	order := &behind{first: "first", second: "one", stored: make(chan struct{})}
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream { order.JetStream = js; return order }
	f.start()
	f.publish(of("p", "one", 100, 60))
	f.eventually("the refund is in hand", func() error { return f.inHand("one") })
	first := of("p", "first", 100, 60)
	first.Options = []byte(`{"script":["acknowledged"]}`)
	f.publish(first)
	f.eventually("the refund was denied and waits", func() error { return f.left(0, 2) })
	f.eventually("the refund has looked again", func() error { return f.looked("one", 2) })
	f.publish(of("p", "one", 60, 60))
	f.eventually("the copy is put aside", func() error { return f.left(0, 2) })
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched"}; !slices.Equal(got, want) {
		t.Fatalf("events %v, want %v", got, want)
	}
	f.notice(result("first", "n-1", schemas.KindFailed, schemas.ReasonDeclined))
	f.quiet()
	f.outcome("one", schemas.KindSucceeded, "")
}

// inHand tells whether a claim of the refund is held.
func (f *fixture) inHand(id string) error {
	keys, err := f.rdb.Keys(context.Background(), "*:r:"+id).Result()
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("record keys %v", keys)
	}
	return err
}

// looked tells whether the refund's schedule has counted so many rounds.
func (f *fixture) looked(id string, rounds int) error {
	stream, err := f.js.Stream(context.Background(), schemas.StreamRetries)
	if err != nil {
		return err
	}
	raw, err := stream.GetLastMsgForSubject(context.Background(), f.subjects.Later(provider, schemas.RequestID(id)))
	if err != nil {
		return err
	}
	if got := raw.Header.Get(schemas.HeaderRound); got < fmt.Sprint(rounds) {
		return fmt.Errorf("round %q", got)
	}
	return nil
}
