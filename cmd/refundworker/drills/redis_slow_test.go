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
	r.silent(silence)
	<-frozen
	r.redis.thaw()
	r.over(time.Now())
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
	r.silent(2 * silence)
	for _, l := range r.links {
		l.slow(0)
	}
	r.over(time.Now())
	r.end()
}

// Redis answers a fifth of a second late. Work goes on, slower.
func TestRedisABitSlow(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.begins()
	for _, l := range r.links {
		l.slow(200 * time.Millisecond)
	}
	end := time.After(5 * time.Second)
	for slow := true; slow; {
		select {
		case <-end:
			slow = false
		case <-time.After(50 * time.Millisecond):
			for i, w := range r.workers {
				if said := w.waitsFor(); len(said) > 0 {
					t.Fatalf("worker %d is not ready: %v", i, said)
				}
			}
		}
	}
	r.made(someRefunds)
	for _, l := range r.links {
		l.slow(0)
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
	r.until("the refund is claimed", readyWithin, func() error {
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
	r.over(time.Now())
	r.end()
}
