package drills

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// fleet is workers that share one NATS and one Redis.
type fleet struct {
	*drill
	nats    *natsServers
	redis   *redisProcess
	workers []*workerProcess
	load    *load
	// edge is where the first worker takes reports.
	edge string
}

// fleetSize is how many workers there are where they contend.
const fleetSize = 3

// newFleet starts so many workers with these provider instances.
func newFleet(d *drill, size int, instances ...any) *fleet {
	d.t.Helper()
	nats, redis := d.nats(), d.redis()
	f := &fleet{drill: d, nats: nats, redis: redis, load: d.load(d.client(nats.url()))}
	d.t.Cleanup(d.bank.Close)
	config := d.config(func(settings document) { settings["providers"] = instances })
	for i := range size {
		edge := servertest.Address(d.t)
		if i == 0 {
			f.edge = edge
		}
		f.workers = append(f.workers, d.startWorker("--config", config, "--nats-url", nats.url(),
			"--redis-url", redis.url(), "--edge-listen", edge))
	}
	for _, w := range f.workers {
		w.awaitReady()
	}
	return f
}

// killed ends a worker at once and starts it again.
func (f *fleet) killed(i int) {
	f.workers[i].kill()
	f.workers[i].start()
}

// emptied is a Redis that forgets everything.
func (f *fleet) emptied() { f.redis.do("FLUSHALL") }

// counted is how many events of these kinds an instance has.
func (f *fleet) counted(p schemas.ProviderName, kinds ...schemas.Kind) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := f.load.js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, k := range kinds {
		subject := schemas.Subjects{}.Event(k, p)
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return 0, err
		}
		n += int(info.State.Subjects[subject])
	}
	return n, nil
}

// counts waits until an instance has so many events of these kinds.
func (f *fleet) counts(what string, want int, p schemas.ProviderName, kinds ...schemas.Kind) {
	f.t.Helper()
	f.until(what, func() error {
		n, err := f.counted(p, kinds...)
		if err == nil && n < want {
			err = fmt.Errorf("%d of %d", n, want)
		}
		return err
	})
}

// neverStopped holds that no rule of a provider's own had to stop the workers.
func (f *fleet) neverStopped() {
	f.t.Helper()
	if refusals := f.bank.Refusals(); len(refusals) > 0 {
		f.t.Fatalf("providers had to refuse %d calls, the first %+v", len(refusals), refusals[0])
	}
}

func (d *drill) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// runaway is a caller that asks for far more refunds than the bound on them.
type runaway struct {
	*fleet
	all, bound int
	// stopped is when the stop was journalled, by the server's clock.
	stopped time.Time
}

// newRunaway starts workers for refunds that are bounded within a minute.
func newRunaway(t *testing.T, all, bound int) *runaway {
	t.Helper()
	d := newDrill(t)
	orders := d.orders(instance)
	orders["velocity"] = []any{document{"window": "1m", "count": bound}}
	return &runaway{fleet: newFleet(d, fleetSize, orders), all: all, bound: bound}
}

// run publishes all commands within so long, and waits for the stop and for what was let through before it.
func (r *runaway) run(within time.Duration) {
	r.t.Helper()
	const bursts = 20
	began, tick := time.Now(), time.NewTicker(within/bursts)
	defer tick.Stop()
	for range bursts {
		r.load.publish(r.load.next(r.all/bursts), 1)
		<-tick.C
	}
	r.t.Logf("%d commands published within %s", r.all, time.Since(began).Round(time.Millisecond))
	r.counts("the provider is stopped", 1, instance, schemas.KindStopped)
	r.counts("what was let through is done", r.bound, instance, schemas.KindSucceeded)
	r.each(r.load.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		r.must(err)
		if r.readEvent(msg).Event.Kind == schemas.KindStopped {
			r.stopped = meta.Timestamp
		}
	})
}

// delivered is how many deliveries to the provider's consumers have begun, and when the last one did, by the server's clock.
func (r *runaway) delivered() (n uint64, last time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range []string{schemas.StreamCommands, schemas.StreamRetries} {
		stream, err := r.load.js.Stream(ctx, name)
		if err != nil {
			return 0, last, err
		}
		consumers := stream.ListConsumers(ctx)
		for info := range consumers.Info() {
			n += info.Delivered.Consumer
			if at := info.Delivered.Last; at != nil && at.After(last) {
				last = *at
			}
		}
		if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
			return 0, last, err
		}
	}
	return n, last, nil
}

// still holds that pulling ends with the stop: refunds fall due all the time, and none is delivered any more.
func (r *runaway) still() {
	r.t.Helper()
	var before uint64
	r.until("no delivery begins", func() error {
		first, _, err := r.delivered()
		if err != nil {
			return err
		}
		<-time.After(leaving())
		n, last, err := r.delivered()
		if err == nil && n > first {
			err = fmt.Errorf("%d more, the last %s after the stop was journalled", n-first, last.Sub(r.stopped))
		}
		before = n
		return err
	})
	_, last, err := r.delivered()
	r.must(err)
	r.t.Logf("the last delivery began %s after the stop was journalled", last.Sub(r.stopped))
	const looks = 50
	tick := time.NewTicker(100 * time.Millisecond) // in five seconds what was handed back is due
	defer tick.Stop()
	for range looks {
		<-tick.C
		if n, _, err := r.delivered(); err != nil || n != before {
			r.t.Fatalf("%d deliveries (%v) while the provider is stopped, want the %d before", n, err, before)
		}
	}
}

// agrees holds that so many refunds are made, each once, that the others wait with their messages, and that the provider
// was stopped and started so often.
func (r *runaway) agrees(made, started int) {
	r.t.Helper()
	a := r.load.audit(nil)
	kinds := map[schemas.Kind]int{}
	for _, e := range a.journal {
		kinds[e.Event.Kind]++
	}
	// What is told about the provider is no refund's.
	a.journal = slices.DeleteFunc(a.journal, func(e journalled) bool { return e.Event.RequestID == "" })
	for _, problem := range a.problems() {
		r.t.Error(problem)
	}
	if kinds[schemas.KindSucceeded] != made || len(a.ledger) != made ||
		kinds[schemas.KindStopped] != 1 || kinds[schemas.KindStarted] != started ||
		kinds[schemas.KindFailed]+kinds[schemas.KindParked]+kinds[schemas.KindRejected] != 0 {
		r.t.Errorf("events %v and %d movements, want %d that succeeded, one stop and %d starts", kinds, len(a.ledger), made, started)
	}
	if waits := len(a.waiting); waits != r.all-made {
		r.t.Errorf("%d refunds wait in a stream, want %d", waits, r.all-made)
	}
	r.t.Logf("%d of %d made, %d wait, events %v", len(a.ledger), r.all, len(a.waiting), kinds)
}

// start lets the provider go on, as an operator does.
func (r *runaway) start() {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), buildOnce(r.t, worker), "velocity", "start", "--nats-url", r.nats.url(),
		"--provider", string(instance), "--note", "looked at what waits", "--operator", "ann").CombinedOutput()
	if err != nil {
		r.t.Fatalf("velocity start: %v\n%s", err, out)
	}
}

// play is the whole of it.
func (r *runaway) play(within time.Duration) {
	r.t.Helper()
	r.run(within)
	r.still()
	r.agrees(r.bound, 0)
	r.start()
	began := time.Now()
	r.load.quiet()
	r.t.Logf("everything is made %s after the start", time.Since(began).Round(time.Millisecond))
	r.agrees(r.all, 1)
	r.neverStopped()
}

// A caller asks for 600 refunds within a second, and 50 a minute are allowed. Three workers make exactly 50, say once that
// the provider is stopped, and leave the rest where it is. When an operator lets it go on each of them is made once.
func TestRunawayCallerIsStopped(t *testing.T) {
	t.Parallel()
	newRunaway(t, 600, 50).play(time.Second)
}
