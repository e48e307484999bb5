package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/consumer/operator"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// newStreams is a fixture with its streams, on which no worker runs.
func newStreams(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, scripted.Config{})
	w, err := consumer.New(f.cfg, f.js, nil, consumer.Telemetry{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// brake is a stop or a start as a worker or an operator journals it.
func brake(k schemas.Kind, p schemas.ProviderName, n int) schemas.Event {
	e := schemas.Event{Kind: k, Provider: p, OccurredAt: time.Now().UTC().Truncate(time.Millisecond), Reason: schemas.ReasonVelocityStop,
		N: n, CurrencyCode: "HKD", Window: "1m0s"}
	if k == schemas.KindStarted {
		e.By = &schemas.Operator{Operator: "ada", Note: "campaign"}
	}
	return e
}

// journalBrake journals an event about a provider, and publishes it as a worker would.
func (f *fixture) journalBrake(e schemas.Event) {
	f.t.Helper()
	if _, err := stream.NewJournal(f.js, f.subjects).Note(context.Background(), ledger.Entry{Event: e, ID: e.ID()}); err != nil {
		f.t.Fatal(err)
	}
	f.relay()
}

// relay publishes what is journalled, where no worker runs that does.
func (f *fixture) relay() {
	f.t.Helper()
	ctx := context.Background()
	relay := stream.NewRelay(f.js, f.subjects)
	from, err := relay.Position(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	reader, err := stream.NewJournal(f.js, f.subjects).Read(ctx, from+1)
	if err != nil {
		f.t.Fatal(err)
	}
	defer reader.Stop()
	for n := f.messages(schemas.StreamJournal); from < n; {
		entries, err := reader.Next(ctx, 100, patience)
		if err != nil || len(entries) == 0 {
			f.t.Fatalf("%d entries, %v", len(entries), err)
		}
		if err := relay.Publish(ctx, entries); err != nil {
			f.t.Fatal(err)
		}
		from = entries[len(entries)-1].Seq
	}
}

func (f *fixture) velocityStop(p schemas.ProviderName) operator.VelocityStop {
	f.t.Helper()
	stop, err := operator.ReadVelocityStop(context.Background(), f.js, f.subjects, p)
	if err != nil {
		f.t.Fatal(err)
	}
	return stop
}

// A stop holds until it is started under its own number; a start of an earlier one lifts nothing.
func TestVelocityStopHoldsUntilItsOwnStart(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	for i, step := range []struct {
		journal *schemas.Event
		n       int
		holds   bool
	}{
		{nil, 0, false},
		{new(brake(schemas.KindStopped, "test", 1)), 1, true},
		{new(brake(schemas.KindStopped, "other", 1)), 1, true},
		{new(brake(schemas.KindStarted, "test", 1)), 1, false},
		{new(brake(schemas.KindStopped, "test", 2)), 2, true},
		{new(brake(schemas.KindStarted, "test", 2)), 2, false},
	} {
		if step.journal != nil {
			f.journalBrake(*step.journal)
		}
		stop := f.velocityStop("test")
		if stop.Provider != "test" || stop.N != step.n || stop.Holds() != step.holds || (stop.Stopped != nil) != (step.n > 0) {
			t.Errorf("step %d: got %+v, holds %t, want number %d, holds %t", i, stop, stop.Holds(), step.n, step.holds)
		}
	}
	stop := f.velocityStop("test")
	if by := stop.Started.By; by == nil || *by != (schemas.Operator{Operator: "ada", Note: "campaign"}) {
		t.Errorf("started by %+v, want ada and her note", by)
	}
}

// Whoever was ever stopped is listed, by name, and nobody else.
func TestVelocityStopsAreListed(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	list := func() (names []string) {
		stops, err := operator.VelocityStops(t.Context(), f.js, f.subjects)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stops {
			name := string(s.Provider)
			if s.Holds() {
				name += " holds"
			}
			names = append(names, name)
		}
		return names
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	f.journalBrake(brake(schemas.KindStopped, "test", 1))
	f.journalBrake(brake(schemas.KindStopped, "bank-hk", 1))
	f.journalBrake(brake(schemas.KindStarted, "bank-hk", 1))
	if got, want := strings.Join(list(), ", "), "bank-hk, test holds"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// An operator starts a provider once: the event says which stop, of what, and who.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	start := operator.Start{Provider: "test", By: schemas.Operator{Operator: "eve", Note: "looked at all of them"}}
	if _, err := operator.StartAgain(t.Context(), f.js, f.subjects, start); !errors.Is(err, operator.ErrNotStopped) {
		t.Errorf("never stopped: got %v, want %v", err, operator.ErrNotStopped)
	}
	f.journalBrake(brake(schemas.KindStopped, "test", 3))
	began := time.Now().Truncate(time.Millisecond)
	got, err := operator.StartAgain(t.Context(), f.js, f.subjects, start)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID() != "test:started:3" || got.Reason != schemas.ReasonVelocityStop || got.CurrencyCode != "HKD" ||
		got.Window != "1m0s" || *got.By != start.By || got.OccurredAt.Before(began) || got.OccurredAt.After(time.Now()) {
		t.Errorf("got %+v, want the start of stop 3 by eve, now", got)
	}
	f.relay()
	stored := f.velocityStop("test")
	if stored.Holds() || stored.Started.ID() != got.ID() || *stored.Started.By != start.By {
		t.Errorf("stored is %+v, want what was returned", stored.Started)
	}
	header := f.header(2)
	for name, want := range map[string]string{"Nats-Msg-Id": "test:started:3", "ce-id": "test:started:3", "ce-type": "refund-started",
		"ce-source": "/refunds/test", "ce-subject": "test", "content-type": "application/json"} {
		if got := header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if _, err := operator.StartAgain(t.Context(), f.js, f.subjects, start); !errors.Is(err, operator.ErrNotStopped) {
		t.Errorf("started already: got %v, want %v", err, operator.ErrNotStopped)
	}
	if n := len(f.events()); n != 2 {
		t.Errorf("%d events, want the stop and one start", n)
	}
}

// faster is a JetStream on which somebody else is quicker to publish, once.
type faster struct {
	jetstream.JetStream
	by func()
}

func (o faster) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	o.by()
	return o.JetStream.PublishMsg(ctx, msg, opts...)
}

// Two operators see the same stop and start it in the same moment: one has, and the other is told who.
func TestStartOfTwoOperatorsIsOne(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	f.journalBrake(brake(schemas.KindStopped, "test", 1))
	js := faster{f.js, func() { f.journalBrake(brake(schemas.KindStarted, "test", 1)) }}
	eve := operator.Start{Provider: "test", By: schemas.Operator{Operator: "eve", Note: "fine"}}
	got, err := operator.StartAgain(t.Context(), js, f.subjects, eve)
	if !errors.Is(err, operator.ErrStartedByOther) || got.By == nil || got.By.Operator != "ada" {
		t.Errorf("got %+v, %v, want ada's start and %v", got.By, err, operator.ErrStartedByOther)
	}
	if n := len(f.events()); n != 2 {
		t.Errorf("%d events, want the stop and one start", n)
	}
}

// The answer to a start is lost and it is sent again: what is stored is one's own.
func TestStartAfterALostAnswerIsOnesOwn(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	f.journalBrake(brake(schemas.KindStopped, "test", 1))
	ada := operator.Start{Provider: "test", By: schemas.Operator{Operator: "ada", Note: "campaign"}}
	js := faster{f.js, func() { f.journalBrake(brake(schemas.KindStarted, "test", 1)) }}
	if got, err := operator.StartAgain(t.Context(), js, f.subjects, ada); err != nil || *got.By != ada.By {
		t.Errorf("got %+v, %v, want ada's start", got, err)
	}
}

// What an event may not say is refused before anything is journalled.
func TestStartNeedsOperatorAndNote(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	f.journalBrake(brake(schemas.KindStopped, "test", 1))
	for _, by := range []schemas.Operator{{Operator: "eve"}, {Note: "fine"}, {Operator: "eve", Note: strings.Repeat("x", 2001)},
		{Operator: strings.Repeat("e", 201), Note: "fine"}} {
		var refused *schemas.Rejection
		_, err := operator.StartAgain(t.Context(), f.js, f.subjects, operator.Start{Provider: "test", By: by})
		if !errors.As(err, &refused) || len(refused.Problems) != 1 || !strings.HasPrefix(refused.Problems[0].Pointer, "/by/") {
			t.Errorf("%d and %d characters: got %v, want one refusal", len(by.Operator), len(by.Note), err)
		}
	}
	if !f.velocityStop("test").Holds() {
		t.Error("the provider was started")
	}
}

// A stop that cannot be read is not taken for none.
func TestVelocityStopThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := newStreams(t)
	f.journalBrake(brake(schemas.KindStopped, "test", 1))
	f.journalBrake(brake(schemas.KindStarted, "test", 1))
	if _, err := f.js.Publish(t.Context(), f.subjects.Event(schemas.KindStopped, "test"), []byte(`{"kind":"stopped"}`)); err != nil {
		t.Fatal(err)
	}
	start := operator.Start{Provider: "test", By: schemas.Operator{Operator: "eve", Note: "fine"}}
	_, readErr := operator.ReadVelocityStop(t.Context(), f.js, f.subjects, "test")
	_, listErr := operator.VelocityStops(t.Context(), f.js, f.subjects)
	_, startErr := operator.StartAgain(t.Context(), f.js, f.subjects, start)
	for _, err := range []error{readErr, listErr, startErr} {
		if err == nil || !strings.Contains(err.Error(), "on refunds.events.stopped.test") {
			t.Errorf("got %v, want the event that cannot be read", err)
		}
	}
}

// Where no worker ever ran, there is nothing to tell of.
func TestVelocityStopWithoutStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	_, readErr := operator.ReadVelocityStop(t.Context(), f.js, f.subjects, "test")
	_, listErr := operator.VelocityStops(t.Context(), f.js, f.subjects)
	for _, err := range []error{readErr, listErr} {
		if !errors.Is(err, idempotency.ErrNoJournal) {
			t.Errorf("got %v, want %v", err, idempotency.ErrNoJournal)
		}
	}
}
