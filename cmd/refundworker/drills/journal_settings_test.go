package drills

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// Somebody changes a setting that a promise rests on while workers run. They say which, what it must be and how to
// mend it, and do nothing until it is mended.
func TestStreamsChangedWhileWorkersRun(t *testing.T) {
	tests := []struct {
		name   string
		stream string
		change func(*jetstream.StreamConfig)
		says   []string
	}{
		{"old events may be dropped", schemas.StreamJournal, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
			[]string{"discard policy is DiscardOld, want DiscardNew", "nats stream edit REFUND_JOURNAL --discard=new"}},
		{"duplicates are soon forgotten", schemas.StreamJournal, func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
			[]string{"duplicate window is 1m0s, want at least 10m0s", "nats stream edit REFUND_JOURNAL --dupe-window=10m0s"}},
		{"schedules grow too old", schemas.StreamRetries, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
			[]string{"max age is 1h0m0s, want unlimited", "nats stream edit REFUND_RETRIES --max-age=0s"}},
	}
	r := newOutage(t)
	r.begin(nil)
	for _, test := range tests {
		right := r.streamConfig(test.stream)
		wrong := right
		test.change(&wrong)
		r.breaks(func() { r.updateStream(wrong) }, "streams_changed")
		r.until("the log says what is wrong: "+test.name, func() error {
			return r.logs(append(test.says, "streams were changed: no command is worked on until they are mended",
				"stream "+test.stream)...)
		})
		r.silent()
		r.updateStream(right)
		r.over()
		r.made(1)
	}
	r.end()
}

// Nobody can take events out of the journal: the server refuses.
func TestJournalPurgeAndDeleteAreRefused(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	ctx := context.Background()
	stream, err := r.load.js.Stream(ctx, schemas.StreamJournal)
	if err != nil {
		t.Fatal(err)
	}
	for name, take := range map[string]func() error{
		"purge":                  func() error { return stream.Purge(ctx) },
		"purge of a subject":     func() error { return stream.Purge(ctx, jetstream.WithPurgeSubject(schemas.Subjects{}.JournalAll())) },
		"deletion of an event":   func() error { return stream.DeleteMsg(ctx, 1) },
		"secure deletion of one": func() error { return stream.SecureDeleteMsg(ctx, 1) },
	} {
		if err := take(); err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
	state, err := stateOf(r.load.js, schemas.StreamJournal)
	if err != nil {
		t.Fatal(err)
	}
	if state.FirstSeq != 1 || state.NumDeleted != 0 {
		t.Errorf("the stream begins at %d and misses %d events, want 1 and none", state.FirstSeq, state.NumDeleted)
	}
	r.end()
}

// Somebody has events leave the journal after a moment. The workers find them gone, and stop. Started again they
// refuse the setting; with the setting mended the events are still gone, and no worker goes on before the operator has
// settled that.
func TestJournalAgeShortened(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.settle()
	right := r.streamConfig(schemas.StreamJournal)
	short := right
	short.MaxAge, short.Duplicates = time.Second, time.Second
	r.begins()
	r.updateStream(short)
	r.stopped(r.trouble, "were removed before their time")
	for _, w := range r.workers {
		w.start()
	}
	for i, w := range r.workers {
		if code := r.exited(w.process); code != exitUsage {
			t.Errorf("worker %d: exit code %d, want %d", i, code, exitUsage)
		}
		if err := w.says("max age is 1s, want 2160h0m0s", "nats stream edit REFUND_JOURNAL --max-age=2160h0m0s"); err != nil {
			t.Errorf("worker %d %v:\n%s", i, err, w.lastWords())
		}
	}
	r.updateStream(right)
	r.startedInVain("were removed before their time")
	reconciled := r.reconcile()
	r.redis.do("FLUSHALL")
	r.startAgain()
	r.settle()
	r.agreeWithout(reconciled)
}
