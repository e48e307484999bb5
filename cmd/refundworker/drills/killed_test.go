package drills

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/schemas"
)

// 4,000 commands, each published twice, to three workers. One is killed every 3 s and started again, and Redis is
// emptied twice: exact counts.
func TestWorkersKilledAndRedisFlushedExactCounts(t *testing.T) {
	t.Parallel()
	workersKilled(t, 2_500)
}

func workersKilled(t *testing.T, refunds int) {
	const copies, killEvery = 2, 3 * time.Second
	d := newDrill(t)
	nats, redis := d.nats(), d.redis()
	args := []string{"--config", d.config(nil), "--nats-url", nats.url(), "--redis-url", redis.url()}
	steady := []*workerProcess{d.worker(args...), d.worker(args...)}
	victim := d.worker(args...)
	l := d.load(d.client(nats.url()))
	killing, stop := make(chan struct{}), make(chan struct{})
	var kills atomic.Int32
	go func() {
		defer close(killing)
		tick := time.NewTicker(killEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				victim.kill()
				victim.start()
				kills.Add(1)
			case <-stop:
				return
			}
		}
	}()
	start := time.Now()
	l.publish(l.next(refunds), copies)
	for share := range 2 {
		d.until("some refunds are made", func() error {
			if n := len(d.bank.Ledger()); n < (share+1)*refunds/3 {
				return fmt.Errorf("%d so far", n)
			}
			return nil
		})
		events, err := stateOf(l.js, schemas.StreamJournal)
		if err != nil {
			t.Fatal(err)
		}
		flushed := time.Now()
		redis.do("FLUSHALL")
		d.until("the projection is built anew", func() error {
			if redis.do("EXISTS", "{refunds.5.1:0}:pos") == int64(0) {
				return errNotYet
			}
			return nil
		})
		for _, w := range steady {
			w.awaitReady()
		}
		t.Logf("flushed with %d events in the journal: ready after %s", events.LastSeq, time.Since(flushed).Round(time.Millisecond))
	}
	d.until("most refunds are made", func() error {
		if n := len(d.bank.Ledger()); n < refunds-refunds/10 {
			return fmt.Errorf("%d so far", n)
		}
		return nil
	})
	d.until("a worker is killed often enough", func() error {
		if n := kills.Load(); n < 3 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	close(stop)
	<-killing
	l.quiet()
	t.Logf("%d commands in %s, one worker killed %d times", refunds*copies, time.Since(start).Round(time.Millisecond), kills.Load())
	l.agree(redis.rdb)
}
