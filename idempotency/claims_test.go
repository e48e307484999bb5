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
	dispatched, parked := event("a", schemas.KindDispatched, attempt(1)), event("a", schemas.KindParked, number(1))
	deferred, acknowledged := event("a", schemas.KindDeferred, attempt(1)), event("a", schemas.KindAcknowledged, attempt(1))
	resumed, failed := event("a", schemas.KindResumed, number(1)), event("a", schemas.KindFailed)
	again := event("a", schemas.KindDispatched, attempt(2))
	tests := []struct {
		name   string
		events []ledger.Entry
		want   Answer
	}{
		{"nothing", nil, Fresh},
		{"dispatched", []ledger.Entry{dispatched}, Doubt},
		{"deferred", []ledger.Entry{dispatched, deferred}, Wait},
		{"dispatched after deferred", []ledger.Entry{dispatched, deferred, again}, Doubt},
		{"acknowledged", []ledger.Entry{dispatched, acknowledged}, Pending},
		{"dispatched after acknowledged", []ledger.Entry{acknowledged, again}, Doubt},
		{"parked", []ledger.Entry{dispatched, parked}, Parked},
		{"resumed makes all attempts clean", []ledger.Entry{dispatched, again, parked, resumed}, Retry},
		{"dispatched after resumed", []ledger.Entry{dispatched, parked, resumed, again}, Doubt},
		{"succeeded", []ledger.Entry{dispatched, event("a", schemas.KindSucceeded, attempt(1))}, Settled},
		{"cancelled from nothing", []ledger.Entry{event("a", schemas.KindCancelled, attempt(1))}, Settled},
		{"failed", []ledger.Entry{failed}, Settled},
		{"an outcome is final", []ledger.Entry{failed, dispatched}, Settled},
		{"what came back had gone", []ledger.Entry{event("a", schemas.KindReversed)}, Settled},
		{"rejected touches nothing", []ledger.Entry{event("a", schemas.KindRejected)}, Fresh},
	}
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				journal := newMemoryJournal()
				for _, e := range test.events {
					journal.add(e)
				}
				s := startSystem(t, rdb, journal, Config{Namespace: t.Name()}).ready()
				head := uint64(len(test.events))
				if test.name == "an outcome is final" || test.want == Fresh {
					head = min(head, 1)
				}
				if test.want == Fresh {
					head = 0
				}
				if c := s.claim("a"); c.Answer != test.want || c.Head != head || c.Clean != 0 {
					t.Errorf("claim answered %s at %d, clean to %d; want %s at %d, and nobody has said anything", c.Answer, c.Head,
						c.Clean, test.want, head)
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
		if err != nil || c.Answer != Conflict {
			t.Errorf("claim with other content: %s, %v; want CONFLICT", c.Answer, err)
		}
	})
}

// What was only ever claimed owns nothing: a command that was rejected does not stand in the way of the right one.
func TestClaimAloneOwnsNothing(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		first, err := s.store.Claim(t.Context(), "a", fingerprintOf("a"), time.Minute)
		if err != nil || first.Answer != Fresh {
			t.Fatalf("the first claim: %s, %v; want FRESH", first.Answer, err)
		}
		if c, err := s.store.Claim(t.Context(), "a", fingerprintOf("b"), time.Minute); err != nil || c.Answer != Busy {
			t.Errorf("other content beside it: %s, %v; want BUSY", c.Answer, err)
		}
		if released, err := s.store.Release(t.Context(), first, 0, 0); err != nil || !released {
			t.Fatalf("release: %t, %v", released, err)
		}
		if c, err := s.store.Claim(t.Context(), "a", fingerprintOf("b"), time.Minute); err != nil || c.Answer != Fresh {
			t.Errorf("other content after it: %s, %v; want FRESH", c.Answer, err)
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
		if given, err := s.store.Release(t.Context(), first, 0, 0); given || err != nil {
			t.Errorf("release after the lease's end: %t, %v; want false", given, err)
		}
	})
}

func TestReleaseBelongsToTheCurrentOwner(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		first := s.claim("a")
		stranger := first
		stranger.Token = newToken()
		if given, _ := s.store.Release(t.Context(), stranger, 0, 0); given {
			t.Error("a stranger gave the lease back")
		}
		if c := s.claim("a"); c.Answer != Busy {
			t.Errorf("after a stranger's release: %s, want BUSY", c.Answer)
		}
		for range 2 { // a client may send it twice
			if given, err := s.store.Release(t.Context(), first, 0, 0); !given || err != nil {
				t.Errorf("release: %t, %v; want true", given, err)
			}
		}
		second := s.claim("a")
		if second.Answer != Fresh || second.Head != 0 {
			t.Errorf("after the release: %s at %d, want FRESH at 0", second.Answer, second.Head)
		}
		_, _ = s.store.Release(t.Context(), first, 0, 0)
		if c := s.claim("a"); c.Answer != Busy {
			t.Errorf("after the old claim's second release: %s, want BUSY, for the new claim runs", c.Answer)
		}
	})
}

func TestReleaseTellsWhatDidNothing(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		release := func(c Claim, clean uint64, pause time.Duration) {
			t.Helper()
			if given, err := s.store.Release(t.Context(), c, clean, pause); !given || err != nil {
				t.Fatalf("release: %t, %v", given, err)
			}
		}
		t.Run("the own attempt", func(t *testing.T) {
			c := s.claim("clean")
			seq := s.add(dispatched(c))
			release(c, seq, 0)
			if c := s.claim("clean"); c.Answer != Retry || c.Head != seq || c.Clean != seq {
				t.Errorf("%s at %d, clean to %d; want RETRY, both %d", c.Answer, c.Head, c.Clean, seq)
			}
		})
		t.Run("before it is applied", func(t *testing.T) {
			c := s.claim("early")
			release(c, 700, 0)
			if c := s.claim("early"); c.Answer != Retry || c.Head != 700 || c.Clean != 700 {
				t.Errorf("%s at %d, clean to %d; want RETRY, both 700: the owner knows more than is applied", c.Answer, c.Head, c.Clean)
			}
		})
		t.Run("nothing", func(t *testing.T) {
			first := s.add(event("doubt", schemas.KindDispatched, attempt(1)))
			c := s.claim("doubt")
			release(c, 0, time.Hour)
			if c := s.claim("doubt"); c.Answer != Doubt || c.Head != first || c.Clean != 0 {
				t.Errorf("%s at %d, clean to %d; want DOUBT at %d: it may have moved money, and waits for no pause", c.Answer, c.Head,
					c.Clean, first)
			}
		})
		t.Run("never less than was known", func(t *testing.T) {
			c := s.claim("less")
			release(c, 600, 0)
			release(s.claim("less"), 500, 0)
			if c := s.claim("less"); c.Clean != 600 {
				t.Errorf("clean to %d, want 600", c.Clean)
			}
		})
		t.Run("a pause", func(t *testing.T) {
			c := s.claim("pause")
			release(c, s.add(dispatched(c)), time.Hour)
			if c := s.claim("pause"); c.Answer != Busy || time.Until(c.Until) < 59*time.Minute {
				t.Errorf("%s until %s, want BUSY for an hour", c.Answer, c.Until)
			}
		})
	})
}

// A client that retries sends the same claim twice: the second run answers as the first did.
func TestScriptsAreIdempotentByToken(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		key, partition := s.store.keys.record("a")
		fp := fingerprintOf("a")
		run := func() Claim {
			reply, err := s.store.scripts.do(t.Context(), claimScript, []string{key, s.store.keys.position(partition)},
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
		if first.Answer != Fresh || second.Answer != Fresh {
			t.Errorf("claims are answered %s and %s, want FRESH twice", first.Answer, second.Answer)
		}
	})
}

func TestRecordsOfNoConsequenceExpire(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		ttl := func(id schemas.RequestID) time.Duration {
			key, _ := s.store.keys.record(id)
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
			t.Errorf("a settled record lives %s, want at least 90 days", got)
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
			key, partition := s.store.keys.record(requestID(i))
			if _, err := b.do(t.Context(), claimScript, []string{key, s.store.keys.position(partition)}, "t", "f", 1000, 0, 1000); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if n := counter.n.Load(); n == 0 || n > 150 {
		t.Errorf("300 claims at once took %d round trips, want far fewer", n)
	}
}
