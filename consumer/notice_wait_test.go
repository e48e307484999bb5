package consumer_test

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

var takesOn = scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: reports}

// A result comes before anybody has asked for the refund. It waits without holding anything up, and settles the refund once
// it is known.
func TestNoticeOfAnUnknownRefundWaits(t *testing.T) {
	t.Parallel()
	inFakeTime(t, takesOn, func(f *fixture) {
		f.start()
		f.notice(result("one", "n1", "succeeded", ""))
		time.Sleep(6 * time.Minute)
		if got, err := f.count(schemas.StreamRetries); err != nil || got != 1 {
			t.Errorf("%d notices wait in schedules, %v, want 1", got, err)
		}
		if n := f.messages(schemas.StreamNotices); n != 0 {
			t.Errorf("%d notices hold up others", n)
		}
		f.publish(command("one", ""))
		time.Sleep(strangePatience)
		if err := f.reached("one", schemas.KindSucceeded); err != nil {
			t.Error(err)
		}
		f.quiet()
	})
}

// A notice has waited for a day: a person is asked.
func TestNoticeOfAnUnknownRefundEndsAfterADay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		waited time.Duration
		dead   []string
		left   uint64
	}{
		{24*time.Hour - time.Minute, nil, 1},
		{24*time.Hour + time.Minute, []string{"not_found"}, 0},
	} {
		f := newFixture(t, takesOn)
		f.start()
		body, err := result("one", "n1", "succeeded", "").Encode()
		if err != nil {
			t.Fatal(err)
		}
		msg := &nats.Msg{Subject: f.subjects.Notices(provider), Data: body, Header: nats.Header{}}
		msg.Header.Set(schemas.HeaderSince, time.Now().Add(-test.waited).UTC().Format(time.RFC3339Nano))
		if _, err := f.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		f.read()
		if got := f.deadReasons(); !slices.Equal(got, test.dead) {
			t.Errorf("after %s: dead letters %v, want %v", test.waited, got, test.dead)
		}
		if err := f.left(0, test.left); err != nil {
			t.Errorf("after %s: %v", test.waited, err)
		}
	}
}

// strangePatience is when a notice is looked at again at the latest, and then some.
const strangePatience = 7 * time.Minute

// Money comes back before the provider has said that it went.
func TestReversalWaitsForTheSuccess(t *testing.T) {
	t.Parallel()
	inFakeTime(t, takesOn, func(f *fixture) {
		f.start()
		f.publish(command("one", ""))
		time.Sleep(10 * time.Second)
		f.notice(reversal("one", "v1", 4))
		time.Sleep(6 * time.Minute)
		if err := f.reached("one", schemas.KindAcknowledged); err != nil {
			t.Error(err)
		}
		f.notice(result("one", "n1", "succeeded", ""))
		time.Sleep(strangePatience)
		if got := f.kindsOf("one"); !slices.Equal(got, []schemas.Kind{"dispatched", "acknowledged", "succeeded", "reversed"}) {
			t.Errorf("events %v", got)
		}
		f.quiet()
		f.chained("one")
	})
}

// stuck stands still once, when a worker has read the refund's last event and is about to judge its notice.
type stuck struct {
	jetstream.JetStream
	mu    sync.Mutex
	still time.Duration
}

func (s *stuck) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := s.JetStream.Stream(ctx, name)
	if name == schemas.StreamEvents && err == nil {
		return &stuckStream{Stream: stream, s: s}, nil
	}
	return stream, err
}

type stuckStream struct {
	jetstream.Stream
	s *stuck
}

func (w *stuckStream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	msg, err := w.Stream.GetMsg(ctx, seq, opts...)
	w.s.mu.Lock()
	var still time.Duration
	if settling() {
		still, w.s.still = w.s.still, 0
	}
	w.s.mu.Unlock()
	time.Sleep(still)
	return msg, err
}

// settling tells whether the caller works on a notice: the watch reads events, too.
func settling() bool {
	stack := make([]byte, 8<<10)
	return bytes.Contains(stack[:runtime.Stack(stack, false)], []byte(".settle("))
}
