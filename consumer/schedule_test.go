package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// The server knows whole seconds and rounds down; a refund must not come back before its provider said so.
func TestScheduleDoesNotFireEarly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	r := f.start()
	const refunds = 5
	for i := range refunds { // at odd parts of a second, by the time between them
		f.publish(command(fmt.Sprint("r", i), fmt.Sprintf(`{"script":["not_now:provider_busy:%dms","succeeded"]}`, 2050+230*i)))
	}
	f.eventually("all wait", func() error { return f.left(0, refunds) })
	if err := r.stop(); err != nil { // so that what fires stays to be seen
		t.Fatal(err)
	}
	due := map[schemas.RequestID]time.Time{}
	for _, e := range f.events() {
		if e.Kind == schemas.KindDeferred {
			due[e.RequestID] = *e.NotBefore
		}
	}
	fired := map[schemas.RequestID]time.Time{}
	f.eventually("all schedules fire", func() error {
		f.firedInto(fired)
		if len(fired) != refunds {
			return fmt.Errorf("%d of %d fired", len(fired), refunds)
		}
		return nil
	})
	for id, at := range fired {
		late := at.Sub(due[id])
		t.Logf("%s fired %s after it was due", id, late)
		if late < 0 {
			t.Errorf("%s fired %s before it was due", id, -late)
		}
	}
}

// firedInto notes when each schedule fired.
func (f *fixture) firedInto(fired map[schemas.RequestID]time.Time) {
	f.t.Helper()
	ctx := context.Background()
	s, err := f.js.Stream(ctx, schemas.StreamRetries)
	if err != nil {
		f.t.Fatal(err)
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Subject != f.subjects.Retry(provider) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		c, err := schemas.DecodeCommand(msg.Data, schemas.Arrival{})
		if err != nil {
			f.t.Fatal(err)
		}
		fired[c.RequestID] = msg.Time
	}
}

// However often a waiting command is published again, one message carries it.
func TestDuplicatesOfADeferredCommandShareOneSchedule(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:day_end:23h", "succeeded"}})
	f.start()
	one := command("one", "")
	f.publish(one)
	f.eventually("it waits", func() error { return f.left(0, 1) })
	body, err := one.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := f.js.PublishAsync(f.subjects.Command(provider), body); err != nil {
			t.Fatal(err)
		}
	}
	<-f.js.PublishAsyncComplete()
	f.eventually("every duplicate is dealt with", func() error { return f.left(0, 1) })
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "deferred"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	msg, err := f.lastMessage(schemas.StreamRetries, f.subjects.Later(provider, "one"))
	if err != nil {
		t.Fatalf("the schedule: %v", err)
	}
	at, err := time.Parse("@at 2006-01-02T15:04:05Z", msg.Header.Get("Nats-Schedule"))
	due := *f.lastEvent("one").NotBefore
	if err != nil || at.Before(due) || at.Sub(due) > time.Hour {
		t.Errorf("the schedule says %q, want %s or little later", msg.Header.Get("Nats-Schedule"), due)
	}
	if string(msg.Data) != string(body) || msg.Header.Get("Nats-Schedule-Target") != f.subjects.Retry(provider) {
		t.Errorf("the schedule carries %s to %s", msg.Data, msg.Header.Get("Nats-Schedule-Target"))
	}
}

func (f *fixture) lastMessage(stream, subject string) (*jetstream.RawStreamMsg, error) {
	s, err := f.js.Stream(context.Background(), stream)
	if err != nil {
		return nil, err
	}
	return s.GetLastMsgForSubject(context.Background(), subject)
}
