package consumer_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// latecomer answers the second preparation itself, once the first worker's call was made.
type latecomer struct {
	providers.Provider
	answer providers.Result
	meet   func()

	mu      sync.Mutex
	here    int
	made    chan struct{}
	answers chan struct{}
}

func (l *latecomer) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	l.mu.Lock()
	l.here++
	here := l.here
	l.mu.Unlock()
	switch here {
	case 1:
		l.meet()
	case 2:
		<-l.made
		defer close(l.answers)
		return nil, l.answer, nil
	}
	return l.Provider.Prepare(ctx, r)
}

func (l *latecomer) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	result, err := l.Provider.Refund(ctx, r)
	select {
	case <-l.made:
	default:
		close(l.made)
		<-l.answers
	}
	return result, err
}

// Two workers are given the same attempt by force. The first one's call moves money, and before it hears so the second
// one is told, by its preparation, that nothing is to be done or not now. That speaks for its own attempt only, and
// the attempt is the first one's.
func TestNoAnswerBeforeACallSpeaksForAnotherWorkersCall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer providers.Result
	}{
		{"declined", providers.Result{Status: providers.Declined, Reason: schemas.ReasonAlreadyRefunded}},
		{"not now", providers.Result{Status: providers.NotNow, Reason: schemas.ReasonProviderBusy, After: 2 * time.Second}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			late := &latecomer{answer: test.answer, made: make(chan struct{}), answers: make(chan struct{})}
			f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_applied", "succeeded"},
				Capabilities: &providers.Capabilities{Lookup: true, LookupDelay: time.Minute}}, func(c *consumer.Config) {
				late.Provider = c.Instances[0].Provider
				c.Instances[0].Provider = late
			})
			one := command("one", "")
			late.meet = func() {
				keys, err := f.rdb.Keys(context.Background(), "*:r:one").Result()
				if err != nil || len(keys) != 1 {
					t.Errorf("record keys %v, %v, want one", keys, err)
					return
				}
				f.rdb.HDel(context.Background(), keys[0], "o", "l")
				f.publish(again(one))
			}
			f.start()
			f.publish(one)
			f.wait("the second worker has its answer", late.answers)
			f.quiet()
			if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "succeeded"}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			if got := len(f.provider.Movements()); got != 1 {
				t.Errorf("%d movements of money, want 1", got)
			}
		})
	}
}
