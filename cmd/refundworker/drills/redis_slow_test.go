package drills

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// frozen stops Redis for a while where it stands: connections stay, answers do not come. What was asked meanwhile is
// carried out afterwards, when nobody waits for it any more.
func (r *outage) frozen(lasting time.Duration) {
	r.t.Helper()
	r.slowBank()
	r.begin(nil)
	before := r.load.all()
	frozen := time.After(lasting)
	r.breaks(func() { r.redis.freeze() }, "redis_unreachable")
	r.again(before)
	r.silent()
	<-frozen
	r.redis.thaw()
	r.over()
	r.end()
}

// Redis is frozen for some seconds.
func TestRedisFrozen(t *testing.T) {
	newOutage(t).frozen(6 * time.Second)
}

// Redis answers two seconds late, which is too late to rely on it.
func TestRedisSlow(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	before := r.load.all()
	r.breaks(func() {
		for _, l := range r.links {
			l.slow(2 * time.Second)
		}
	}, "redis_unreachable")
	r.again(before)
	r.silent()
	for _, l := range r.links {
		l.slow(0)
	}
	r.over()
	r.end()
}

// Redis answers 300 ms late. Work goes on, slower, and no worker says that Redis takes no write: Redis never said so.
func TestRedisABitSlow(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.begins()
	said := r.listen()
	for _, l := range r.links {
		l.slow(300 * time.Millisecond)
	}
	r.made(2 * someRefunds)
	for _, l := range r.links {
		l.slow(0)
	}
	r.made(someRefunds)
	heard := said()
	t.Logf("/readyz said %v", heard)
	if heard["redis_read_only"] > 0 {
		t.Errorf("/readyz said %v, want nothing of a Redis that takes no write", heard)
	}
	for i := range r.workers {
		if r.logsOf(i, "redis_read_only") {
			t.Errorf("worker %d says that Redis takes no write", i)
		}
	}
	r.end()
}

// A claim is on its way when every worker becomes unready, and is granted afterwards. It is not used: the provider is
// not asked anything.
func TestRedisGrantsWhileUnready(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	one := r.load.next(1)
	let := make(chan struct{})
	grant := sync.OnceFunc(func() { close(let) })
	var asked atomic.Bool
	t.Cleanup(grant)
	r.watchFor(":r:"+string(one[0].RequestID), func(*link) bool {
		asked.Store(true)
		<-let
		return true
	})
	r.load.publish(one, 1)
	r.until("the refund is claimed", func() error {
		if !asked.Load() {
			return errNotYet
		}
		return nil
	})
	r.breaks(func() { r.redis.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") }, "redis_evicts")
	from := time.Now()
	grant()
	<-time.After(2 * silence)
	if n := r.bank.askedBetween(from, time.Now()); n > 0 {
		t.Errorf("%d provider calls under a claim that was granted while no worker was ready", n)
	}
	r.redis.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	r.over()
	r.end()
}
