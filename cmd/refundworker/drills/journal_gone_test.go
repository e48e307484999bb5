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
var createdAnew = []string{"it was created anew", "it ends at sequence", "a sequence that was already taken"}

// Somebody deletes the event stream while refunds are made, and creates it anew with the same settings. Every worker
// stops and says why, and stops again however often it is started. The operator reconciles what the provider has made,
// deletes the worker's keys, and work goes on from there.
func TestJournalDeletedAndCreatedAnew(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	config := r.streamConfig(schemas.StreamEvents)
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

// Somebody deletes the event stream, and that is all. Workers that are started again create it, empty, and do not
// take it for the one that was there. With the stream put back from a copy everything goes on as it was.
func TestJournalDeleted(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.settle()
	whole := r.copyStore()
	for _, w := range r.workers {
		w.awaitReady()
	}
	r.stop = r.load.trickle(commandEvery)
	r.begins()
	if err := r.load.js.DeleteStream(context.Background(), schemas.StreamEvents); err != nil {
		t.Fatal(err)
	}
	r.stopped(r.trouble, "it does not exist any more")
	r.startedInVain("it was created anew")

	events := filepath.Join("jetstream", "$G", "streams", schemas.StreamEvents)
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
