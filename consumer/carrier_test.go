package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A schedule is stored, its stream's answer is late or lost, and it fires while the delivery that it replaces is
// still in hand. It has the same bytes, yet it is no twin of that delivery: it may be the one message that
// carries the refund, so it is not acknowledged for being a second one.
func TestScheduleThatFiresWhileItsCommandIsInHandIsKept(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("lost=%t", lost), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"rate_limited:2s", "succeeded"}, Capabilities: canLookUp})
			schedule := f.hold(&turnstile{at: under(f.subjects.Later(provider, "one")), stored: true, refused: lost})
			defer schedule.open()
			f.start()
			f.publish(command("one", ""))
			f.wait("the schedule is stored", schedule.arrived)
			f.eventually("the schedule has fired and was given back", func() error {
				if n, err := f.count(schemas.StreamRetries); err == nil && n == 0 {
					t.Fatal("no message carries the refund any more but the one in hand")
				}
				return f.deliveredAgain(schemas.StreamRetries, "refund-retries-"+string(provider))
			})
			schedule.open()
			f.quiet()
			if err := f.reached("one", schemas.KindSucceeded); err != nil {
				t.Error(err)
			}
			if got := len(f.provider.Movements()); got != 1 {
				t.Errorf("%d movements of money, want 1", got)
			}
		})
	}
}

// deliveredAgain tells whether a durable consumer has delivered more than once.
func (f *fixture) deliveredAgain(stream, durable string) error {
	c, err := f.js.Consumer(context.Background(), stream, durable)
	if err != nil {
		return err
	}
	if n := c.CachedInfo().Delivered.Consumer; n < 2 {
		return fmt.Errorf("%d deliveries", n)
	}
	return nil
}

// A duplicate that comes after the time of a look, and before the whole second in which its schedule fires, reckons
// with the look after that. A duplicate changes neither the time nor the round of what waits.
func TestDuplicatePutsNothingOff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		standing time.Duration // the duplicate itself reckons with a minute
		stays    bool
	}{
		{"the schedule that stands is the earlier one", 30 * time.Second, true},
		{"the duplicate's would be the earlier one", 30 * time.Minute, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: canLookUp})
			f.start()
			one := command("one", "")
			f.publish(one)
			f.eventually("it is pending", func() error { return errors.Join(f.left(0, 1), f.inState("one", "a")) })
			stands := f.plant(one, time.Now().Add(test.standing))
			for _, duplicate := range []schemas.Command{one, again(one)} {
				f.publish(duplicate)
				f.eventually("the duplicate is dealt with", func() error { return f.left(0, 1) })
			}
			got := f.scheduleOf("one")
			if stays := got.Sequence == stands; stays != test.stays {
				t.Errorf("the schedule that stood was kept: %t, want %t; now %q", stays, test.stays,
					got.Header.Get(jetstream.ScheduleHeader))
			}
		})
	}
}

// plant stores a schedule that carries a command, in place of the one that stands.
func (f *fixture) plant(c schemas.Command, at time.Time) uint64 {
	f.t.Helper()
	ack, err := f.js.Publish(context.Background(), f.subjects.Later(provider, c.RequestID), []byte(f.encoded(c)),
		jetstream.WithScheduleAt(at), jetstream.WithScheduleTarget(f.subjects.Retry(provider)))
	if err != nil {
		f.t.Fatal(err)
	}
	return ack.Sequence
}

func (f *fixture) scheduleOf(id schemas.RequestID) *jetstream.RawStreamMsg {
	f.t.Helper()
	msg, err := f.lastMessage(schemas.StreamRetries, f.subjects.Later(provider, id))
	if err != nil {
		f.t.Fatalf("the schedule: %v", err)
	}
	return msg
}

// unprepared cannot prepare a refund until it is told that it can.
type unprepared struct {
	providers.Provider
	can   atomic.Bool
	asked atomic.Int32
	// after is what it asks callers to wait.
	after time.Duration
}

func (u *unprepared) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	if !u.can.Load() {
		u.asked.Add(1)
		return nil, providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: "prepare", RetryAfter: u.after}
	}
	return u.Provider.Prepare(ctx, r)
}

// Two contents come under one requestId. The first waits with nothing journalled about it when Redis, which alone
// knew it, is lost. While the journal has given the id to neither, both wait and nobody is rejected: whoever is could still
// be the first there. Then its owner goes on, and the other is rejected and buried.
func TestRivalsUnderOneRequestID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		begun bool          // the second content's refund is begun at once
		after time.Duration // how long the first waits
	}{
		{"nothing is journalled for a while", false, 3 * time.Second},
		{"the journal gives the id to the second", true, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := &unprepared{after: test.after}
			f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:day_end:23h"}}, func(c *consumer.Config) {
				u.Provider = c.Instances[0].Provider
				c.Instances[0].Provider = u
			})
			f.start()
			first, second := command("one", ""), command("one", "")
			second.Amount.Micros = 20_000_000
			f.publish(first)
			f.eventually("the first waits", func() error { return f.left(0, 1) })
			f.mini.FlushAll()
			u.can.Store(test.begun)
			f.publish(second)
			if !test.begun {
				f.eventually("both wait", func() error { return f.left(1, 1) })
				if got := f.kindsOf("one"); len(got) > 0 {
					t.Errorf("events %v while nobody has begun, want none", got)
				}
				u.can.Store(true)
			}
			f.eventually("one has the id, and the other is rejected", func() error { return errors.Join(f.was("one", schemas.KindRejected), f.left(0, 1)) })
			owner, refused := first, second
			if events := f.events(); *events[0].Amount == second.Amount {
				owner, refused = second, first
			}
			if test.begun && owner.Amount != second.Amount {
				t.Error("the first has the id, though the second was begun before it")
			}
			if got, want := f.kindsOf("one"), []schemas.Kind{"dispatched", "deferred", "rejected"}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			f.checkRefused(refused, owner)
			if got := string(f.scheduleOf("one").Data); got != f.encoded(owner) {
				t.Errorf("the schedule carries %s, want %s", got, f.encoded(owner))
			}
		})
	}
}

// checkRefused expects a rejection of one command that names the owner of its requestId, and its dead letter.
func (f *fixture) checkRefused(refused, owner schemas.Command) {
	f.t.Helper()
	fingerprint, err := owner.Fingerprint()
	if err != nil {
		f.t.Fatal(err)
	}
	e := f.lastEvent(string(refused.RequestID))
	if e.Kind != schemas.KindRejected || e.Reason != schemas.ReasonRequestIDConflict || e.Amount == nil ||
		*e.Amount != refused.Amount || e.Existing == nil || e.Existing.Fingerprint != fingerprint.String() {
		f.t.Errorf("last event %+v, want rejected for the conflict with %s", e, fingerprint)
	}
	n := f.messages(schemas.StreamDead)
	if n < 1 || n > 2 { // the schedule that is taken out may be firing in that moment
		f.t.Fatalf("%d dead letters, want 1, or 2 of the same", n)
	}
	for seq := range n {
		if got := string(f.stored(schemas.StreamDead, seq+1).Data); got != f.encoded(refused) {
			f.t.Errorf("the dead letter carries %s, want %s", got, f.encoded(refused))
		}
	}
}

func (f *fixture) encoded(c schemas.Command) string {
	f.t.Helper()
	body, err := c.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	return string(body)
}

// What stands where a refund's schedule stands, and carries nothing, becomes a dead letter: the refund is carried on.
func TestWhatStandsInASchedulesPlaceIsBuried(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:1m", "succeeded"}}, func(f *fixture) {
		f.start()
		if _, err := f.js.Publish(context.Background(), f.subjects.Later(provider, "one"), []byte(`{"stream":"x","seq":2}`)); err != nil {
			t.Fatal(err)
		}
		f.publish(command("one", ""))
		f.eventually("it ends", func() error { return f.was("one", schemas.KindSucceeded) })
		f.quiet()
		if n := f.messages(schemas.StreamDead); n != 1 {
			t.Errorf("%d dead letters, want what stood there", n)
		}
	})
}

// A newer version of the worker has scheduled a refund, and its command cannot be read here. A copy that can be read waits
// behind it, and replaces nothing.
func TestScheduleOfANewerVersionStays(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:1m", "succeeded"}}, func(f *fixture) {
		f.start()
		body, err := command("one", "").Encode()
		if err != nil {
			t.Fatal(err)
		}
		newer := append([]byte(`{"schemaVersion":"1.1",`), body[1:]...)
		ctx := context.Background()
		ack, err := f.js.Publish(ctx, f.subjects.Later(provider, "one"), newer)
		if err != nil {
			t.Fatal(err)
		}
		f.publish(command("one", ""))
		f.eventually("it is deferred", func() error { return f.was("one", schemas.KindDeferred) })
		time.Sleep(5 * time.Minute)
		stream, err := f.js.Stream(ctx, schemas.StreamRetries)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.GetLastMsgForSubject(ctx, f.subjects.Later(provider, "one")); err != nil || m.Sequence != ack.Sequence {
			t.Errorf("what the newer version scheduled is not there any more: %v, %v", m, err)
		}
		if err := stream.DeleteMsg(ctx, ack.Sequence); err != nil { // the newer version went on with it
			t.Fatal(err)
		}
		f.eventually("it ends", func() error { return f.was("one", schemas.KindSucceeded) })
		f.quiet()
	})
}
