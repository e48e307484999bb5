package consumer

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// However many duplicates come, and when, they are all led to the look that comes next: none puts it off.
func TestDuplicatesAreLedToTheNextLook(t *testing.T) {
	looks := []time.Duration{0, time.Minute, 5 * time.Minute, 15 * time.Minute, hour, 2 * hour, 3 * hour, 4 * hour, 24 * hour,
		48 * hour, 72 * hour}
	for _, answer := range []idempotency.Answer{idempotency.Pending, idempotency.Doubt} {
		t.Run(string(answer), func(t *testing.T) {
			for i, next := range looks[1:] {
				gap := next - looks[i]
				for _, age := range []time.Duration{looks[i], looks[i] + 1, looks[i] + gap/2, next - time.Second, next - 1} {
					d := decideUnasked(in(answer, aged(age)))
					if got := age + d.Delay; got != next || d.Then != Later || d.Kind != "" {
						t.Errorf("%s after the refund came to this: %s %s at %s, want later at %s", age, d.Then, d.Kind, got, next)
					}
				}
			}
		})
	}
}

// While an attempt is in doubt its own key stays, whatever was journalled since; with the doubt ended, what was
// deferred counts.
func TestIdempotencyKey(t *testing.T) {
	tests := []struct {
		name      string
		answer    idempotency.Answer
		deferrals int
		last      string
		cleared   bool
		want      string
	}{
		{"a first attempt", idempotency.Fresh, 0, "", false, "one"},
		{"after two deferrals", idempotency.Retry, 2, "one:r1", false, "one:r2"},
		{"in doubt", idempotency.Doubt, 1, "one:r1", false, "one:r1"},
		{"in doubt, and an earlier attempt's deferral came late", idempotency.Doubt, 1, "one", false, "one"},
		{"doubt ended, and an earlier attempt's deferral came late", idempotency.Doubt, 1, "one", true, "one:r1"},
		{"in doubt, and the attempt aged out", idempotency.Doubt, 1, "", false, "one:r1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &delivery{command: schemas.Command{RequestID: "one"}, cleared: test.cleared, history: history{Key: test.last},
				claim: idempotency.Claim{Answer: test.answer, Record: idempotency.Record{Deferrals: test.deferrals}}}
			if got := idempotencyKey(d); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// "Not found" counts from a moment in Redis's time. That time goes on from the claim's answer: a claim that was long
// on its way must not bring the moment nearer.
func TestTimeIsCountedFromTheClaimsAnswer(t *testing.T) {
	d := &delivery{unsettledAt: time.Now().Add(-hour), claim: idempotency.Claim{RedisTime: noon, Answered: time.Now()}}
	p := &processor{}
	if got := p.situation(d).now.Sub(noon); got < 0 || got > time.Minute {
		t.Errorf("right after an answer that took an hour it is %s later, want no time later", got)
	}
	d.claim.Answered = time.Now().Add(-hour)
	if got := p.situation(d).now.Sub(noon); got < hour {
		t.Errorf("an hour after the answer it is %s later, want an hour", got)
	}
}

// The doubt's holds are told by the attempts that are not proven to have done nothing; a chain whose oldest events
// aged out tells no more that each of them asked.
func TestHistoryTellsWhetherEveryAttemptAskedForTheHold(t *testing.T) {
	asked := ledger.Entry{Event: dispatched(2, ago(hour), "one", ""), Hold: &ledger.Hold{LookedAt: 1}}
	unasked := ledger.Entry{Event: dispatched(1, ago(2*hour), "one", "")}
	tests := []struct {
		name   string
		clean  int
		chain  []ledger.Entry // newest first
		guards bool
	}{
		{"each asked", 0, []ledger.Entry{asked}, true},
		{"an earlier one did not", 0, []ledger.Entry{asked, unasked}, false},
		{"the one that did not has surely done nothing", 1, []ledger.Entry{asked, unasked}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := history{clean: test.clean, Guarded: true}
			for _, e := range test.chain {
				h.take(e)
			}
			if h.Guarded != test.guards {
				t.Errorf("guarded %t, want %t", h.Guarded, test.guards)
			}
		})
	}
}

// Events age out of the journal while their refund is open. What is left of the chain is read as far as it goes.
func TestHistoryWhoseOldestEventsAgedOut(t *testing.T) {
	t.Parallel()
	j, stream := eventStream(t)
	c := schemas.Command{RequestID: "one", Provider: "test", Payment: schemas.Payment{Reference: "pay-one"},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: noon}
	for n := 1; n <= 3; n++ {
		e := schemas.NewEvent(schemas.KindParked, c, noon)
		e.Reason, e.N = schemas.ReasonOutcomeUnknown, n
		msg, err := j.message(e, entryHeaders{previous: uint64(n - 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.publish(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	for gone := range uint64(4) {
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(gone+1)); err != nil {
			t.Fatal(err)
		}
		h, err := j.history(t.Context(), idempotency.Record{Last: 3})
		if err != nil {
			t.Fatalf("with the first %d of 3 events gone: %v", gone, err)
		}
		parks := 3
		if gone == 3 {
			parks = 0
		}
		if h.Parks != parks || h.Guarded != (gone == 0) {
			t.Errorf("with the first %d of 3 events gone: last parked %d, guarded %t; want %d, %t", gone, h.Parks, h.Guarded,
				parks, gone == 0)
		}
	}
}

// eventStream is a journal on a server of its own, whose events can be purged.
func eventStream(t *testing.T) (*journal, jetstream.Stream) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats server did not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{js: js}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: schemas.StreamEvents,
		Subjects: []string{j.subjects.Events()}})
	if err != nil {
		t.Fatal(err)
	}
	return j, stream
}
