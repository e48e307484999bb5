package drills

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Somebody empties Redis. Order services publish again what they published before; it is built anew, and no refund
// of before is made twice.
func TestRedisFlushed(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	before := r.load.all()
	release := r.holdRebuild()
	r.breaks(func() { r.redis.do("FLUSHALL") }, "projection_missing")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}

// Redis is emptied again while it is built anew: when the rebuild looks where it stands, between two of its batches,
// and when it is about to name its position back.
func TestRedisFlushedWhileRebuilding(t *testing.T) {
	const severalBatches = 400
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.load.publish(r.load.next(severalBatches), 1)
	r.made(severalBatches)
	before := r.load.all()
	for _, step := range []string{
		"hmget\r\n$23\r\n{refunds.5.1:0}:rebuild",
		":rebuild\r\n$20\r\n{refunds.5.1:0}:open\r\n$28\r\n{refunds.5.1:0}:r:ord-", // the first batch begins with a shorter name
		":rebuild\r\n$19\r\n{refunds.5.1:0}:pos",
	} {
		var flushed atomic.Bool
		r.watchFor(step, func(*link) bool {
			if err := r.redis.rdb.FlushAll(context.Background()).Err(); err != nil {
				t.Errorf("empty redis: %v", err)
			}
			flushed.Store(true)
			return true
		})
		r.begins()
		r.redis.do("FLUSHALL")
		r.again(before)
		emptied := time.Now()
		r.until("the rebuild sends "+step, func() error {
			if flushed.Load() {
				return nil
			}
			// How much is read at once differs: a rebuild that went by without the step is asked for again.
			if time.Since(emptied) > rebuildsWithin {
				emptied = time.Now()
				r.redis.do("FLUSHALL")
			}
			return errNotYet
		})
		r.watchFor("", nil)
		r.over()
	}
	r.end()
}

// rebuildsWithin is when a rebuild of some hundred refunds is mostly over.
const rebuildsWithin = 5 * time.Second

// Redis is emptied again and again, while commands of before and new ones come.
func TestRedisFlushedTimeAndAgain(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.begins()
	for range 20 {
		r.redis.do("FLUSHALL")
		r.again(r.load.all())
		<-time.After(150 * time.Millisecond)
	}
	r.over()
	r.end()
}

// Redis is killed and comes back with nothing.
func TestRedisKilledAndRestartedEmpty(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	before := r.load.all()
	r.breaks(func() { r.redis.kill() }, "redis_unreachable")
	r.again(before)
	r.silent()
	release := r.holdRebuild()
	r.redis.start()
	r.noticed("projection_missing")
	r.silent()
	release()
	r.over()
	r.end()
}

// Redis is killed and comes back as it was some refunds ago. The workers know that it was further.
func TestRedisRestoredFromOlderCopy(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.redis.save("older.rdb")
	r.made(someRefunds)
	r.seen()
	before := r.load.all()
	release := r.holdRebuild()
	r.breaks(func() {
		r.redis.kill()
		r.redis.start("--dbfilename", "older.rdb")
	}, "projection_behind")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}

// Every worker is stopped, Redis is put back to how it was some refunds ago, and workers that have never seen it
// start. They cannot know that it was further, and work on nothing until it has reached the end of the journal.
func TestRedisRestoredWhileNoWorkerRan(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.redis.save("older.rdb")
	r.made(someRefunds)
	before := r.load.all()
	for _, w := range r.workers {
		if err := w.end(syscall.SIGTERM); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	}
	r.redis.kill()
	r.redis.start("--dbfilename", "older.rdb")
	r.again(before)
	release := r.holdRequests(":projector")
	for _, w := range r.workers {
		w.start()
	}
	for _, w := range r.workers {
		w.awaitNotReady("starting")
	}
	r.silent()
	release()
	ended := time.Now()
	for _, w := range r.workers {
		w.awaitReady()
	}
	t.Logf("every worker is ready %s after its projector could begin", time.Since(ended).Round(time.Millisecond))
	r.end()
}

// save writes all data to a file in Redis's directory.
func (r *redisProcess) save(name string) {
	r.d.t.Helper()
	r.do("SAVE")
	if err := os.Rename(filepath.Join(r.dir, "dump.rdb"), filepath.Join(r.dir, name)); err != nil {
		r.d.t.Fatal(err)
	}
}
