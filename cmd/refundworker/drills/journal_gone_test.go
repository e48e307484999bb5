package drills

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"refundworker/schemas"
)

// createdAnew are the findings of a worker whose stream is another one of the same name, whichever it meets first.
var createdAnew = []string{"it was created anew", "it ends at sequence", "the journal went backwards"}

// Somebody deletes the event stream while refunds are made, and creates it anew with the same settings. Every worker
// stops and says why, and stops again however often it is started. The operator reconciles what the provider has made,
// deletes the worker's keys, and work goes on from there.
func TestJournalDeletedAndCreatedAnew(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	config := r.streamConfig(schemas.StreamJournal)
	r.begins()
	if err := r.load.js.DeleteStream(context.Background(), config.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := r.load.js.CreateStream(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	r.stopped(r.trouble, createdAnew...)
	r.startedInVain("it was created anew")

	r.stop()
	reconciled := r.reconcile()
	r.redis.do("FLUSHALL")
	r.startAgain()
	r.settle()
	r.agreeWithout(reconciled)
}

// Somebody deletes the journal, and that is all. Workers that are started again do not create it, empty, beside the events
// that were published of it. With the stream put back from a copy everything goes on as it was.
func TestJournalDeleted(t *testing.T) {
	aboutOneServer(t)
	r := newOutage(t)
	r.begin(nil)
	r.settle()
	whole := r.copyStore()
	for _, w := range r.workers {
		w.awaitReady()
	}
	r.stop = r.load.trickle(commandEvery)
	r.begins()
	if err := r.load.js.DeleteStream(context.Background(), schemas.StreamJournal); err != nil {
		t.Fatal(err)
	}
	r.stopped(r.trouble, "it does not exist any more")
	asked := r.bank.asked()
	for _, w := range r.workers {
		w.start()
	}
	for i, w := range r.workers {
		if code := r.exited(w.process); code != exitUsage {
			t.Errorf("worker %d: exit code %d, want %d", i, code, exitUsage)
		}
		if err := w.says("stream REFUND_JOURNAL: existence is gone, with events in REFUND_EVENTS"); err != nil {
			t.Errorf("worker %d %v:\n%s", i, err, w.lastWords())
		}
	}
	if n := r.bank.asked() - asked; n > 0 {
		t.Errorf("%d provider calls by workers that were started again", n)
	}

	events := filepath.Join("jetstream", "$G", "streams", schemas.StreamJournal)
	r.whileDown(func() {
		if err := os.RemoveAll(filepath.Join(r.nats.dir, events)); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(r.nats.dir, events), os.DirFS(filepath.Join(whole, events))); err != nil {
			t.Fatal(err)
		}
	})
	from := time.Now()
	for _, w := range r.workers {
		w.start()
		w.awaitReady()
	}
	t.Logf("every worker is ready %s after the stream was put back", time.Since(from).Round(time.Millisecond))
	r.end()
}
