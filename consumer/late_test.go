package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// turnstile holds the first publish of some kind until the test lets it pass.
type turnstile struct {
	jetstream.JetStream
	at func(*nats.Msg) bool
	// stored holds the publish after it was stored, else before; refused reports an error for it.
	stored, refused bool

	taken   atomic.Bool
	arrived chan struct{}
	pass    chan struct{}
	open    func()
}

// hold puts the turnstile in front of workers started from then on.
func (f *fixture) hold(s *turnstile) *turnstile {
	s.arrived, s.pass = make(chan struct{}), make(chan struct{})
	s.open = sync.OnceFunc(func() { close(s.pass) })
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream { s.JetStream = js; return s }
	return s
}

func (s *turnstile) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if !s.at(m) || s.taken.Swap(true) {
		return s.JetStream.PublishMsg(ctx, m, opts...)
	}
	late := context.WithoutCancel(ctx) // it may be stored long after its publisher's patience has ended
	var ack *jetstream.PubAck
	var err error
	if s.stored {
		ack, err = s.JetStream.PublishMsg(late, m, opts...)
	}
	close(s.arrived)
	<-s.pass
	switch {
	case s.refused:
		return nil, errors.New("no answer from the stream")
	case !s.stored:
		return s.JetStream.PublishMsg(late, m, opts...)
	}
	return ack, err
}

// wait returns when the test has got to where it is held.
func (f *fixture) wait(what string, arrived <-chan struct{}) {
	f.t.Helper()
	select {
	case <-arrived:
	case <-time.After(patience):
		f.t.Fatalf("%s: not within 30 s", what)
	}
}

// scripts stands between the workers and Redis, around every pipeline of scripts.
type scripts func(cmds []redis.Cmder, send func() error) error

func (s scripts) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (s scripts) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (s scripts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || !strings.HasPrefix(cmds[0].Name(), "eval") {
			return next(ctx, cmds)
		}
		return s(cmds, func() error { return next(ctx, cmds) })
	}
}

// firstKey is the first key that a script was given.
func firstKey(cmd redis.Cmder) string {
	key, _ := cmd.Args()[3].(string)
	return key
}

// answered tells whether a claim of the refund got an answer.
func answered(cmds []redis.Cmder, id, answer string) bool {
	return slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool {
		reply, ok := cmd.(*redis.Cmd)
		if !ok || !strings.HasSuffix(firstKey(cmd), ":r:"+id) {
			return false
		}
		values, err := reply.Slice()
		return err == nil && len(values) > 0 && values[0] == answer
	})
}

// again is the same refund in other bytes: it is told from its twin by the claim, not by what is in hand.
func again(c schemas.Command) schemas.Command {
	c.Metadata = map[string]string{"copy": "2"}
	return c
}

var oneAtATime = &providers.Capabilities{Lookup: true, LookupDelay: time.Millisecond, PartialRefunds: true,
	Concurrent: providers.OneAtATime}

// The outcome of a call is journalled after the lease, when another claim has found the refund in doubt and is
// about to ask who holds the payment. The outcome has ended the hold; that the refund does not have it any more
// must not be read as if it had never had it.
func TestHoldThatTheLateOutcomeEndedWasGranted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: oneAtATime})
	outcome := f.hold(&turnstile{at: entryOf(schemas.KindSucceeded)})
	defer outcome.open()
	doubt, looked := make(chan struct{}), make(chan struct{})
	var first sync.Once
	goOn := sync.OnceFunc(func() { close(looked) })
	defer goOn()
	f.rdb.AddHook(scripts(func(cmds []redis.Cmder, send func() error) error {
		err := send()
		if answered(cmds, "one", "DOUBT") {
			first.Do(func() { close(doubt); <-looked })
		}
		return err
	}))
	f.start()
	one := command("one", "")
	f.publish(one)
	f.wait("the outcome is on its way", outcome.arrived)
	f.publish(again(one)) // comes again when the lease has ended
	f.wait("another claim finds the refund in doubt", doubt)
	outcome.open()
	f.eventually("the late outcome is applied", func() error { return f.inState("one", "s") })
	goOn()
	f.quiet()
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1", got)
	}
	two := command("two", "")
	two.Payment.Reference = one.Payment.Reference
	f.publish(two)
	f.eventually("the payment is free for another refund", func() error { return f.reached("two", schemas.KindSucceeded) })
	f.quiet()
}

// bounded is a provider that has come to take one refund of a payment at a time.
type bounded struct{ providers.Provider }

func (bounded) Capabilities() providers.Capabilities {
	return providers.Capabilities{Concurrent: providers.OneAtATime}
}

// An attempt that was made before holds were asked for has none, and may have moved money all the same.
func TestAttemptThatNeverAskedForTheHoldStaysInDoubt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"}, Capabilities: &providers.Capabilities{}},
		func(c *consumer.Config) { c.Instances[0].Timeout = 200 * time.Millisecond })
	r := f.start()
	f.publish(command("one", ""))
	f.eventually("it is in doubt", func() error { return f.left(0, 1) })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	f.cfg.Instances[0].Provider = bounded{f.provider}
	f.start()
	f.eventually("a person is asked", func() error {
		if n := len(f.provider.Movements()); n != 1 {
			t.Fatalf("%d movements of money, want 1", n)
		}
		return f.reached("one", schemas.KindParked)
	})
	if got := f.lastEvent("one").Reason; got != schemas.ReasonOutcomeUnknown {
		t.Errorf("parked for %q, want %q", got, schemas.ReasonOutcomeUnknown)
	}
}

// inState tells whether the refund's record is in a state.
func (f *fixture) inState(id, want string) error {
	keys, err := f.rdb.Keys(context.Background(), "*:r:"+id).Result()
	if err != nil || len(keys) != 1 {
		return fmt.Errorf("record keys %v, %v, want one", keys, err)
	}
	if got := f.rdb.HGet(context.Background(), keys[0], "s").Val(); !strings.HasPrefix(got, want) {
		return fmt.Errorf("the record is in state %q, want %q", got, want)
	}
	return nil
}

// busyOnce says "not now" to the first call, and keeps keys as the provider behind it does.
type busyOnce struct {
	providers.Provider
	called atomic.Bool
}

func (b *busyOnce) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	if !b.called.Swap(true) {
		return providers.Result{Status: providers.NotNow, Reason: schemas.ReasonProviderBusy, After: 2 * time.Second}, nil
	}
	return b.Provider.Refund(ctx, r)
}

// A first attempt was told "not now", and its deferred event is held up until the lease has ended and a second
// attempt, under the same key, is in doubt. Whether the event is given up then or turns out to have been on its
// way, the doubt is ended under the key of the attempt in doubt: another one would move the money again.
func TestLateDeferralKeepsTheKeyOfTheAttemptInDoubt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		refused bool
	}{
		{"not stored before the lease ended, so never", true},
		{"on its way when the lease ended, and refused by then", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"}, Capabilities: keepsKeys},
				func(c *consumer.Config) {
					c.Instances[0].Provider = &busyOnce{Provider: c.Instances[0].Provider}
					c.Instances[0].Timeout = 200 * time.Millisecond
				})
			deferral := f.hold(&turnstile{at: entryOf(schemas.KindDeferred), refused: test.refused})
			defer deferral.open()
			f.start()
			one := command("one", "")
			f.publish(one)
			f.wait("the deferral is on its way", deferral.arrived)
			f.publish(again(one))
			f.eventually("a second attempt is in doubt", func() error {
				if n := len(f.provider.Movements()); n != 1 {
					return fmt.Errorf("%d movements of money, events %v", n, f.kindsOf("one"))
				}
				return nil
			})
			deferral.open()
			f.quiet()
			for _, m := range f.provider.Movements() {
				if m.Key != "one" {
					t.Errorf("money moved under key %q, want only under %q", m.Key, "one")
				}
			}
			if got := len(f.provider.Movements()); got != 1 {
				t.Errorf("%d movements of money, want 1", got)
			}
			if kinds := f.kindsOf("one"); slices.Contains(kinds, schemas.KindDeferred) {
				t.Errorf("events %v, want none deferred: it was decided before the second attempt", kinds)
			}
			if err := f.reached("one", schemas.KindSucceeded); err != nil {
				t.Error(err)
			}
		})
	}
}

// While the projection stands still nobody can tell who holds a payment. The attempt is given back while that is
// still possible: nothing was called, so nothing is in doubt and no person is asked.
func TestGuardThatCannotBeAskedLeavesTheRefundUntouched(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"},
		Capabilities: &providers.Capabilities{Concurrent: providers.OneAtATime}}, func(c *consumer.Config) {
		// Time enough for a slow disk to store the intent, and for the lease to be given back.
		c.Instances[0].Timeout, c.LeaseMargin = 3*time.Second, 6*time.Second
	})
	var projection sync.RWMutex
	f.rdb.AddHook(scripts(func(cmds []redis.Cmder, send func() error) error {
		if strings.HasSuffix(firstKey(cmds[0]), ":pos") {
			projection.RLock()
			defer projection.RUnlock()
		}
		return send()
	}))
	f.start()
	projection.Lock()
	goOn := sync.OnceFunc(projection.Unlock)
	defer goOn()
	f.publish(command("one", ""))
	f.eventually("it waits", func() error { return f.left(0, 1) })
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched"}; !slices.Equal(got, want) {
		t.Errorf("events while the projection stands still %v, want %v", got, want)
	}
	if got := len(f.provider.Movements()); got != 0 {
		t.Errorf("%d movements of money before the guard was asked, want none", got)
	}
	goOn()
	f.eventually("the refund is made", func() error {
		if kinds := f.kindsOf("one"); slices.Contains(kinds, schemas.KindParked) {
			t.Fatalf("events %v, want none parked: no call was made", kinds)
		}
		return f.reached("one", schemas.KindSucceeded)
	})
	f.quiet()
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1", got)
	}
}
