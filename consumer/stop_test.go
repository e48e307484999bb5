package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/consumer"
	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A worker that must not go on makes no further call, not even one whose intent is journalled. The refund is
// carried on and another worker makes it.
func TestNoCallOnceTheGateIsClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: &providers.Capabilities{}},
		func(c *consumer.Config) { c.LeaseMargin = 20 * time.Second }) // a slow disk stores the intent in time, too
	intent := f.hold(&turnstile{at: entryOf(schemas.KindDispatched), stored: true})
	defer intent.open()
	stopped := f.start()
	f.publish(command("one", ""))
	f.wait("the intent is stored", intent.arrived)
	stopped.store.Gate().Stop()
	intent.open()
	f.eventually("it waits", func() error { return f.left(0, 1) })
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched"}; !slices.Equal(got, want) {
		t.Errorf("events of the stopped worker %v, want %v", got, want)
	}
	if got := len(f.provider.Movements()); got != 0 {
		t.Errorf("%d movements of money by the stopped worker, want none", got)
	}
	if err := stopped.stop(); err != nil {
		t.Fatal(err)
	}
	f.wrap = nil
	f.start()
	f.quiet()
	if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1", got)
	}
}

// An event that this version cannot read may be an outcome: passed over, its refund would be made again.
func TestUnreadableEventStopsTheWorker(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	r := f.start()
	one := command("one", "")
	e := schemas.NewEvent(schemas.KindFailed, one, time.Now())
	msg := &nats.Msg{Subject: f.subjects.Journal("one"), Data: []byte(`{"kind":"returned","requestId":"one"}`), Header: nats.Header{}}
	for name, value := range e.Headers() {
		msg.Header.Set(name, value)
	}
	msg.Header.Set(schemas.HeaderKind, "failed")
	if _, err := f.js.PublishMsg(context.Background(), msg); err != nil {
		t.Fatal(err)
	}
	f.eventually("the worker stops", func() error {
		if got := r.store.Gate().Reason(); got != idempotency.Stopped {
			return fmt.Errorf("the gate says %q", got)
		}
		return nil
	})
	var wrong *idempotency.JournalError
	if err := r.stop(); !errors.As(err, &wrong) {
		t.Errorf("the worker ended with %v, want a JournalError", err)
	}
	f.publish(command("one", ""))
	if err := f.left(1, 0); err != nil {
		t.Error(err)
	}
	if got := len(f.provider.Movements()); got != 0 {
		t.Errorf("%d movements of money, want none", got)
	}
}
