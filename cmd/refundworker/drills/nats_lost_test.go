package drills

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// Workers start before NATS does. They wait, say so, and work once it is there.
func TestNATSAbsentAtStart(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	r := &outage{drill: d, redis: d.redis(), nats: d.natsLater(*members)}
	config := d.config(nil)
	for range 2 {
		r.workers = append(r.workers, d.startWorker("--config", config, "--nats-url", r.nats.url(), "--redis-url", r.redis.url()))
	}
	for i, w := range r.workers {
		w.awaitNotReady("nats_unreachable")
		if said := w.waitsFor(); !slices.Contains(said, "streams_not_set_up") {
			t.Errorf("worker %d waits for %v, want streams_not_set_up among it", i, said)
		}
	}
	r.nats.start()
	from := time.Now()
	r.load = d.load(d.client(r.nats.url()))
	r.goOn()
	t.Logf("every worker works %s after nats came", time.Since(from).Round(time.Millisecond))
	r.end()
}

// gone waits until every worker says that NATS is away, on /readyz and in its log.
func (r *outage) gone() {
	r.t.Helper()
	for i, w := range r.workers {
		w.awaitNotReady("nats_unreachable")
		r.t.Logf("worker %d: not ready after %s", i, time.Since(r.trouble).Round(time.Millisecond))
	}
	r.until("the log says that nats is away", func() error { return r.logs("nats disconnected") })
}

// NATS is killed three times while refunds are made, and comes back on its files.
func TestNATSKilledUnderLoad(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	for range 3 {
		r.begins()
		r.nats.end(syscall.SIGKILL)
		r.gone()
		r.silent()
		r.nats.start()
		ended := time.Now()
		for _, w := range r.workers {
			w.awaitReady()
		}
		t.Logf("every worker is ready %s after nats was back", time.Since(ended).Round(time.Millisecond))
		r.until("the log says that nats is back", func() error { return r.logs("nats connected again") })
		r.made(someRefunds)
	}
	r.end()
}

// Somebody deletes the durable consumers again and again while refunds are made. The workers make them anew, and say so.
func TestConsumersDeletedUnderLoad(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.begins()
	for range 3 {
		for stream, durable := range durables {
			err := r.load.js.DeleteConsumer(context.Background(), stream, durable)
			if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				t.Fatal(err)
			}
		}
		r.made(someRefunds)
	}
	for _, durable := range durables {
		r.until("a log says that "+durable+" was made anew", func() error {
			return r.someLog("durable consumer made anew", durable) // whoever noticed first made it for all
		})
	}
	r.end()
}

// durables are the durable consumers of the one instance, by stream.
var durables = map[string]string{
	schemas.StreamCommands: "refund-commands-" + string(instance),
	schemas.StreamRetries:  "refund-retries-" + string(instance),
}
