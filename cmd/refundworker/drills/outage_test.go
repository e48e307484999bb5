package drills

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/schemas"
)

// outage is two workers on one NATS and one Redis, which each of them reaches over a link of its own, and order
// services that publish a command every now and then, whatever happens.
type outage struct {
	*drill
	nats    *natsServers
	redis   *redisProcess
	links   []*link
	workers []*workerProcess
	load    *load
	stop    func()
	// mend is what workers that stop say is to be done, if it is not to put the right stream back.
	mend string
	// trouble is when it began, and printed how much each worker had printed by then.
	trouble time.Time
	printed []int
}

const (
	commandEvery = 50 * time.Millisecond
	// someRefunds is how many refunds show that work goes on.
	someRefunds = 20
	// callLatency keeps refunds in flight: whatever is lost is lost in the middle of some.
	callLatency = 100 * time.Millisecond
	// silence is how long nothing may reach the provider while no worker is ready.
	silence = time.Second
)

// newOutage starts NATS, Redis and nothing else.
func newOutage(t *testing.T, redisArgs ...string) *outage {
	t.Helper()
	t.Parallel()
	d := newDrill(t)
	r := &outage{drill: d, nats: d.nats(), redis: d.redis(redisArgs...)}
	r.load = d.load(d.client(r.nats.url()))
	return r
}

// begin starts the workers and the commands, and waits until some refunds are made.
func (r *outage) begin(change func(settings map[string]any)) {
	r.t.Helper()
	config := r.config(change)
	for range 2 {
		l := r.link(r.redis.addr)
		r.links = append(r.links, l)
		r.workers = append(r.workers, r.startWorker("--config", config, "--nats-url", r.nats.url(), "--redis-url", "redis://"+l.addr))
	}
	r.goOn()
}

// goOn waits for the workers, lets commands come, and waits until some refunds are made.
func (r *outage) goOn() {
	r.t.Helper()
	for _, w := range r.workers {
		w.awaitReady()
	}
	r.stop = r.load.trickle(commandEvery)
	r.made(someRefunds)
}

// slowBank has every call take a moment.
func (r *outage) slowBank() {
	r.bank.at(func(string) { <-time.After(callLatency) }, nil)
}

// made waits until n more refunds are made.
func (r *outage) made(n int) {
	r.t.Helper()
	want := len(r.bank.Ledger()) + n
	r.until(fmt.Sprintf("%d more refunds are made", n), func() error {
		if got := len(r.bank.Ledger()); got < want {
			return fmt.Errorf("%d refunds, want %d", got, want)
		}
		return nil
	})
}

// again publishes commands a second time, as order services do that saw no answer.
func (r *outage) again(commands []schemas.Command) {
	r.t.Helper()
	r.load.publish(commands, 1)
}

// breaks has the trouble begin, and waits until every worker says so: on /readyz, with one of the reasons, and in its
// log.
func (r *outage) breaks(trouble func(), reasons ...string) {
	r.t.Helper()
	r.begins()
	trouble()
	r.noticed(reasons...)
}

// seen waits until every worker has seen all of the journal applied that is there now: what a worker has not seen, it
// cannot miss.
func (r *outage) seen() {
	r.t.Helper()
	stream, err := r.load.js.Stream(context.Background(), schemas.StreamJournal)
	if err != nil {
		r.t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	for _, w := range r.workers {
		r.until("the worker sees it applied", func() error {
			if at := w.measures("refund_projection_position"); at < float64(last) {
				return fmt.Errorf("it is at %v, want %d", at, last)
			}
			return nil
		})
	}
}

// begins marks the beginning of trouble.
func (r *outage) begins() {
	r.trouble, r.printed = time.Now(), nil
	for _, w := range r.workers {
		r.printed = append(r.printed, len(w.output.String()))
	}
}

// What a worker says when it works on nothing, and when the projection cannot be relied on.
const (
	pausedMessage  = "paused: no command is worked on"
	unreadyMessage = "the projection cannot be relied on: work goes on from the journal, and refunds that something bounds wait"
)

// noticed waits until every worker says, on /readyz and in its log, that it is not ready.
func (r *outage) noticed(reasons ...string) {
	r.t.Helper()
	for i, w := range r.workers {
		w.awaitNotReady(reasons...)
		r.until("the log says that work is paused", func() error {
			err := r.logged(i, pausedMessage, reasons...)
			if err != nil {
				err = r.logged(i, unreadyMessage, reasons...)
			}
			return err
		})
	}
	r.t.Logf("every worker is paused after %s", time.Since(r.trouble).Round(time.Millisecond))
}

// logged looks for a line of a worker's log since the trouble began, with one of the reasons.
func (r *outage) logged(worker int, message string, reasons ...string) error {
	for line := range strings.Lines(r.workers[worker].output.String()[r.printed[worker]:]) {
		if !strings.Contains(line, `"msg":"`+message+`"`) {
			continue
		}
		for _, reason := range reasons {
			if strings.Contains(line, `"`+reason+`"`) {
				return nil
			}
		}
	}
	return fmt.Errorf("no line says %q with one of %v", message, reasons)
}

// silent watches that nothing reaches the provider, once what was just leaving has left, and that no worker becomes
// ready meanwhile. Commands come all the time: a worker that went on would not leave a gap.
func (r *outage) silent() {
	r.t.Helper()
	gap := leaving()
	r.until("what was leaving has left", func() error {
		asked := r.bank.asked()
		<-time.After(gap)
		r.stillPaused()
		if n := r.bank.asked() - asked; n > 0 {
			return fmt.Errorf("%d provider calls within %s", n, gap)
		}
		return nil
	})
	asked := r.bank.asked()
	<-time.After(silence)
	r.stillPaused()
	if n := r.bank.asked() - asked; n > 0 {
		r.t.Errorf("%d provider calls while no worker was ready", n)
	}
}

// stillPaused has every worker answer that it is not ready: whatever was about to run in its process has run by then.
func (r *outage) stillPaused() {
	r.t.Helper()
	for i, w := range r.workers {
		if len(w.waitsFor()) == 0 {
			r.t.Fatalf("worker %d became ready while the trouble lasted", i)
		}
	}
}

// over waits until every worker is ready again and says so in its log. The trouble ends now.
func (r *outage) over() {
	r.t.Helper()
	ended := time.Now()
	for i, w := range r.workers {
		w.awaitReady()
		r.until("the log says that work goes on", func() error {
			since := w.output.String()[r.printed[i]:]
			told := max(strings.Index(since, pausedMessage), strings.Index(since, unreadyMessage))
			if told < 0 || !strings.Contains(since[told:], `"msg":"ready: commands are worked on"`) {
				return errNotYet
			}
			return nil
		})
	}
	r.t.Logf("every worker is ready %s after the trouble ended, %s after it began",
		time.Since(ended).Round(time.Millisecond), time.Since(r.trouble).Round(time.Millisecond))
}

// end shows that work goes on, lets it come to its end and holds everything together.
func (r *outage) end() {
	r.t.Helper()
	r.made(someRefunds)
	r.stop()
	from := time.Now()
	r.load.quiet()
	r.caughtUp()
	r.t.Logf("nothing is left to do %s after the last command", time.Since(from).Round(time.Millisecond))
	r.load.agree(r.redis.rdb)
}

// caughtUp waits until Redis holds all that is journalled.
func (r *outage) caughtUp() {
	r.t.Helper()
	r.until("the projection is complete", func() error {
		state, err := stateOf(r.load.js, schemas.StreamJournal)
		if err != nil {
			return err
		}
		positions, err := r.redis.rdb.Keys(context.Background(), "*}:pos").Result()
		if err != nil || len(positions) == 0 {
			return fmt.Errorf("no position is found (%v)", err)
		}
		for _, key := range positions {
			if at, err := r.redis.rdb.HGet(context.Background(), key, "s").Uint64(); err != nil || at < state.LastSeq {
				return fmt.Errorf("%s is at %d of %d (%v)", key, at, state.LastSeq, err)
			}
		}
		return nil
	})
}

// holdRebuild keeps a rebuild from going on, so that what the workers do meanwhile can be watched: all of it names the
// position that is set aside.
func (r *outage) holdRebuild() (release func()) { return r.holdRequests("}:rebuild") }

// holdFirstStep keeps a rebuild from nothing from beginning, and not those who find out that it is needed: they delete the
// position that is set aside, where the rebuild looks for it.
func (r *outage) holdFirstStep() (release func()) { return r.holdRequests("hmget\r\n$23\r\n{refunds.") }

// holdRequests keeps back, on every link, whatever request holds the text, until release.
func (r *outage) holdRequests(text string) (release func()) {
	let := make(chan struct{})
	var mu sync.Mutex
	released := false
	var hold func(*link) bool
	hold = func(l *link) bool {
		mu.Lock()
		if !released {
			l.when(text, hold) // a client that gave up asks again
		}
		mu.Unlock()
		<-let
		return true
	}
	r.watchFor(text, hold)
	release = sync.OnceFunc(func() {
		mu.Lock()
		defer mu.Unlock()
		released = true
		r.watchFor("", nil)
		close(let)
	})
	r.t.Cleanup(release)
	return release
}

// watchFor has every link tell, once, that a request holds the text, before it is passed on.
func (r *outage) watchFor(text string, seen func(*link) bool) {
	for _, l := range r.links {
		l.when(text, seen)
	}
}

// move has every link lead to another server.
func (r *outage) move(to *redisProcess) {
	for _, l := range r.links {
		l.lead(to.addr)
	}
	r.redis = to
}

// field is one line of INFO.
func (r *redisProcess) field(name string) string {
	r.d.t.Helper()
	info, err := r.rdb.Info(context.Background(), "everything").Result()
	if err != nil {
		r.d.t.Fatal(err)
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return value
		}
	}
	return ""
}
