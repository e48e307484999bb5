package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// Every worker is away for more than a day while a reversal and, behind it, the success that it refers to come in.
func TestReversalAfterAnOutage(t *testing.T) {
	t.Parallel()
	inFakeTime(t, takesOn, func(f *fixture) {
		r := f.start()
		f.publish(command("one", ""))
		time.Sleep(10 * time.Second)
		_ = r.stop()
		f.notice(reversal("one", "v1", 4))
		f.notice(result("one", "n1", "succeeded", ""))
		time.Sleep(25 * time.Hour)
		f.start()
		time.Sleep(strangePatience)
		if got := f.kindsOf("one"); !slices.Equal(got, []schemas.Kind{"dispatched", "acknowledged", "succeeded", "reversed"}) {
			t.Errorf("events %v", got)
		}
		if got := f.deadReasons(); got != nil {
			t.Errorf("dead letters %v", got)
		}
	})
}

// stuck stands still once before a message is stored.
type stuck struct {
	jetstream.JetStream
	at    func(*nats.Msg) bool
	mu    sync.Mutex
	still time.Duration
}

func (s *stuck) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.mu.Lock()
	var still time.Duration
	if s.at(m) {
		still, s.still = s.still, 0
	}
	s.mu.Unlock()
	time.Sleep(still)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.JetStream.PublishMsg(late, m, o...)
}

// resume journals a person's word that nothing moved.
func (f *fixture) resume(id string) {
	f.t.Helper()
	journal := stream.NewJournal(f.js, f.subjects)
	f.eventually("the word is journalled", func() error {
		head, err := journal.Head(context.Background(), schemas.RequestID(id))
		if err != nil {
			return err
		}
		e := head.Event.After(schemas.KindResumed, time.Now())
		e.N, e.By = 1, &schemas.Operator{Operator: "op", Note: "try again"}
		stored, err := journal.Append(context.Background(), ledger.Entry{Event: e, ID: e.ID(), Owner: "op"}, head.Seq)
		if err == nil && stored.Stale {
			err = errors.New("somebody was first")
		}
		return err
	})
}

// A provider's no about a parked refund is on its way into the journal while a person has the refund tried again. Either
// it is tried, or the no stands: never both.
func TestFailureOfAParkedRefundThatIsTriedAgain(t *testing.T) {
	t.Parallel()
	neither := &providers.Capabilities{Asynchronous: true}
	inFakeTime(t, scripted.Config{Outcomes: []string{"unknown_lost", "succeeded"}, Latency: 10 * time.Second,
		Capabilities: neither}, func(f *fixture) {
		s := &stuck{at: entryOf(schemas.KindFailed), still: 6 * time.Second}
		f.wrap = func(js jetstream.JetStream) jetstream.JetStream {
			s.JetStream = js
			return s
		}
		f.start()
		f.wrap = nil
		f.publish(command("one", ""))
		time.Sleep(2 * time.Minute)
		if err := f.reached("one", schemas.KindParked); err != nil {
			t.Fatal(err)
		}
		f.notice(result("one", "n1", "failed", "account_closed"))
		time.Sleep(time.Second) // the notice's worker stands still
		f.resume("one")
		if err := f.start().worker.Inbox().Hurry(context.Background(), provider, "one"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		kinds := f.kindsOf("one")
		failed, moved := slices.Contains(kinds, schemas.KindFailed), len(f.provider.Movements())
		if failed == (moved > 0) || moved > 1 {
			t.Errorf("events %v with %d movements", kinds, moved)
		}
		f.quiet()
	}, func(c *consumer.Config) { c.Instances[0].Timeout = 20 * time.Second })
}

// A person lets a refund go on right after it was parked, before its worker has stored the schedule that carries it: it is
// tried again at once, and not a week later.
func TestResumedBeforeItsScheduleIsStored(t *testing.T) {
	t.Parallel()
	neither := &providers.Capabilities{Asynchronous: true}
	inFakeTime(t, scripted.Config{Outcomes: []string{"unknown_lost", "succeeded"}, Capabilities: neither}, func(f *fixture) {
		f.wrap = func(js jetstream.JetStream) jetstream.JetStream {
			return &hasty{JetStream: js, resume: func() { f.resume("one") }}
		}
		f.start()
		f.publish(command("one", ""))
		f.within(time.Hour, func() error {
			want := []schemas.Kind{"dispatched", "parked", "resumed", "dispatched", "succeeded"}
			if got := f.kindsOf("one"); !slices.Equal(got, want) {
				return fmt.Errorf("events %v, want %v", got, want)
			}
			return nil
		})
	})
}

// hasty is a person who answers as soon as a refund is parked.
type hasty struct {
	jetstream.JetStream
	resume func()
}

func (h *hasty) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := h.JetStream.PublishMsg(ctx, m, o...)
	if err == nil && isEntry(m, schemas.KindParked) && m.Subject == (schemas.Subjects{}).Journal("one") {
		h.resume()
	}
	return ack, err
}
