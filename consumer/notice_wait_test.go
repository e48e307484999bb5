package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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
		msg := &nats.Msg{Subject: f.subjects.RetryNotices(provider), Data: body, Header: nats.Header{}} // as its schedule fires
		msg.Header.Set(schemas.HeaderSince, time.Now().Add(-test.waited).UTC().Format(time.RFC3339Nano))
		if _, err := f.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		f.eventually("it is dealt with", func() error { // it waits on another subject then, or is dead
			_, err := f.lastMessage(schemas.StreamRetries, f.subjects.LaterNotices(provider))
			if got := f.deadReasons(); !slices.Equal(got, test.dead) || (err == nil) != (test.left == 1) {
				return fmt.Errorf("after %s: dead letters %v, schedule: %v; want %v, %d", test.waited, got, err, test.dead, test.left)
			}
			return f.left(0, test.left)
		})
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
