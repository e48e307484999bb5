package drills

import (
	"context"
	"fmt"
	"testing"
	"time"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// rightFilesAgain puts the server's own files back. Order services publish again what they published, and all that
// was done before is known, as if nothing had been.
func (r *outage) rightFilesAgain(own string) {
	r.t.Helper()
	r.stop()
	r.putStore(own)
	r.again(r.load.all())
	r.startAgain()
	r.end()
}

// NATS comes back with the files of some refunds ago, while workers run. They know that the stream was longer.
func TestJournalTruncatedWhileWorkersRun(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.settle()
	older := r.copyStore()
	r.goOn()
	own := r.putStore(older)
	r.begins() // until here workers may have been connected
	r.stopped(r.trouble, "it ends at sequence", "the journal went backwards")
	r.startedInVain("it ends at sequence", "it holds another event")
	r.rightFilesAgain(own)
}

// NATS is put back to how it was some refunds ago while no worker runs. Redis knows that the stream was longer.
func TestJournalTruncatedWhileNoWorkerRuns(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.settle()
	older := r.copyStore()
	r.goOn()
	r.settle()
	r.endWorkers()
	r.stop = r.load.trickle(commandEvery)
	own := r.putStore(older)
	r.startedInVain("it ends at sequence")
	r.rightFilesAgain(own)
}

// NATS is put back to how it was some refunds ago, and by the time that workers look the stream is longer than ever:
// with other events.
func TestJournalTruncatedAndRefilled(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(nil)
	r.settle()
	older := r.copyStore()
	r.goOn()
	r.settle()
	r.endWorkers()
	r.stop = r.load.trickle(commandEvery)
	was, err := stateOf(r.load.js, schemas.StreamJournal)
	if err != nil {
		t.Fatal(err)
	}
	own := r.putStore(older)
	r.refill(was.LastSeq + someRefunds)
	r.startedInVain("it holds another event at the projection's position")
	r.rightFilesAgain(own)
}

// refill journals refunds that nobody asked for until the event stream has grown to a sequence.
func (r *outage) refill(to uint64) {
	r.t.Helper()
	journal := stream.NewJournal(r.load.js, schemas.Subjects{})
	for i := 0; ; i++ {
		e := schemas.NewEvent(schemas.KindFailed, schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("other-%d", i)),
			Provider: instance, Payment: schemas.Payment{Reference: fmt.Sprint(i + 1)}, RequestedAt: time.Now(),
			Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}}, time.Now())
		reissue := false
		e.Reason, e.Reissue, e.FoundBy = schemas.ReasonDeclined, &reissue, schemas.FoundByCall
		stored, err := journal.Append(context.Background(), ledger.Entry{Event: e, ID: e.ID()}, 0)
		if err != nil || stored.Stale {
			r.t.Fatal(stored, err)
		}
		if stored.Seq >= to {
			return
		}
	}
}
