package drills

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// A worker loses its connection to NATS at one of its publishes: before the server sees any of it, in the middle of
// its bytes, or after the server has stored it and before the worker knows. Each event is stored once, under one
// attempt, and the provider makes the refund at the first call.
func TestNATSCutInPublish(t *testing.T) {
	t.Parallel()
	cuts := map[string]func(*publishCut){"before": cutBefore, "in the middle": cutInTheMiddle, "after": cutAfter}
	d := newCutDrill(t)
	for _, publish := range []string{"Refund-Kind: dispatched", "Refund-Kind: succeeded", "HPUB refunds.later."} {
		for name, cut := range cuts {
			t.Run(publish+" "+name, func(t *testing.T) {
				r := &publishCut{cutDrill: d, t: t, text: publish, stream: schemas.StreamJournal, met: make(chan struct{})}
				if publish == "HPUB refunds.later." {
					r.refusePrepare()
				}
				cut(r)
			})
			d.worker.awaitReady()
		}
	}
	d.end()
}

// cutDrill is one worker that reaches NATS over a link.
type cutDrill struct {
	*outage
	link   *link
	worker *workerProcess
}

func newCutDrill(t *testing.T) *cutDrill {
	t.Helper()
	d := newDrill(t)
	r := &outage{drill: d, nats: d.nats(), redis: d.redis()}
	r.load = d.load(d.client(r.nats.url()))
	c := &cutDrill{outage: r, link: d.link(r.nats.addr())}
	config := d.config(func(settings map[string]any) { // so patient that a delay is a schedule
		settings["providers"].([]any)[0].(map[string]any)["backoff"] = map[string]any{"initial": "3s", "max": "3s", "jitter": 0}
	})
	c.worker = d.worker("--config", config, "--nats-url", "nats://"+c.link.addr, "--redis-url", r.redis.url())
	return c
}

// end holds everything together.
func (d *cutDrill) end() {
	d.t.Helper()
	d.caughtUp()
	d.load.agree(d.redis.rdb)
}

// publishCut is one refund whose worker loses its connection at a publish.
type publishCut struct {
	*cutDrill
	t *testing.T
	// text is what the publish holds, and stream where it goes.
	text, stream string
	met          chan struct{}
	// inVain is how many calls of the provider lead to nothing before the refund.
	inVain int
}

func cutBefore(r *publishCut) {
	var before uint64
	r.link.when(r.text, func(l *link) bool { before = r.stored(r.stream); l.refuse(); close(r.met); return false })
	r.run(func() {
		r.worker.awaitNotReady("nats_unreachable")
		if n := r.stored(r.stream) - before; n > 0 {
			r.t.Errorf("%d messages were stored while the link was cut", n)
		}
		r.link.mend()
	})
}

func cutInTheMiddle(r *publishCut) {
	const some = 150 // less than any message's headers
	r.link.tear(r.text, some, func(*link) { close(r.met) })
	r.run(func() {})
}

func cutAfter(r *publishCut) {
	var before uint64
	r.link.when(r.text, func(l *link) bool { l.hold(); before = r.stored(r.stream); close(r.met); return true })
	r.run(func() {
		r.until("the message is stored", func() error {
			if r.stored(r.stream) == before {
				return errNotYet
			}
			return nil
		})
		r.link.cut()
		r.link.release()
	})
}

// stored counts what a stream ever stored.
func (r *publishCut) stored(stream string) uint64 {
	state, err := stateOf(r.load.js, stream)
	if err != nil {
		r.t.Error(err)
	}
	return state.LastSeq
}

// refusePrepare has the provider put the next refund off before anything is journalled: a schedule carries it.
func (r *publishCut) refusePrepare() {
	r.t.Helper()
	err := r.bank.SetFaults([]simulator.Fault{{Type: simulator.TypeBBMSL, Operation: "query",
		Effect: simulator.EffectStatus, Code: "429", Times: 1}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.stream, r.inVain = schemas.StreamRetries, 1
}

// run publishes one command, does what is to be done once the worker publishes, and holds what became of the refund.
func (r *publishCut) run(then func()) {
	r.t.Helper()
	asked, events := r.bank.asked(), r.stored(schemas.StreamJournal)
	c := r.load.next(1)
	r.load.publish(c, 1)
	select {
	case <-r.met:
	case <-time.After(patience):
		r.t.Fatalf("the worker published no %s", r.text)
	}
	met := time.Now()
	then()
	r.until("the refund is settled", func() error {
		if n := r.stored(schemas.StreamJournal) - events; n < 2 {
			return fmt.Errorf("%d events are stored", n)
		}
		return nil
	})
	r.load.quiet()
	r.t.Logf("nothing is left to do %s after the cut", time.Since(met).Round(time.Millisecond))
	id := string(c[0].RequestID)
	if got, want := r.load.eventsOf(c[0].RequestID), []string{id + ":dispatched:1", id + ":outcome"}; !slices.Equal(got, want) {
		r.t.Errorf("its events are %v, want %v", got, want)
	}
	if got, want := r.bank.asked()-asked, r.inVain+2; got != want { // a look, and the refund
		r.t.Errorf("the provider was asked %d times, want %d", got, want)
	}
}
