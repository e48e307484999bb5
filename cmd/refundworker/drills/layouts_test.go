package drills

import (
	"testing"
	"time"
)

// Two workers keep their projections apart, as two versions do during a rolling upgrade: each under a namespace of its
// own, built from the same journal. They know nothing of each other's leases; the journal's fence lets one call.
func TestTwoLayoutsSideBySide(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	nats, redis := d.nats(), d.redis()
	with := func(partitions int) []string {
		config := d.config(func(settings map[string]any) {
			settings["redis"] = map[string]any{"addresses": []string{redis.addr}, "partitions": partitions}
		})
		return []string{"--config", config, "--nats-url", nats.url()}
	}
	d.worker(with(1)...)
	l := d.load(d.client(nats.url()))
	commands := l.next(400)
	l.publish(commands[:200], 2)
	d.worker(with(4)...)
	l.publish(commands, 3)
	stop := l.trickle(20 * time.Millisecond)
	d.until("the newer one's projection is built while the older one works", func() error {
		if len(d.bank.Ledger()) < len(commands) {
			return errNotYet
		}
		return nil
	})
	stop()
	l.quiet()
	if a := l.agree(redis.rdb); len(a.records) != 2 {
		t.Errorf("records of %d layouts, want 2", len(a.records))
	}
}
