package main

import (
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// publishAll publishes each command copies times, in random order.
func (p *processes) publishAll(js jetstream.JetStream, refunds, copies int) {
	p.t.Helper()
	bodies := make([][]byte, 0, refunds*copies)
	for i := range refunds {
		body, err := refundOf(i).Encode()
		if err != nil {
			p.t.Fatal(err)
		}
		for range copies {
			bodies = append(bodies, body)
		}
	}
	rand.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	subject := schemas.Subjects{}.Command("bbmsl-hk")
	futures := make([]jetstream.PubAckFuture, 0, len(bodies))
	for _, body := range bodies {
		future, err := js.PublishAsync(subject, body, jetstream.WithStallWait(time.Minute))
		if err != nil {
			p.t.Fatal(err)
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			p.t.Fatal(err)
		}
	}
}

// 10,000 commands, each published three times in random order, through servers of their own: exact counts.
func TestJoinedServersExactCounts(t *testing.T) {
	const refunds, copies = 10_000, 3
	p := newProcesses(t)
	natsURL, redisAddr := p.nats(), p.redis()
	p.worker("--config", p.config(nil), "--nats-url", natsURL, "--redis-url", "redis://"+redisAddr)
	js := p.client(natsURL)
	start := time.Now()
	p.publishAll(js, refunds, copies)
	p.quiet(js, 4*time.Minute)
	t.Logf("%d commands in %s", refunds*copies, time.Since(start).Round(time.Millisecond))
	p.agree(js, refunds)
}

// The embedded mode is killed in the middle and started again on the same directory. Its Redis forgot
// everything; the journal did not.
func TestEmbeddedKilledInTheMiddle(t *testing.T) {
	const refunds = 600
	p := newProcesses(t)
	config, data, listen := p.config(nil), filepath.Join(p.dir, "data"), unusedAddress(t)
	args := []string{"--config", config, "--data-dir", data, "--nats-listen", listen}
	w := p.worker(args...)
	js := p.client("nats://" + listen)
	p.publishAll(js, refunds, 1)
	for _, share := range []int{5, 2} { // once early, once later
		p.until("some refunds are made", time.Minute, func() error {
			if n := len(p.simulator.Ledger()); n < refunds/share {
				return errNotYet
			}
			return nil
		})
		_ = w.end(syscall.SIGKILL)
		w = p.worker(args...)
	}
	p.publishAll(js, refunds, 1)
	p.quiet(js, 3*time.Minute)
	p.agree(js, refunds)
}
