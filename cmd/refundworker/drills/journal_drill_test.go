package drills

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// notThisStream begins the last words of a worker whose journal is wrong, and whatToDo ends them unless the drill says
// otherwise.
const (
	notThisStream = "the event stream is not what this projection was built from"
	whatToDo      = "put the right stream back, or, when this stream is the right one, delete the worker's keys in Redis " +
		"and start again, after having reconciled the refunds whose events are missing"
)

// stopped waits until every worker has ended by itself because of its journal, says one of the findings and what
// to do, and holds that nothing was asked of the provider once what was just leaving had left. The trouble began at
// since.
func (r *outage) stopped(since time.Time, findings ...string) {
	r.t.Helper()
	for i, w := range r.workers {
		if code := r.exited(w.process); code != exitFailed {
			r.t.Errorf("worker %d: exit code %d, want %d", i, code, exitFailed)
		}
		if err := w.says(notThisStream, cmp.Or(r.mend, whatToDo)); err != nil {
			r.t.Errorf("worker %d %v:\n%s", i, err, w.lastWords())
		}
		if !slices.ContainsFunc(findings, func(f string) bool { return w.says(f) == nil }) {
			r.t.Errorf("worker %d ended with\n%s\nwant one of %q", i, w.lastWords(), findings)
		}
		r.t.Logf("worker %d: %s", i, w.lastWords())
	}
	r.t.Logf("every worker has stopped after %s", time.Since(since).Round(time.Millisecond))
	late := leaving()
	if n := r.bank.askedBetween(since.Add(late), time.Now()); n > 0 {
		r.t.Errorf("%d provider calls later than %s after the trouble began", n, late)
	}
}

// lastWords is what a worker printed last.
func (w *workerProcess) lastWords() string {
	lines := strings.Split(strings.TrimSpace(w.output.String()), "\n")
	return lines[len(lines)-1]
}

// startedInVain starts every worker again, while nobody has settled the matter: it ends as before, and asks nothing of
// the provider.
func (r *outage) startedInVain(findings ...string) {
	r.t.Helper()
	asked := r.bank.asked()
	from := time.Now()
	for _, w := range r.workers {
		w.start()
	}
	r.stopped(from, findings...)
	if n := r.bank.asked() - asked; n > 0 {
		r.t.Errorf("%d provider calls by workers that were started again", n)
	}
}

// startAgain starts every worker, has commands come and refunds be made.
func (r *outage) startAgain() {
	r.t.Helper()
	for _, w := range r.workers {
		w.start()
	}
	r.goOn()
}

// settle lets everything come to its end, without ending the drill.
func (r *outage) settle() {
	r.t.Helper()
	r.stop()
	r.load.quiet()
	r.caughtUp()
}

// endWorkers ends every worker as an operator does.
func (r *outage) endWorkers() {
	r.t.Helper()
	for i, w := range r.workers {
		if err := w.end(syscall.SIGTERM); err != nil {
			r.t.Errorf("worker %d ended with %v", i, err)
		}
	}
}

// streamConfig is how the server has a stream set up.
func (r *outage) streamConfig(name string) jetstream.StreamConfig {
	r.t.Helper()
	stream, err := r.load.js.Stream(context.Background(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func (r *outage) updateStream(c jetstream.StreamConfig) {
	r.t.Helper()
	if _, err := r.load.js.UpdateStream(context.Background(), c); err != nil {
		r.t.Fatal(err)
	}
}

// copyStore copies what the server has on disk, while it is down, and returns the copy.
func (r *outage) copyStore() string {
	r.t.Helper()
	older := filepath.Join(r.t.TempDir(), "copy")
	r.whileDown(func() {
		if err := os.CopyFS(older, os.DirFS(r.nats.dir)); err != nil {
			r.t.Fatal(err)
		}
	})
	return older
}

// putStore has the server go on with other files than its own, and returns where its own are now.
func (r *outage) putStore(files string) string {
	r.t.Helper()
	own := filepath.Join(r.t.TempDir(), "own")
	r.whileDown(func() {
		if err := os.Rename(r.nats.dir, own); err != nil {
			r.t.Fatal(err)
		}
		if err := os.CopyFS(r.nats.dir, os.DirFS(files)); err != nil {
			r.t.Fatal(err)
		}
	})
	return own
}

// whileDown does something while the NATS server is stopped.
func (r *outage) whileDown(do func()) {
	r.t.Helper()
	r.nats.end(syscall.SIGTERM)
	do()
	r.nats.start()
	r.until("the streams are there again", func() error {
		_, err := r.load.js.AccountInfo(context.Background())
		return err
	})
}

// reconcile does what an operator does whose event stream is lost: no message stays, and order services publish again
// what the provider has not made. It returns the payments of what it has made. No worker may run.
func (r *outage) reconcile() map[string]bool {
	r.t.Helper()
	made := map[string]bool{}
	for _, m := range r.bank.Ledger() {
		made[m.Reference] = true
	}
	for _, name := range []string{schemas.StreamCommands, schemas.StreamRetries} {
		stream, err := r.load.js.Stream(context.Background(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := stream.Purge(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
	r.again(slices.DeleteFunc(r.load.all(), func(c schemas.Command) bool { return made[c.Payment.Reference] }))
	return made
}

// agreeWithout holds everything together that was not reconciled, once it is quiet.
func (r *outage) agreeWithout(reconciled map[string]bool) {
	r.t.Helper()
	a := r.load.audit(r.redis.rdb)
	ids := map[schemas.RequestID]bool{}
	a.commands = slices.DeleteFunc(a.commands, func(c schemas.Command) bool {
		ids[c.RequestID] = reconciled[c.Payment.Reference]
		return ids[c.RequestID]
	})
	a.journal = slices.DeleteFunc(a.journal, func(e journalled) bool { return ids[e.Event.RequestID] })
	movements := len(a.ledger)
	a.ledger = a.ledger[len(reconciled):]
	for _, problem := range a.problems() {
		r.t.Error(problem)
	}
	if got, want := a.count(schemas.KindSucceeded), len(a.commands); got != want || want == 0 {
		r.t.Errorf("%d refunds succeeded, want %d and more than none", got, want)
	}
	r.t.Logf("%d commands, %d of %d movements reconciled", len(a.commands), len(reconciled), movements)
}

// eventsOf are the ids of a refund's events, in order.
func (l *load) eventsOf(id schemas.RequestID) []string {
	l.d.t.Helper()
	var ids []string
	l.d.each(l.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		if e := l.d.readEvent(msg); e.Event.RequestID == id {
			ids = append(ids, e.ID)
		}
	})
	return ids
}

// logs looks for a line of every worker's log since the trouble began that holds all of the texts.
func (r *outage) logs(texts ...string) error {
	for i := range r.workers {
		if !r.logsOf(i, texts...) {
			return fmt.Errorf("no line of worker %d says %q", i, texts)
		}
	}
	return nil
}

// someLog looks for such a line of any worker's log.
func (r *outage) someLog(texts ...string) error {
	for i := range r.workers {
		if r.logsOf(i, texts...) {
			return nil
		}
	}
	return fmt.Errorf("no line of any worker says %q", texts)
}

func (r *outage) logsOf(worker int, texts ...string) bool {
	for line := range strings.Lines(r.workers[worker].output.String()[r.printed[worker]:]) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}
