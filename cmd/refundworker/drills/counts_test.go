package drills

import (
	"path/filepath"
	"testing"
	"time"

	"refundworker/idempotency/servertest"
)

// 4,000 commands, each published three times in random order, through servers of their own: exact counts.
func TestJoinedServersExactCounts(t *testing.T) {
	t.Parallel()
	joinedServers(t, 2_500)
}

func joinedServers(t *testing.T, refunds int) {
	const copies = 3
	d := newDrill(t)
	nats, redis := d.nats(), d.redis()
	d.worker("--config", d.config(nil), "--nats-url", nats.url(), "--redis-url", redis.url())
	l := d.load(d.client(nats.url()))
	start := time.Now()
	l.publish(l.next(refunds), copies)
	l.quiet()
	t.Logf("%d commands in %s", refunds*copies, time.Since(start).Round(time.Millisecond))
	l.agree(redis.rdb)
}

// The embedded mode is killed in the middle and started again on the same directory. Its Redis forgot
// everything; the journal did not.
func TestEmbeddedKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	const refunds = 600
	d := newDrill(t)
	listen := servertest.Address(t)
	w := d.worker("--config", d.config(nil), "--data-dir", filepath.Join(d.dir, "data"), "--nats-listen", listen)
	l := d.load(d.client("nats://" + listen))
	commands := l.next(refunds)
	l.publish(commands, 1)
	for _, share := range []int{5, 2} { // once early, once later
		d.until("some refunds are made", func() error {
			if n := len(d.bank.Ledger()); n < refunds/share {
				return errNotYet
			}
			return nil
		})
		w.kill()
		w.start()
		w.awaitReady()
	}
	l.publish(commands, 1)
	l.quiet()
	l.agree(nil)
}
