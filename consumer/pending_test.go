package consumer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// naming takes the second call on under an id of its own, and keeps what lookups ask.
type naming struct {
	providers.Provider
	mu      sync.Mutex
	calls   int
	lookups []providers.Request
	finding providers.Finding
}

func (n *naming) Refund(context.Context, providers.Request) (providers.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calls++; n.calls == 1 {
		return providers.Result{Status: providers.NotNow, Reason: schemas.ReasonProviderBusy, After: 5 * time.Second}, nil
	}
	return providers.Result{Status: providers.Acknowledged, ProviderRefundID: "p-1"}, nil
}

func (n *naming) Lookup(_ context.Context, r providers.Request) (providers.Finding, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups = append(n.lookups, r)
	return n.finding, nil
}

// A refund that was put off and then taken on is followed up under the provider's own id, as the one call that counts.
// When it failed for now after all, it is tried again under a new key.
func TestPendingRefundIsFollowedUp(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: canLookUp}, func(f *fixture) {
		n := f.cfg.Instances[0].Provider.(*naming)
		f.start()
		f.publish(command("one", ""))
		time.Sleep(90 * time.Second)
		n.mu.Lock()
		if len(n.lookups) != 1 {
			t.Fatalf("%d lookups, want 1", len(n.lookups))
		}
		if got := n.lookups[0]; got.ProviderRefundID != "p-1" || got.Attempt != 1 {
			t.Errorf("looked up as %q, attempt %d, want p-1 and 1: the call before surely did nothing", got.ProviderRefundID, got.Attempt)
		}
		n.finding = providers.Finding{Kind: providers.NotFound, Result: providers.Result{Status: providers.NotNow,
			Reason: schemas.ReasonInsufficientBalance, After: 10 * time.Second}}
		n.mu.Unlock()
		time.Sleep(4 * time.Minute)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.calls < 3 {
			t.Errorf("%d calls, want a third one: events %v", n.calls, f.kindsOf("one"))
		}
		f.chained("one")
	}, func(c *consumer.Config) { c.Instances[0].Provider = &naming{Provider: c.Instances[0].Provider} })
}

// A provider cannot be reached for ten minutes before anything is journalled. It is asked ever more seldom, and nothing
// holds a slot meanwhile.
func TestProviderThatIsAwayIsAskedEverMoreSeldom(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
		u := f.cfg.Instances[0].Provider.(*unprepared)
		f.start()
		f.publish(command("one", ""))
		time.Sleep(10 * time.Minute)
		if n := u.asked.Load(); n > 12 {
			t.Errorf("asked %d times, want at most 12: 2, 2, 4, 8 ... s apart", n)
		}
		if err := f.left(0, 1); err != nil {
			t.Error(err)
		}
		u.can.Store(true)
		time.Sleep(14 * time.Minute)
		f.quiet()
		if err := f.reached("one", schemas.KindSucceeded); err != nil {
			t.Error(err)
		}
	}, func(c *consumer.Config) {
		c.Instances[0].Backoff = consumer.Backoff{}
		c.Instances[0].Provider = &unprepared{Provider: c.Instances[0].Provider}
	})
}
