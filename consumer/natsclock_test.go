package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// clocked has a worker see another time at the broker than it has.
type clocked struct {
	jetstream.JetStream
	ahead *atomic.Int64
}

func (c clocked) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := c.JetStream.Stream(ctx, name)
	return clockedStream{s, c.ahead}, err
}

type clockedStream struct {
	jetstream.Stream
	ahead *atomic.Int64
}

func (s clockedStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := s.Stream.Info(ctx, opts...)
	if err != nil {
		return nil, err
	}
	shifted := *info
	shifted.TimeStamp = shifted.TimeStamp.Add(time.Duration(s.ahead.Load()))
	return &shifted, nil
}

func (s clockedStream) CachedInfo() *jetstream.StreamInfo {
	shifted := *s.Stream.CachedInfo()
	shifted.TimeStamp = shifted.TimeStamp.Add(time.Duration(s.ahead.Load()))
	return &shifted
}

// The broker's clock and the worker's are too far apart: nothing is done until they agree again, and nothing is lost.
func TestClockOfTheBroker(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{6 * time.Second, -6 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{})
			var ahead atomic.Int64
			f.wrap = func(js jetstream.JetStream) jetstream.JetStream { return clocked{js, &ahead} }
			r := f.start()
			ahead.Store(int64(apart))
			f.eventually("the worker pauses", func() error {
				if reasons := r.worker.Readiness(); !slices.Contains(reasons, string(idempotency.NATSClock)) {
					return fmt.Errorf("not ready: %v", reasons)
				}
				return nil
			})
			f.publish(command("one", ""))
			<-time.After(2 * time.Second) // a worker that went on would have made it by then
			if kinds := f.kindsOf("one"); len(kinds) > 0 {
				t.Errorf("with clocks apart, %v is journalled", kinds)
			}
			ahead.Store(0)
			f.eventually("it is made once the clocks agree", func() error { return f.was("one", schemas.KindSucceeded) })
		})
	}
}

// The broker's clock is a little ahead. A schedule names the broker's time: by the worker's it would fire too soon, and again
// and again.
func TestSchedulesNameTheBrokersTime(t *testing.T) {
	t.Parallel()
	const apart = 4 * time.Second
	f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:10m"}})
	var ahead atomic.Int64
	ahead.Store(int64(apart))
	f.wrap = func(js jetstream.JetStream) jetstream.JetStream { return clocked{js, &ahead} }
	f.start()
	f.publish(command("one", ""))
	f.eventually("it waits", func() error { return f.left(0, 1) })
	msg, err := f.lastMessage(schemas.StreamRetries, f.subjects.Later(provider, "one"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("@at 2006-01-02T15:04:05Z", msg.Header.Get("Nats-Schedule"))
	due := f.lastEvent("one").NotBefore.Add(apart - 500*time.Millisecond) // how far they are apart is measured
	if err != nil || at.Before(due) {
		t.Errorf("the schedule says %q, want %s or later", msg.Header.Get("Nats-Schedule"), due)
	}
}
