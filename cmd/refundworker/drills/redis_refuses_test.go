package drills

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// Somebody allows Redis to drop keys. No key is dropped, and none needs to be: nothing is done until it is forbidden
// again.
func TestRedisMayEvict(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.breaks(func() { r.redis.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") }, "redis_evicts")
	r.again(r.load.all())
	r.silent()
	r.redis.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	r.over()
	r.end()
}

// Redis drops settled refunds, which are all that has an end, and keeps the position. What is left cannot be trusted,
// and is built anew.
func TestRedisEvicted(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	before := r.load.all()
	release := r.holdFirstStep()
	r.breaks(func() { r.evict() }, "projection_missing")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}

// Redis drops settled refunds, and their commands come again before anybody has looked. They find no record, and are
// not taken for new ones: the provider is asked nothing.
func TestRedisEvictedAndAskedAtOnce(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.stop()
	r.load.quiet()
	from := time.Now()
	release := r.holdFirstStep()
	r.breaks(func() {
		r.evict()
		r.again(r.load.all())
	}, "projection_missing")
	r.silent()
	release()
	r.over()
	r.load.quiet()
	if n := r.bank.askedBetween(from, time.Now()); n > 0 {
		t.Errorf("%d provider calls for refunds that were settled", n)
	}
	r.stop = r.load.trickle(commandEvery)
	r.end()
}

// evict has Redis drop keys that have an end.
func (r *outage) evict() {
	r.t.Helper()
	r.redis.do("CONFIG", "SET", "maxmemory-policy", "volatile-random", "maxmemory", 1)
	r.until("keys are evicted", func() error {
		if n, _ := strconv.Atoi(r.redis.field("evicted_keys")); n < someRefunds/2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	r.redis.do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", 0)
}

// Redis becomes the replica of a server that cannot be reached: it answers every read as before, and takes no write.
func TestRedisTurnsReplica(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.breaks(func() { r.redis.do("REPLICAOF", "127.0.0.1", "1") }, "redis_read_only")
	r.again(r.load.all())
	r.silent()
	r.redis.do("REPLICAOF", "NO", "ONE")
	r.over()
	r.end()
}

// Redis is told to take writes only with a replica at hand, and has none.
func TestRedisWantsReplicas(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.breaks(func() { r.redis.do("CONFIG", "SET", "min-replicas-to-write", 1) }, "redis_read_only")
	r.again(r.load.all())
	r.silent()
	r.redis.do("CONFIG", "SET", "min-replicas-to-write", 0)
	r.over()
	r.end()
}

// Redis has no memory left and drops nothing: it refuses writes.
func TestRedisFull(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.breaks(func() { r.redis.do("CONFIG", "SET", "maxmemory", 1) }, "redis_read_only")
	r.again(r.load.all())
	r.silent()
	r.redis.do("CONFIG", "SET", "maxmemory", 0)
	r.over()
	r.end()
}
