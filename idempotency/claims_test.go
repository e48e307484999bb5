package idempotency

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Each answer of the table, from the events that lead to it.
func TestClaimAnswersWhatTheJournalSays(t *testing.T) {
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	tests := []struct {
		name    string
		events  []ledger.Entry
		want    Answer
		attempt int
	}{
		{"nothing", nil, Fresh, 1},
		{"dispatched", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1))}, Doubt, 2},
		{"deferred, not due", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindDeferred, attempt(1), notBefore(soon))}, Wait, 2},
		{"deferred, due", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindDeferred, attempt(1), notBefore(past))}, Retry, 2},
		{"dispatched after deferred", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindDeferred, attempt(1), notBefore(past)),
			event("a", schemas.KindDispatched, attempt(2))}, Doubt, 3},
		{"acknowledged", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindAcknowledged, attempt(1))}, Pending, 2},
		{"parked", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindParked, number(1))}, Parked, 2},
		{"dispatched leaves parked", []ledger.Entry{event("a", schemas.KindParked, number(1)),
			event("a", schemas.KindDispatched, attempt(1))}, Parked, 2},
		{"dispatched leaves acknowledged", []ledger.Entry{event("a", schemas.KindAcknowledged, attempt(1)),
			event("a", schemas.KindDispatched, attempt(2))}, Pending, 3},
		{"resumed makes all attempts clean", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindDispatched, attempt(2)), event("a", schemas.KindParked, number(1)),
			event("a", schemas.KindResumed, number(1))}, Retry, 3},
		{"resumed needs parked", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindResumed, number(1))}, Doubt, 2},
		{"succeeded", []ledger.Entry{event("a", schemas.KindDispatched, attempt(1)),
			event("a", schemas.KindSucceeded, attempt(1))}, Settled, 2},
		{"cancelled from nothing", []ledger.Entry{event("a", schemas.KindCancelled, attempt(1))}, Settled, 1},
		{"failed", []ledger.Entry{event("a", schemas.KindFailed)}, Settled, 1},
		{"an outcome is final", []ledger.Entry{event("a", schemas.KindFailed),
			event("a", schemas.KindDispatched, attempt(1))}, Settled, 1},
		{"rejected touches nothing", []ledger.Entry{event("a", schemas.KindRejected)}, Fresh, 1},
	}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				journal := newMemoryJournal()
				for _, e := range test.events {
					journal.add(e)
				}
				s := startSystem(t, rdb, journal, Config{Namespace: t.Name()}).ready()
				c := s.claim("a")
				if c.Answer != test.want || c.Attempt != test.attempt {
					t.Errorf("claim answered %s with attempt %d, want %s with %d", c.Answer, c.Attempt, test.want, test.attempt)
				}
			})
		}
	})
}

func TestClaimRefusesOtherContent(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.add(event("a", schemas.KindFailed)) // also before SETTLED is answered
		c, err := s.store.Claim(t.Context(), "a", fingerprintOf("b"), time.Minute)
		if err != nil || c.Answer != Conflict || c.Record.Fingerprint != fingerprintOf("a") {
			t.Errorf("claim with other content: %s, owner %s, %v; want CONFLICT, owner %s", c.Answer,
				c.Record.Fingerprint, err, fingerprintOf("a"))
		}
	})
}

func TestOneOfManyClaimsTakesTheLease(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		const clients = 200
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		for round := 0; ; round++ {
			id := requestID(round)
			answers := make(chan Answer, clients)
			var claiming sync.WaitGroup
			for range clients {
				claiming.Go(func() {
					if c, err := s.store.Claim(t.Context(), id, fingerprintOf(id), time.Minute); err == nil {
						answers <- c.Answer
					}
				})
			}
			claiming.Wait()
			close(answers)
			count := map[Answer]int{}
			for a := range answers {
				count[a]++
			}
			switch answered := count[Fresh] + count[Busy]; {
			case count[Fresh] > 1:
				t.Fatalf("%d claims at once: %v, want 1 FRESH", clients, count)
			case answered < clients && round < 100: // on a slow machine some are not answered in time, and one of them may have it
				s.ready()
			case count[Fresh] != 1:
				t.Fatalf("%d claims at once: %v, want 1 FRESH", clients, count)
			default:
				return
			}
		}
	})
}

func TestBusyEndsWithTheLease(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		first := s.claimFor("a", 300*time.Millisecond)
		if c := s.claim("a"); c.Answer != Busy || !c.Until.Equal(first.Until) {
			t.Fatalf("second claim: %s until %s, want BUSY until %s", c.Answer, c.Until, first.Until)
		}
		eventually(t, "the lease runs out", func() bool { return s.claim("a").Answer == Fresh })
		if given, err := s.store.Abandon(t.Context(), first); given || err != nil {
			t.Errorf("abandon after the lease's end: %t, %v; want false", given, err)
		}
	})
}

func TestReleaseBelongsToTheCurrentOwner(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		first := s.claim("a")
		stranger := first
		stranger.Token = newToken()
		if given, _ := s.store.Abandon(t.Context(), stranger); given {
			t.Error("a stranger gave the lease back")
		}
		if c := s.claim("a"); c.Answer != Busy {
			t.Errorf("after a stranger's release: %s, want BUSY", c.Answer)
		}
		for range 2 { // a client may send it twice
			if given, err := s.store.Abandon(t.Context(), first); !given || err != nil {
				t.Errorf("abandon: %t, %v; want true", given, err)
			}
		}
		second := s.claim("a")
		if second.Answer != Fresh || second.Attempt != 1 {
			t.Errorf("after abandon: %s with attempt %d, want FRESH with 1", second.Answer, second.Attempt)
		}
		_, _ = s.store.Abandon(t.Context(), first)
		if c := s.claim("a"); c.Answer != Busy {
			t.Errorf("after the old claim's second release: %s, want BUSY, for the new claim runs", c.Answer)
		}
	})
}

func TestUndo(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		undo := func(c Claim, clean bool, pause time.Duration) {
			t.Helper()
			if given, err := s.store.Undo(t.Context(), c, Undone{Clean: clean, Pause: pause}); !given || err != nil {
				t.Fatalf("undo: %t, %v", given, err)
			}
		}
		t.Run("clean", func(t *testing.T) {
			c := s.claim("clean")
			s.add(dispatched(c))
			undo(c, true, 0)
			if c := s.claim("clean"); c.Answer != Retry || c.Attempt != 2 {
				t.Errorf("%s with attempt %d, want RETRY with 2", c.Answer, c.Attempt)
			}
		})
		t.Run("before its own intent is applied", func(t *testing.T) {
			c := s.claim("early")
			undo(c, true, 0)
			seq := s.journal.add(dispatched(c))
			s.applied(seq)
			if c := s.claim("early"); c.Answer != Retry || c.Attempt != 2 {
				t.Errorf("%s with attempt %d, want RETRY with 2: the released claim's event must not lease again",
					c.Answer, c.Attempt)
			}
		})
		t.Run("the next claim is told what the owner journalled", func(t *testing.T) {
			c := s.claim("last")
			if _, err := s.store.Undo(t.Context(), c, Undone{Clean: true, Last: 700}); err != nil {
				t.Fatal(err)
			}
			if c := s.claim("last"); c.Told != 700 || c.Record.Last != 0 {
				t.Errorf("told %d, applied %d, want 700 and none", c.Told, c.Record.Last)
			}
		})
		t.Run("what the projection has passed without it was stored elsewhere", func(t *testing.T) {
			c := s.claim("elsewhere")
			seq := s.add(event("other", schemas.KindDispatched, attempt(1)))
			if _, err := s.store.Undo(t.Context(), c, Undone{Clean: true, Last: seq}); err != nil {
				t.Fatal(err)
			}
			if c := s.claim("elsewhere"); c.Told != 0 {
				t.Errorf("told %d, want none: the event there is another refund's", c.Told)
			}
		})
		t.Run("not clean", func(t *testing.T) {
			s.add(event("doubt", schemas.KindDispatched, attempt(1)))
			c := s.claim("doubt")
			s.add(dispatched(c))
			undo(c, false, 0)
			if c := s.claim("doubt"); c.Answer != Doubt || c.Attempt != 3 {
				t.Errorf("%s with attempt %d, want DOUBT with 3: attempt 1 may have moved money", c.Answer, c.Attempt)
			}
		})
		t.Run("pause", func(t *testing.T) {
			c := s.claim("pause")
			s.add(dispatched(c))
			undo(c, true, time.Hour)
			if c := s.claim("pause"); c.Answer != Wait || time.Until(c.Until) < 59*time.Minute {
				t.Errorf("%s until %s, want WAIT for an hour", c.Answer, c.Until)
			}
		})
	})
}

// A client that retries sends the same claim twice: the second run answers as the first did.
func TestScriptsAreIdempotentByToken(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		key, partition := s.store.recordKey("a")
		fp := fingerprintOf("a")
		run := func() Claim {
			reply, err := s.store.scripts.do(t.Context(), claimScript, []string{key, s.store.posKey(partition)},
				"token", string(fp[:]), 60000, 0, 1000000)
			if err != nil {
				t.Fatal(err)
			}
			var c Claim
			if err := c.read(reply); err != nil {
				t.Fatal(err)
			}
			return c
		}
		first, second := run(), run()
		if first.Answer != Fresh || second.Answer != Fresh || second.Attempt != first.Attempt {
			t.Errorf("claims %s/%d and %s/%d, want FRESH/1 twice", first.Answer, first.Attempt, second.Answer, second.Attempt)
		}
	})
}

func TestRecordsOfNoConsequenceExpire(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		ttl := func(id schemas.RequestID) time.Duration {
			key, _ := s.store.recordKey(id)
			d, err := rdb.PTTL(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		s.claim("claimed")
		if got := ttl("claimed"); got <= 23*time.Hour || got > unjournalledTTL {
			t.Errorf("a record without events lives %s, want %s", got, unjournalledTTL)
		}
		c := s.claim("open")
		s.add(dispatched(c))
		if got := ttl("open"); got != -1 {
			t.Errorf("an open record expires in %s, want never", got)
		}
		s.add(event("open", schemas.KindSucceeded, attempt(1), owner(c)))
		if got := ttl("open"); got < 89*24*time.Hour {
			t.Errorf("a settled record lives %s, want 90 days", got)
		}
	})
}

// A crowd shares round trips: with one sender held up, everything else leaves in few pipelines.
func TestClaimsAreCoalesced(t *testing.T) {
	rdb := realRedis(t)
	s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
	s.stop() // so that nothing but the claims below uses the connection
	b := newBatcher(rdb)
	t.Cleanup(b.close)
	calls := make([]*scriptCall, 300)
	counter := &pipelineCounter{}
	rdb.AddHook(counter)
	var clients sync.WaitGroup
	for i := range calls {
		clients.Go(func() {
			key, partition := s.store.recordKey(requestID(i))
			if _, err := b.do(t.Context(), claimScript, []string{key, s.store.posKey(partition)}, "t", "f", 1000, 0, 1000); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if n := counter.n.Load(); n == 0 || n > 150 {
		t.Errorf("300 claims at once took %d round trips, want far fewer", n)
	}
}
