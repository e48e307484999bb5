package drills

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

const (
	// storage is what the server may keep in all, before it takes nothing more.
	storage = "max_file_store: 16MB"
	big     = 512 << 10
	small   = 256
	unread  = "this version cannot read event"
)

// A stream of somebody else fills the server's storage while refunds are made. Some have just been made, and their
// outcomes cannot be stored: they are, once there is room again. The workers say that the journal takes nothing.
func TestJournalHasNoRoom(t *testing.T) {
	aboutOneServer(t)
	t.Parallel()
	d := newDrill(t)
	limits := filepath.Join(d.dir, "nats.conf")
	if err := os.WriteFile(limits, []byte("jetstream { "+storage+" }"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &outage{drill: d, nats: d.nats("-c", limits), redis: d.redis()}
	r.load = d.load(d.client(r.nats.url()))
	r.begin(func(settings map[string]any) { // a call outlives the filling
		settings["providers"].([]any)[0].(map[string]any)["timeout"] = "3m"
	})

	var made atomic.Int32
	answer := make(chan struct{})
	d.bank.at(nil, func(operation string) {
		if operation == "refund" {
			made.Add(1)
			<-answer
		}
	})
	r.until("refunds are made and not answered", func() error {
		if n := made.Load(); n < someRefunds {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	r.begins()
	release := r.fill()
	close(answer)
	r.noticed("journal_refuses")
	release()
	d.bank.at(nil, nil)
	r.over()
	r.made(someRefunds)
	r.settle()
	for _, e := range r.load.agree(r.redis.rdb).journal {
		if e.Event.Kind.Outcome() && e.Event.FoundBy != schemas.FoundByCall {
			t.Errorf("%s was found by %s, want every outcome told by the call's own answer", e.ID, e.Event.FoundBy)
		}
	}
}

// fill publishes to a stream of its own until the server's storage is full, and goes on, so that room that others give
// back is taken too, until release, which gives all of it back.
func (r *outage) fill() (release func()) {
	r.t.Helper()
	const name = "ELSEWHERE"
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := r.load.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{"elsewhere"}}); err != nil {
		r.t.Fatal(err)
	}
	publish := func(size int) error {
		_, err := r.load.js.Publish(ctx, "elsewhere", make([]byte, size))
		return err
	}
	var refused *jetstream.APIError
	for _, size := range []int{big, small} {
		var err error
		for err == nil {
			err = publish(size)
		}
		if !errors.As(err, &refused) {
			r.t.Fatal(err)
		}
	}
	var filling sync.WaitGroup
	filling.Go(func() {
		for ctx.Err() == nil {
			_ = publish(small) // refused, as long as there is no room
		}
	})
	release = sync.OnceFunc(func() {
		cancel()
		filling.Wait()
		if err := r.load.js.DeleteStream(context.Background(), name); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(release)
	return release
}

// Somebody publishes an event that this version cannot read. Passed over, it could be an outcome that is paid again:
// every worker stops and says which it is, and stops again however often it is started.
func TestJournalHoldsUnreadableEvent(t *testing.T) {
	r := newOutage(t)
	r.begin(nil)
	r.settle()
	e := schemas.NewEvent(schemas.KindFailed, schemas.Command{RequestID: "later", Provider: instance}, time.Now())
	msg := &nats.Msg{Subject: schemas.Subjects{}.Journal("later"), Data: []byte(`{"kind":"postponed"}`), Header: nats.Header{}}
	for name, value := range e.Headers() { // as a newer version writes what this one does not know
		msg.Header.Set(name, value)
	}
	msg.Header.Set(schemas.HeaderKind, string(e.Kind))
	if _, err := r.load.js.PublishMsg(context.Background(), msg); err != nil {
		t.Fatal(err)
	}
	for i, w := range r.workers {
		if code := r.exited(w.process); code != exitFailed {
			t.Errorf("worker %d: exit code %d, want %d", i, code, exitFailed)
		}
		if err := w.says(unread); err != nil {
			t.Errorf("worker %d %v:\n%s", i, err, w.lastWords())
		}
	}
	r.load.publish(r.load.next(1), 1)
	r.mend = "start a version of the worker that can read it"
	r.startedInVain(unread)
}
