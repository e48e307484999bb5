package consumer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

func message(key, content string) providers.Message {
	return providers.Message{Provider: provider, Key: key, Content: sha256.Sum256([]byte(content))}
}

func TestInboxRemembersWhatItAccepted(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	inbox := f.start().worker.Inbox()
	steps := []struct {
		name string
		m    providers.Message
		want providers.Recollection
	}{
		{"first", message("k1", "a"), providers.New},
		{"again", message("k1", "a"), providers.Same},
		{"other content", message("k1", "b"), providers.Other},
		{"other key", message("k2", "a"), providers.New},
	}
	for _, s := range steps {
		recalled, err := inbox.Recall(t.Context(), s.m)
		if err != nil || recalled != s.want {
			t.Errorf("%s: recalled %v, %v, want %v", s.name, recalled, err, s.want)
		}
		got, err := inbox.Store(t.Context(), s.m, result("one", "n1", "succeeded", ""))
		if err != nil || got != s.want {
			t.Errorf("%s: stored %v, %v, want %v", s.name, got, err, s.want)
		}
	}
	f.eventually("the notice settles the refund", func() error { return f.reached("one", schemas.KindSucceeded) })
}

// Of two contents under one key at once one is taken, and only that one settles the refund.
func TestInboxTakesOneOfTwoContents(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("r", i))
	}
	f := acknowledged(t, ids...)
	inbox := f.start().worker.Inbox()
	contents := []schemas.Kind{schemas.KindSucceeded, schemas.KindCancelled}
	for _, id := range ids {
		var taken [2]atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				which := i % 2
				got, err := inbox.Store(t.Context(), message("k-"+id, fmt.Sprint(which)), result(id, "n-"+id, contents[which], ""))
				if err != nil {
					t.Error(err)
				} else if got != providers.Other {
					taken[which].Add(1)
				}
			})
		}
		all.Wait()
		if a, b := taken[0].Load(), taken[1].Load(); a+b != 4 || a*b != 0 {
			t.Fatalf("%s: %d and %d are told that theirs is the one, want the 4 of one content", id, a, b)
		}
		want := contents[0]
		if taken[1].Load() > 0 {
			want = contents[1]
		}
		f.eventually("the one that was taken settles the refund", func() error { return f.reached(id, want) })
	}
	f.read()
	if got := f.deadReasons(); got != nil {
		t.Errorf("dead letters %v, want none: what was refused is no notice", got)
	}
}

// cutting breaks off once before or after a notice is stored, as a dying process does.
type cutting struct {
	jetstream.JetStream
	before, after bool
}

func (c *cutting) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if m.Subject != "refunds.notices."+string(provider) {
		return c.JetStream.PublishMsg(ctx, m, opts...)
	}
	before, after := c.before, c.after
	c.before, c.after = false, false
	if before {
		return nil, nats.ErrTimeout
	}
	ack, err := c.JetStream.PublishMsg(ctx, m, opts...)
	if after {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

// A message was cut off between its notice and the answer. Its repeat is the same message, and no second fact: also when
// it could not be told so any more, because its reversal counts by now.
func TestInboxFinishesWhatWasCutOff(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	c := &cutting{}
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream {
		c.JetStream = js
		return c
	}
	inbox := f.start().worker.Inbox()
	f.notice(result("one", "n1", "succeeded", ""))
	f.read()
	c.after = true
	if _, err := inbox.Store(t.Context(), message("k1", "a"), reversal("one", "v1", 10)); err == nil {
		t.Fatal("the cut was not noticed")
	}
	f.eventually("the notice settles", func() error { return f.reached("one", schemas.KindReversed) })
	if got, err := inbox.Recall(t.Context(), message("k1", "b")); err != nil || got != providers.Other {
		t.Errorf("other content is recalled as %v, %v", got, err)
	}
	if got, err := inbox.Recall(t.Context(), message("k1", "a")); err != nil || got != providers.Same {
		t.Errorf("the repeat is recalled as %v, %v", got, err)
	}
	f.read()
	if n := len(f.kindsOf("one")); n != 4 {
		t.Errorf("events %v, want one reversal", f.kindsOf("one"))
	}
}

// A message was cut off before its notice was stored, or maybe after. Whoever recalls it stores it.
func TestInboxStoresWhatWasBegun(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	c := &cutting{before: true}
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream {
		c.JetStream = js
		return c
	}
	inbox := f.start().worker.Inbox()
	if _, err := inbox.Store(t.Context(), message("k1", "a"), result("one", "n1", "succeeded", "")); err == nil {
		t.Fatal("the cut was not noticed")
	}
	if got, err := inbox.Recall(t.Context(), message("k1", "a")); err != nil || got != providers.Same {
		t.Errorf("the repeat is recalled as %v, %v", got, err)
	}
	f.eventually("the notice settles", func() error { return f.reached("one", schemas.KindSucceeded) })
}

// Nothing is remembered of a message whose notice could not be stored.
func TestInboxForgetsWhatFailed(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	inbox := f.start().worker.Inbox()
	unknown := result("one", "n1", "succeeded", "")
	unknown.Provider = "nobody"
	if _, err := inbox.Store(t.Context(), message("k1", "a"), unknown); err == nil {
		t.Fatal("a notice that no stream takes was accepted")
	}
	if got, err := inbox.Store(t.Context(), message("k1", "b"), result("one", "n1", "succeeded", "")); err != nil || got != providers.New {
		t.Errorf("stored %v, %v, want it new: only errors came before", got, err)
	}
}

func TestInboxTellsOfRefunds(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	inbox := f.start().worker.Inbox()
	ten := schemas.Money{Micros: 10_000_000, Currency: "HKD"}
	expect := func(id string, want providers.KnownRefund) {
		t.Helper()
		f.eventually("the refund is known so", func() error {
			got, err := inbox.Refund(t.Context(), schemas.RequestID(id))
			if err == nil && got != want {
				err = fmt.Errorf("got %+v, want %+v", got, want)
			}
			return err
		})
	}
	expect("nobody", providers.KnownRefund{})
	expect("one", providers.KnownRefund{Known: true, Amount: ten, Reversed: schemas.Money{Currency: "HKD"}})
	f.notice(result("one", "n1", "succeeded", ""))
	f.notice(reversal("one", "v1", 4))
	expect("one", providers.KnownRefund{Known: true, Outcome: schemas.KindSucceeded, Amount: ten,
		Reversed: schemas.Money{Micros: 4_000_000, Currency: "HKD"}})
}

// asked tells each lookup.
type asked struct {
	providers.Provider
	lookups chan struct{}
}

func (a *asked) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	a.lookups <- struct{}{}
	return a.Provider.Lookup(ctx, r)
}

// A hint has the provider asked now: long before the refund's schedule is due, and once for many hints.
func TestHurry(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: canLookUp}, func(f *fixture) {
		a := f.cfg.Instances[0].Provider.(*asked)
		inbox := f.start().worker.Inbox()
		f.publish(command("one", ""))
		time.Sleep(70 * time.Second) // the first look, after a minute, has found nothing
		if n := len(a.lookups); n != 1 {
			t.Fatalf("%d lookups, want 1", n)
		}
		for range 5 {
			if err := inbox.Hurry(f.t.Context(), provider, "one"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if n := len(a.lookups); n != 2 {
			t.Errorf("%d lookups, want the second now", n)
		}
		if err := f.left(0, 1); err != nil {
			t.Error(err)
		}
		if err := inbox.Hurry(f.t.Context(), provider, "unknown"); err != nil {
			t.Errorf("a refund that nobody knows: %v, want it left alone", err)
		}
	}, func(c *consumer.Config) {
		c.Instances[0].Provider = &asked{Provider: c.Instances[0].Provider, lookups: make(chan struct{}, 100)}
	})
}

// A memory that forgets before the journal does, or that is lost with its server, is refused at the start.
func TestInboxBucketIsVerified(t *testing.T) {
	t.Parallel()
	for setting, cfg := range map[string]jetstream.KeyValueConfig{
		"max age": {Bucket: "refund-inbox", TTL: time.Hour, Storage: jetstream.FileStorage},
		"storage": {Bucket: "refund-inbox", Storage: jetstream.MemoryStorage},
	} {
		f := newFixture(t, takesOn)
		if _, err := f.js.CreateKeyValue(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		store, err := idempotency.New(f.rdb, idempotency.Config{Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		w, err := consumer.New(f.cfg, f.js, store, consumer.Telemetry{})
		if err != nil {
			t.Fatal(err)
		}
		var wrong *stream.TopologyError
		if err := w.Setup(t.Context()); !errors.As(err, &wrong) || len(wrong.Differences) != 1 || wrong.Differences[0].Setting != setting {
			t.Errorf("%s: set up with %v, want it refused", setting, err)
		}
	}
}
