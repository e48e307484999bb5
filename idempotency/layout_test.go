package idempotency

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// While workers are replaced, two versions that store things differently work on one Redis and one journal. Each
// keeps to its own keys and knows all that the journal says, so a refund begun by one is finished by the other.
func TestTwoLayoutsSideBySide(t *testing.T) {
	versions := []struct {
		name  string
		newer Config
	}{
		{"another layout", Config{layout: layout + 1}},
		{"another number of partitions", Config{Partitions: 5}},
	}
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
				r, journal := rand.New(rand.NewPCG(5, 5)), newMemoryJournal()
				for range 300 {
					journal.add(anyEvent(r))
				}
				older := startSystem(t, rdb, journal, Config{}).ready()
				older.claim("only-older")
				newer := joinWhileWorking(t, older, rdb, v.newer)
				older.equalsFold()
				newer.equalsFold()
				keepApart(t, rdb, older, newer)
				settledByTheOther(t, older, newer)
				settledByTheOther(t, newer, older)
				bothHeal(t, rdb, older, newer)
			})
		})
	}
}

// joinWhileWorking starts the newer version while the older goes on claiming and journalling, and returns it when it
// is ready. The older is ready throughout, and none of its keys is written by the other.
func joinWhileWorking(t *testing.T, older *system, rdb redis.UniversalClient, cfg Config) *system {
	t.Helper()
	newer := startSystem(t, rdb, older.journal, cfg)
	for i := range 50 {
		id := schemas.RequestID(fmt.Sprintf("busy-%d", i))
		c := older.claim(id)
		if c.Answer != Fresh {
			t.Fatalf("the older version answers %s while the newer one builds, want FRESH", c.Answer)
		}
		older.add(dispatched(c))
		if i%2 == 0 {
			older.add(event(id, schemas.KindSucceeded, attempt(1), owner(c)))
		}
	}
	newer.ready()
	last, _ := older.journal.State(t.Context())
	newer.applied(last.Last)
	if got := older.store.Stats().Rebuilds; got != 1 {
		t.Errorf("the older version built its projection %d times, want once, at its own start", got)
	}
	return newer
}

// keepApart stops one version at a time and compares its keys before and after the other has worked.
func keepApart(t *testing.T, rdb redis.UniversalClient, older, newer *system) {
	t.Helper()
	a, b := older.store.keys.tag(0), newer.store.keys.tag(0)
	own := func(s *system) string { return strings.TrimSuffix(s.store.keys.tag(0), "0}") }
	if own(older) == own(newer) {
		t.Fatalf("both versions keep their keys under %s and %s", a, b)
	}
	all, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range all {
		if !strings.HasPrefix(key, own(older)) && !strings.HasPrefix(key, own(newer)) {
			t.Errorf("key %s belongs to neither version", key)
		}
	}
	if got := recordsUnder(t, rdb, own(newer)); got[newerKey(newer, "only-older")] != nil {
		t.Error("a lease taken by the older version shows in the newer one's keys")
	}
	before := recordsUnder(t, rdb, own(older))
	newer.claim("only-newer")
	if c := newer.claim("only-older"); c.Answer != Fresh {
		t.Errorf("the newer version answers %s for a lease that only the older knows, want FRESH", c.Answer)
	}
	after := recordsUnder(t, rdb, own(older))
	if !maps.EqualFunc(before, after, maps.Equal) {
		t.Errorf("claims of the newer version changed the older one's keys:\n%v\nwere\n%v", after, before)
	}
}

func newerKey(s *system, id schemas.RequestID) string {
	key, _ := s.store.keys.record(id)
	return key
}

// recordsUnder is every hash whose key begins so: records, payments and positions.
func recordsUnder(t *testing.T, rdb redis.UniversalClient, prefix string) map[string]map[string]string {
	t.Helper()
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	out := map[string]map[string]string{}
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if kind := rdb.Type(t.Context(), key).Val(); kind != "hash" {
			continue // leases of the projector and signs of life, which change by themselves
		}
		if out[key], err = rdb.HGetAll(t.Context(), key).Result(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// settledByTheOther journals an intent and its outcome under a claim of one and asks the other on the way.
func settledByTheOther(t *testing.T, one, other *system) {
	t.Helper()
	id := schemas.RequestID("handed-over-" + newToken())
	c := one.claim(id)
	other.add(dispatched(c))
	if got := other.claim(id); got.Answer != Doubt {
		t.Errorf("with the other's intent applied: %s, want DOUBT", got.Answer)
	}
	seq := one.add(event(id, schemas.KindSucceeded, attempt(1), owner(c)))
	other.applied(seq)
	for _, s := range []*system{one, other} {
		if got := s.claim(id); got.Answer != Settled || got.Head != seq {
			t.Errorf("after the outcome: %s at event %d, want SETTLED at %d", got.Answer, got.Head, seq)
		}
	}
}

func bothHeal(t *testing.T, rdb redis.UniversalClient, older, newer *system) {
	t.Helper()
	rebuilt := []uint64{older.store.Stats().Rebuilds, newer.store.Stats().Rebuilds}
	if err := rdb.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	state, _ := older.journal.State(t.Context())
	for i, s := range []*system{older, newer} {
		eventually(t, "a rebuild", func() bool { return s.store.Stats().Rebuilds > rebuilt[i] })
		s.applied(state.Last)
		s.ready().equalsFold()
		if c := s.claim("after the loss " + schemas.RequestID(newToken())); c.Answer != Fresh || time.Until(c.Until) <= 0 {
			t.Errorf("after both were rebuilt: %s, want FRESH", c.Answer)
		}
	}
}
