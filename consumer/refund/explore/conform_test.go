package explore

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"refundworker/consumer/stream"
	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// real is a journal on a JetStream server of its own.
func real(t *rapid.T, dir string) (jetstream.JetStream, *stream.Journal) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: servertest.Port(t), JetStream: true, StoreDir: dir,
		NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
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
	if _, err := js.CreateStream(t.Context(), stream.JournalConfig(schemas.Subjects{}, 90*24*time.Hour, 1)); err != nil {
		t.Fatal(err)
	}
	return js, stream.NewJournal(js, schemas.Subjects{})
}

// The search's journal and the one on a JetStream server are given the same appends, behind the head, behind what was the
// head, by rivals and by strangers, and answer the same: stored or refused, the same head, the same chain.
func TestModelOfTheJournalIsTheJournal(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	checks := 0
	rapid.Check(t, func(t *rapid.T) {
		checks++
		js, journal := real(t, filepath.Join(dir, strconv.Itoa(checks)))
		w := newWorld(&scenario{refunds: maxRefunds})
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { appendBoth(t, ctx, journal, &w) },
			"foreign": func(t *rapid.T) {
				r := int8(rapid.IntRange(0, maxRefunds-1).Draw(t, "refund"))
				if w.refunds[r].n == maxLog {
					t.Skip()
				}
				ack, err := js.Publish(ctx, schemas.Subjects{}.Journal(idOf(r)), []byte("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if seq, _ := w.append(fact{refund: r}, w.refunds[r].head()); uint64(seq) != ack.Sequence {
					t.Fatalf("a foreign entry stands at %d, in the model at %d", ack.Sequence, seq)
				}
			},
			"": func(t *rapid.T) { sameChains(t, ctx, journal, &w) },
		})
	})
}

func appendBoth(t *rapid.T, ctx context.Context, journal *stream.Journal, w *world) {
	r := int8(rapid.IntRange(0, maxRefunds-1).Draw(t, "refund"))
	s := &w.refunds[r]
	if s.n == maxLog {
		t.Skip()
	}
	kind := rapid.SampledFrom([]schemas.Kind{schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged,
		schemas.KindParked, schemas.KindResumed, schemas.KindSucceeded, schemas.KindFailed}).Draw(t, "kind")
	if kind.Outcome() && s.outcome().kind != 0 {
		t.Skip() // nobody appends a second one, and its id would be refused besides
	}
	f := s.factOfKind(r, kind)
	f.owner = int8(rapid.IntRange(1, 3).Draw(t, "owner"))
	after := s.head()
	if rapid.Bool().Draw(t, "behind an older head") {
		after = int16(rapid.IntRange(0, int(w.seq)).Draw(t, "after"))
	}
	got, err := journal.Append(ctx, f.entry(), uint64(after))
	if err != nil {
		t.Fatalf("append %s after %d: %v", f, after, err)
	}
	seq, ok := w.append(f, after)
	if got.Stale == ok || ok && got.Seq != uint64(seq) {
		t.Fatalf("append %s after %d: %+v, the model says %d, %t", f, after, got, seq, ok)
	}
}

// factOfKind is what may come next in a chain. Ids are the events' own: an attempt's number, and so its id, comes once for
// each place in the chain.
func (s *refundState) factOfKind(r int8, kind schemas.Kind) fact {
	f := fact{refund: r, kind: kindOf(kind), attempt: s.n + 1, n: s.n + 1, found: 1, lease: 60, at: 1}
	switch kind {
	case schemas.KindDeferred:
		f.reason, f.due = reasonOf(schemas.ReasonProviderBusy), 99
	case schemas.KindParked:
		f.reason = reasonOf(schemas.ReasonOutcomeUnknown)
	case schemas.KindFailed:
		f.reason = reasonOf(schemas.ReasonDeclined)
	}
	return trim(f)
}

// trim leaves out what a kind does not have.
func trim(f fact) fact {
	switch f.named() {
	case schemas.KindDispatched:
		f.n, f.found = 0, 0
	case schemas.KindDeferred, schemas.KindAcknowledged:
		f.n, f.found, f.lease = 0, 0, 0
	case schemas.KindParked:
		f.found, f.lease = 0, 0
	case schemas.KindResumed:
		f.attempt, f.found, f.lease = 0, 0, 0
	case schemas.KindSucceeded:
		f.n, f.lease = 0, 0
	case schemas.KindFailed:
		f.attempt, f.n, f.lease = 0, 0, 0
	}
	return f
}

func reasonOf(r schemas.Reason) int8 {
	for i, known := range reasons {
		if known == r {
			return int8(i)
		}
	}
	panic("no such reason")
}

func sameChains(t *rapid.T, ctx context.Context, journal *stream.Journal, w *world) {
	for r := range int8(maxRefunds) {
		s := &w.refunds[r]
		chain, err := journal.Chain(ctx, idOf(r))
		if err != nil {
			t.Fatal(err)
		}
		head, err := journal.Head(ctx, idOf(r))
		if err != nil {
			t.Fatal(err)
		}
		if uint64(s.head()) != head.Seq || len(chain) != int(s.n) {
			t.Fatalf("r%d has %d entries up to %d, in the model %d up to %d", r, len(chain), head.Seq, s.n, s.head())
		}
		for i, e := range chain {
			got := fact{refund: r}
			if e.Event.Kind != "" {
				got = factOf(e)
			}
			got.seq = int16(e.Seq)
			if want := s.log[i]; got != want {
				t.Fatalf("entry %d of r%d is %+v, in the model %+v", i, r, got, want)
			}
		}
	}
}
