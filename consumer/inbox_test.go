package consumer_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/consumer"
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

// Two senders of one key at once are never both told that theirs is the one.
func TestInboxTakesOneOfTwoContents(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	inbox := f.start().worker.Inbox()
	for round := range 20 {
		var accepted [2]atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				content := i % 2
				got, err := inbox.Store(t.Context(), message(fmt.Sprint("k", round), fmt.Sprint(content)),
					result("one", "n1", "succeeded", ""))
				if err != nil {
					t.Error(err)
				} else if got != providers.Other {
					accepted[content].Add(1)
				}
			})
		}
		all.Wait()
		if a, b := accepted[0].Load(), accepted[1].Load(); a > 0 && b > 0 || a+b == 0 {
			t.Errorf("round %d: %d and %d accepted, want one content", round, a, b)
		}
	}
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
