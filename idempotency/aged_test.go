package idempotency

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// agedHistory is what happened to a few payments over most of a year, far longer than anything is remembered: refunds that
// fit when they were asked for, and some that did not.
func agedHistory(r *rand.Rand, retain time.Duration) []ledger.Entry {
	at := time.Now().Add(-4 * retain)
	var entries []ledger.Entry
	for n := range 300 {
		at = at.Add(time.Duration(r.Int64N(int64(retain) / 40)))
		id := requestID(r.IntN(60) + n/2)
		kinds := []schemas.Kind{schemas.KindDispatched, schemas.KindDispatched, schemas.KindSucceeded, schemas.KindSucceeded,
			schemas.KindFailed, schemas.KindParked, schemas.KindDeferred, schemas.KindReversed}
		e := event(id, kinds[r.IntN(len(kinds))], attempt(1), number(1), of(fmt.Sprint(r.IntN(4)), int64(10+r.IntN(40))))
		if e.Event.Kind == schemas.KindDispatched {
			names(hkd(100))(&e)
			asks(ledger.ShareHold)(&e)
		}
		e.Event.Reversal = &schemas.Reversal{NoticeID: "n", Amount: *hkd(5), Total: *hkd(5)}
		e.Stored, e.Seq, e.ID = at, uint64(n+1), fmt.Sprint(n)
		entries = append(entries, e)
	}
	return entries
}

// One history says one thing, however it is cut into batches and whenever it is read: what is forgotten is forgotten by the
// events' own times, not by what Redis happens to have dropped.
func TestAgedHistoryFoldsToOneState(t *testing.T) {
	const retain = 24 * 24 * time.Hour
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for seed := range uint64(8) {
			entries := agedHistory(rand.New(rand.NewPCG(seed, 1)), retain)
			records, payments := map[schemas.RequestID]ledger.Record{}, map[string]ledger.Payment{}
			for _, e := range entries {
				before := records[e.Event.RequestID]
				next, legal := before.Apply(e, retain)
				if records[e.Event.RequestID] = next; legal && ledger.Touches(e) {
					reference := e.Event.Payment.Reference
					payments[reference], _ = payments[reference].Apply(e, before, retain, func() bool { return true })
				}
			}
			for _, size := range []int{1, 2, 7, 100, len(entries)} {
				s := projectedBy(t, rdb, entries, size, Config{Namespace: fmt.Sprint("aged", seed, "-", size), Retain: retain, Volatile: true})
				last := entries[len(entries)-1].Stored
				for reference, want := range payments {
					key, _ := s.keys.payment("bank", reference)
					got := readPayment(rdb.HGet(t.Context(), key, paymentField).Val())
					if got, want := got.At(last, retain), want.At(last, retain); !reflect.DeepEqual(plain(got), plain(want)) {
						t.Errorf("seed %d, batches of %d: payment %s is\n%+v, want\n%+v", seed, size, reference, got, want)
					}
				}
				for id, want := range records {
					got, _, err := s.Read(t.Context(), id)
					want.Begun, want.Since = want.Begun.UTC().Truncate(time.Millisecond), want.Since.UTC().Truncate(time.Millisecond)
					if err != nil || got != want {
						t.Errorf("seed %d, batches of %d: %s is\n%+v, %v, want\n%+v", seed, size, id, got, err, want)
					}
				}
			}
		}
	})
}

// plain has no empty lists, which are as good as none.
func plain(p ledger.Payment) ledger.Payment {
	p.Holds, p.Refunded = append([]ledger.Share(nil), p.Holds...), append([]ledger.Refunded(nil), p.Refunded...)
	return p
}

// projectedBy projects entries in batches of a size.
func projectedBy(t *testing.T, rdb redis.UniversalClient, entries []ledger.Entry, size int, cfg Config) *Store {
	t.Helper()
	journal := newMemoryJournal()
	journal.entries = entries
	s, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	p := s.NewProjector(journal, slog.New(slog.DiscardHandler))
	if err := p.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for rest := entries; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		if err := p.project(t.Context(), rest[:min(size, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// What was granted because an older refund was forgotten stays granted when a journal that is kept longer than that is read
// again from its beginning.
func TestRebuildOfAJournalKeptLongerThanRetain(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		const retain = 20 * 24 * time.Hour
		s := startSystem(t, rdb, newMemoryJournal(), Config{Retain: retain}).ready()
		stored := func(at time.Time) func(*ledger.Entry) { return func(e *ledger.Entry) { e.Stored = at } }
		old := time.Now().Add(-2 * retain)
		s.add(event("old", schemas.KindDispatched, attempt(1), of("4922", 60), names(hkd(100)), asks(ledger.ShareHold), stored(old)))
		s.add(event("old", schemas.KindSucceeded, of("4922", 60), stored(old)))
		s.add(event("new", schemas.KindDispatched, attempt(1), of("4922", 60), names(hkd(100)), asks(ledger.ShareHold)))
		for range 2 {
			if !s.look("4922").Holds("new") {
				t.Error("what was granted is denied")
			}
			s.rebuilt(rdb)
		}
	})
}
