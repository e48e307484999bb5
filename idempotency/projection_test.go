package idempotency

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// anyEvent is a random event of one of a few refunds; many are illegal where they fall.
func anyEvent(r *rand.Rand) ledger.Entry {
	kinds := []schemas.Kind{schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked,
		schemas.KindResumed, schemas.KindSucceeded, schemas.KindCancelled, schemas.KindFailed, schemas.KindReversed,
		schemas.KindRejected}
	e := event(requestID(r.IntN(40)), kinds[r.IntN(len(kinds))], attempt(1+r.IntN(3)), number(1))
	e.Event.Reversal = &schemas.Reversal{NoticeID: "n", Total: schemas.Money{Micros: int64(1 + r.IntN(100)), Currency: "HKD"}}
	e.ID = newToken()
	return e
}

// foldOf is what the projection must equal: the plain fold of the journal.
func foldOf(entries []ledger.Entry) map[schemas.RequestID]ledger.Record {
	records := map[schemas.RequestID]ledger.Record{}
	for _, e := range entries {
		if e.Event.Kind != schemas.KindRejected {
			records[e.Event.RequestID], _ = records[e.Event.RequestID].Apply(e, modelRetain)
		}
	}
	return records
}

func (s *system) equalsFold() {
	s.t.Helper()
	for id, want := range foldOf(s.journal.entries) {
		got, _, err := s.store.Read(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		want.Begun, want.Since = want.Begun.Truncate(time.Millisecond), want.Since.Truncate(time.Millisecond)
		if got != want {
			s.t.Errorf("%s is\n%+v, want\n%+v", id, got, want)
		}
	}
}

func TestRecordsEqualTheFoldOfTheJournal(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, partitions := range []int{1, 7} {
			r := rand.New(rand.NewPCG(1, uint64(partitions)))
			journal := newMemoryJournal()
			for range 500 {
				journal.add(anyEvent(r))
			}
			s := startSystem(t, rdb, journal, Config{Partitions: partitions}).ready()
			var last uint64
			for range 500 {
				last = journal.add(anyEvent(r))
			}
			s.applied(last)
			s.equalsFold()
		}
	})
}

// Whatever Redis loses, claims are not answered until the journal is applied again, and then as before.
func TestLossOfRedisIsNoticedAndMended(t *testing.T) {
	losses := []struct {
		name string
		lose func(t *testing.T, s *system, rdb redis.UniversalClient, before map[string]stored)
	}{
		{"everything", func(t *testing.T, _ *system, rdb redis.UniversalClient, _ map[string]stored) {
			if err := rdb.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}},
		{"one partition", func(t *testing.T, s *system, rdb redis.UniversalClient, _ map[string]stored) {
			keys, err := rdb.Keys(t.Context(), s.store.keys.tag(1)+"*").Result()
			if err != nil || len(keys) < 2 {
				t.Fatalf("keys of partition 1: %v, %v", keys, err)
			}
			rdb.Del(t.Context(), keys...)
		}},
		{"a position", func(t *testing.T, s *system, rdb redis.UniversalClient, _ map[string]stored) {
			rdb.Del(t.Context(), s.store.keys.position(0))
		}},
		{"the tail", func(t *testing.T, _ *system, rdb redis.UniversalClient, before map[string]stored) {
			// A replica that was promoted without the last writes: records and position of an earlier moment.
			(&ground{rdb: rdb}).put(t, before)
		}},
	}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, loss := range losses {
			t.Run(loss.name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(2, 2))
				journal := newMemoryJournal()
				for range 40 {
					journal.add(anyEvent(r))
				}
				s := startSystem(t, rdb, journal, Config{Partitions: 3, Namespace: t.Name()}).ready()
				before := (&ground{rdb: rdb}).keys(t, "")
				for range 60 {
					journal.add(anyEvent(r))
				}
				s.applied(100)
				eventually(t, "the watch has seen it", func() bool { return s.store.gate.floorOf(2) == 100 })
				rebuilds := s.store.Stats().Rebuilds
				loss.lose(t, s, rdb, before)
				for i := range 40 { // no claim takes the gap for all there is, in no partition that has lost something
					want, known := foldOf(journal.entries)[requestID(i)]
					if !known || want.Last == 0 {
						continue
					}
					c := s.claim(requestID(i))
					if c.Answer != NotReady && c.Answer != Behind && c.Head != want.Last {
						t.Fatalf("right after the loss %s is answered %s from event %d, want %s, %s or event %d", requestID(i), c.Answer,
							c.Head, NotReady, Behind, want.Last)
					}
				}
				eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilds })
				s.applied(100)
				s.ready().equalsFold()
			})
		}
	})
}

func TestForeignJournalStopsTheWorker(t *testing.T) {
	tests := []struct {
		name   string
		change func(j *memoryJournal)
	}{
		{"created anew", func(j *memoryJournal) { j.created = j.created.Add(time.Second) }},
		{"truncated", func(j *memoryJournal) { j.entries = j.entries[:50] }},
		{"truncated and refilled", func(j *memoryJournal) {
			j.entries = j.entries[:50]
			for i := range 60 {
				e := event(requestID(i), schemas.KindFailed)
				e.Seq, e.ID = uint64(51+i), newToken()
				j.entries = append(j.entries, e)
			}
		}},
		{"deleted", func(j *memoryJournal) { j.gone = true }},
		{"purged", func(j *memoryJournal) { j.first, j.entries = 151, nil }},
	}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, test := range tests {
			for _, running := range []bool{true, false} {
				t.Run(test.name+map[bool]string{true: " while running", false: " while stopped"}[running], func(t *testing.T) {
					t.Parallel()
					r := rand.New(rand.NewPCG(3, 3))
					journal := newMemoryJournal()
					for range 100 {
						journal.add(anyEvent(r))
					}
					cfg := Config{Namespace: t.Name()}
					s := startSystem(t, rdb, journal, cfg).ready()
					s.applied(100)
					if !running {
						s.stop()
					}
					journal.mu.Lock()
					test.change(journal)
					journal.mu.Unlock()
					if !running {
						s = startSystem(t, rdb, journal, cfg)
					}
					select {
					case err := <-s.failed:
						var wrong *JournalError
						if !errors.As(err, &wrong) {
							t.Errorf("stopped with %v, want a JournalError", err)
						}
					case <-time.After(patience):
						t.Error("the worker goes on with another journal")
					}
				})
			}
		}
	})
}

func TestAgedOutEventsAreNoLoss(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		r := rand.New(rand.NewPCG(4, 4))
		journal := newMemoryJournal()
		for range 100 {
			journal.add(anyEvent(r))
		}
		s := startSystem(t, rdb, journal, Config{}).ready()
		journal.mu.Lock()
		journal.first, journal.entries = 61, journal.entries[60:]
		journal.mu.Unlock()
		s.add(event("new", schemas.KindFailed))
		rdb.FlushAll(t.Context())
		eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > 1 })
		s.applied(101)
		if c := s.ready().claim("new"); c.Answer != Settled {
			t.Errorf("after a rebuild from what is left: %s, want SETTLED", c.Answer)
		}
	})
}
