package consumer_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

var (
	canLookUp = &providers.Capabilities{Lookup: true, LookupDelay: 100 * time.Millisecond, PartialRefunds: true}
	keepsKeys = &providers.Capabilities{KeyLife: time.Hour}
)

// What a provider does, and the one story that each refund becomes.
func TestLifeOfARefund(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		script   []string
		sheet    *providers.Capabilities
		attempts int
		want     []schemas.Kind
		reason   schemas.Reason
		moved    int
	}{
		{"refused for now, then made", []string{"not_now:provider_busy:2s", "succeeded"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "deferred", "dispatched", "succeeded"}, "", 1},
		{"refused for now, no attempt left", []string{"not_now:provider_busy:2s", "succeeded"}, canLookUp, 1,
			[]schemas.Kind{"dispatched", "parked"}, "retries_exhausted", 0},
		{"made, answer lost, found by lookup", []string{"unknown_applied"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "succeeded"}, "", 1},
		{"request lost, looked up, made again", []string{"unknown_lost", "succeeded"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "dispatched", "succeeded"}, "", 1},
		{"made, answer lost, repeated under its key", []string{"unknown_applied", "succeeded"}, keepsKeys, 0,
			[]schemas.Kind{"dispatched", "dispatched", "succeeded"}, "", 1},
		{"made, answer lost, nothing can tell", []string{"unknown_applied", "succeeded"}, &providers.Capabilities{}, 0,
			[]schemas.Kind{"dispatched", "parked"}, "outcome_unknown", 1},
		{"a panic is an unknown outcome", []string{"panic", "succeeded"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "dispatched", "succeeded"}, "", 1},
		{"a request that cannot be served", []string{"invalid"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "failed"}, "declined", 0},
		{"some of it happened", []string{"partial"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "parked"}, "partial", 1},
		{"taken on, the result comes later", []string{"acknowledged"}, canLookUp, 0,
			[]schemas.Kind{"dispatched", "acknowledged"}, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: test.script, Capabilities: test.sheet},
				func(c *consumer.Config) { c.Instances[0].MaxAttempts = test.attempts })
			f.start()
			for range 3 {
				f.publish(command("one", ""))
			}
			last := test.want[len(test.want)-1]
			f.eventually("the story ends", func() error { return f.reached("one", last) })
			if got := f.kindsOf("one"); !slices.Equal(got, test.want) {
				t.Errorf("events %v, want %v", got, test.want)
			}
			if got := f.lastEvent("one").Reason; test.reason != "" && got != test.reason {
				t.Errorf("reason %q, want %q", got, test.reason)
			}
			if got := len(f.provider.Movements()); got != test.moved {
				t.Errorf("%d movements of money, want %d", got, test.moved)
			}
			if last.Outcome() {
				f.quiet()
			} else { // open refunds have one message that carries the command
				f.eventually("one schedule is left", func() error { return f.left(0, 1) })
			}
			f.chained("one")
		})
	}
}

func TestOneRequestIDOneContent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	inbox := f.start().worker.Inbox()
	f.publish(command("one", ""))
	f.quiet()
	f.eventually("the outcome is applied", func() error {
		known, err := inbox.Refund(t.Context(), "one")
		if err == nil && known.Outcome == "" {
			err = errors.New("still open")
		}
		return err
	})
	other := command("one", "")
	other.Payment.Reference, other.Amount.Micros = "pay-one", 20_000_000
	f.publish(other)
	f.quiet()
	e := f.lastEvent("one")
	if e.Kind != schemas.KindRejected || e.Reason != schemas.ReasonRequestIDConflict || e.Existing == nil ||
		e.Existing.Kind != schemas.KindSucceeded {
		t.Errorf("last event %+v, want rejected for the conflict with the succeeded refund", e)
	}
	if got := f.messages(schemas.StreamDead); got != 1 {
		t.Errorf("%d dead letters, want 1", got)
	}
	if got := len(f.provider.Movements()); got != 1 {
		t.Errorf("%d movements of money, want 1", got)
	}
}

func TestExpiredAndTooOldCommands(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	f.start()
	late := command("late", "")
	late.RequestedAt = time.Now().Add(-time.Hour).UTC()
	notAfter := time.Now().Add(-time.Minute).UTC()
	late.NotAfter = &notAfter
	f.publish(late)
	old := command("old", "")
	old.RequestedAt = time.Now().Add(-31 * 24 * time.Hour).UTC()
	f.publish(old)
	f.quiet()
	if e := f.lastEvent("late"); e.Kind != schemas.KindFailed || e.Reason != schemas.ReasonExpired {
		t.Errorf("late: %s %s, want failed expired", e.Kind, e.Reason)
	}
	if e := f.lastEvent("old"); e.Kind != schemas.KindRejected || e.Reason != schemas.ReasonTooOld {
		t.Errorf("old: %s %s, want rejected too_old", e.Kind, e.Reason)
	}
	if got := len(f.provider.Movements()); got != 0 {
		t.Errorf("%d movements of money, want none", got)
	}
	// The age is judged only while nobody has begun: a settled refund is settled however old its duplicate is.
	done := command("done", "")
	f.publish(done)
	f.quiet()
	done.RequestedAt = old.RequestedAt
	f.publish(done)
	f.quiet()
	if e := f.lastEvent("done"); e.Kind != schemas.KindSucceeded {
		t.Errorf("an old duplicate of a settled refund: %s %s, want no further event", e.Kind, e.Reason)
	}
}

func TestUnsupportedOptionsAreRejectedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	f.start()
	f.publish(command("one", `{"nonsense":true}`))
	f.quiet()
	e := f.lastEvent("one")
	if e.Kind != schemas.KindRejected || e.Reason != schemas.ReasonUnsupported || len(e.Problems) == 0 {
		t.Errorf("%s %s %v, want rejected unsupported with its problems", e.Kind, e.Reason, e.Problems)
	}
	if got := f.messages(schemas.StreamDead); got != 1 || len(f.provider.Movements()) != 0 {
		t.Errorf("%d dead letters and %d movements, want 1 and 0", got, len(f.provider.Movements()))
	}
}

func TestProviderKeyChangesOnlyAfterDeferred(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_lost", "not_now:provider_busy:2s", "succeeded"},
		Capabilities: keepsKeys})
	f.start()
	f.publish(command("one", ""))
	f.quiet()
	attempts, want := map[string]int{}, "one"
	for _, e := range f.events() {
		switch e.Kind {
		case schemas.KindDeferred:
			want = "one:r1"
		case schemas.KindDispatched:
			if attempts[want]++; e.IdempotencyKey != want {
				t.Errorf("attempt %d has key %s, want %s", e.Attempt, e.IdempotencyKey, want)
			}
		}
	}
	if attempts["one"] < 2 || attempts["one:r1"] < 1 { // a slow worker may begin one and have no time for its call
		t.Errorf("attempts by key %v, want two under the first and one under the second", attempts)
	}
}

func TestTraceRunsFromCommandToEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:2s", "succeeded"}})
	f.start()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	body, _ := json.Marshal(command("one", ""))
	f.publishWith(body, map[string]string{"traceparent": parent, "tracestate": "a=b"})
	f.quiet()
	for seq := uint64(1); seq <= 4; seq++ {
		if got := f.header(seq).Get("traceparent"); len(got) != len(parent) || got[:36] != parent[:36] {
			t.Errorf("event %d has traceparent %q, want the trace of the command", seq, got)
		}
		if got := f.header(seq).Get("tracestate"); got != "a=b" {
			t.Errorf("event %d has tracestate %q, want a=b", seq, got)
		}
	}
}
