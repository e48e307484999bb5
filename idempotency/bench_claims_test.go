package idempotency

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// How many claims a second are answered, each of a refund that nobody knows: one after another, at once with a round
// trip each, and at once through the store, which lets them share round trips.
func BenchmarkClaims(b *testing.B) {
	benches := []struct {
		name            string
		clients, claims int
		alone           bool
	}{
		{"one by one", 1, 2_000, false},
		{"64 clients, a round trip each", 64, 10_000, true},
		{"64 clients, coalesced", 64, 10_000, false},
		{"512 clients, coalesced", 512, 10_000, false},
	}
	onEachRedisOf(b, func(b *testing.B, addr string) {
		rdb := benchClient(b, addr)
		store, _ := benchStore(b, rdb, newMemoryJournal())
		var next atomic.Int64
		for _, bench := range benches {
			b.Run(bench.name, func(b *testing.B) {
				claim := store.Claim
				if bench.alone {
					claim = aloneOn(rdb, store)
				}
				for b.Loop() {
					var rounds []time.Duration
					for range benchRounds {
						rounds = append(rounds, timeClaims(b, claim, crowd{bench.clients, bench.claims, &next}))
					}
					perSecond(b, bench.claims, rounds, "claims/s")
				}
			})
		}
	})
}

type claimFunc func(context.Context, schemas.RequestID, schemas.Fingerprint, time.Duration) (Claim, error)

type crowd struct {
	clients, claims int
	next            *atomic.Int64
}

func timeClaims(b *testing.B, claim claimFunc, c crowd) time.Duration {
	left := atomic.Int64{}
	left.Store(int64(c.claims))
	fp := fingerprintOf("a")
	start := time.Now()
	var clients sync.WaitGroup
	for range c.clients {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				id := schemas.RequestID("ord-" + strconv.FormatInt(c.next.Add(1), 10) + ":r1")
				if got, err := claim(b.Context(), id, fp, time.Minute); err != nil || got.Answer != Fresh {
					b.Errorf("claim: %s, %v; want FRESH", got.Answer, err)
					return
				}
			}
		})
	}
	clients.Wait()
	return time.Since(start)
}

// aloneOn claims with a pipeline for each claim, by the same script and the same reading of its answer.
func aloneOn(rdb redis.UniversalClient, store *Store) claimFunc {
	return func(ctx context.Context, id schemas.RequestID, fp schemas.Fingerprint, lease time.Duration) (Claim, error) {
		c := Claim{RequestID: id, Token: newToken()}
		key, partition := store.keys.record(id)
		pipe := rdb.Pipeline()
		reply := claimScript.EvalSha(ctx, pipe, []string{key, store.keys.position(partition)}, c.Token, string(fp[:]),
			lease.Milliseconds(), store.gate.floorOf(partition), unjournalledTTL.Milliseconds(), store.mayEvict())
		if _, err := pipe.Exec(ctx); err != nil {
			return c, err
		}
		return c, c.read(reply.Val())
	}
}
