package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/idempotency"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// Redis is emptied and not built again for as long as it takes. What was made stays made, whoever asks for it again; what is
// bound by nothing is made meanwhile; what names the captured amount of its payment waits, in a message of its own.
func TestWorkGoesOnWithoutTheProjection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	r := f.start()
	before := command("before", "")
	f.publish(before)
	f.eventually("the first is made", func() error { return f.was("before", schemas.KindSucceeded) })

	f.empty()
	emptied := time.Now()
	bound := command("bound", "")
	bound.Payment.Amount = &bound.Amount
	f.publish(bound)
	f.publish(before)
	for n := range 20 {
		f.publish(command(fmt.Sprintf("free-%d", n), ""))
	}
	for n := range 20 {
		f.eventually("it is made without the projection", func() error { return f.was(fmt.Sprintf("free-%d", n), schemas.KindSucceeded) })
	}
	t.Logf("20 refunds are made %s after Redis was emptied", time.Since(emptied).Round(time.Millisecond))
	f.eventually("the bound one waits in a schedule", func() error {
		_, err := f.lastMessage(schemas.StreamRetries, f.subjects.Later(provider, "bound"))
		return err
	})
	f.eventually("no command is left", func() error {
		if n, err := f.count(schemas.StreamCommands); err != nil || n > 0 {
			return fmt.Errorf("%d commands (%v)", n, err)
		}
		return nil
	})
	if reasons := r.worker.Readiness(); !slices.Contains(reasons, string(idempotency.ProjectionMissing)) {
		t.Errorf("the worker says %v, want %s", reasons, idempotency.ProjectionMissing)
	}
	if kinds := f.kindsOf("bound"); len(kinds) > 0 {
		t.Errorf("without its payment's verdict, %v is journalled", kinds)
	}

	f.rebuild()
	f.eventually("the bound one is made", func() error { return f.was("bound", schemas.KindSucceeded) })
	f.quiet()
	if n := len(f.provider.Movements()); n != 22 {
		t.Errorf("%d movements of money, want 22", n)
	}
}

// Some refund has named what was captured of its payment before Redis is emptied. It may bind any other one of the instance,
// which waits: nobody knows.
func TestWhatMayBeBoundWaitsForTheProjection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	r := f.start()
	f.publish(of("p", "first", 100, 60))
	f.eventually("the first is made", func() error { return f.was("first", schemas.KindSucceeded) })
	f.eventually("the worker has seen that", func() error {
		if look, err := r.store.LookVelocity(context.Background(), provider); err != nil || !look.Bound {
			return fmt.Errorf("bound: %t, %v", look.Bound, err)
		}
		return nil
	})
	<-time.After(2 * time.Second) // it looks twice a second

	f.empty()
	f.eventually("the worker notices", func() error {
		if reasons := r.worker.Readiness(); !slices.Contains(reasons, string(idempotency.ProjectionMissing)) {
			return fmt.Errorf("not ready: %v", reasons)
		}
		return nil
	})
	f.waitsForTheVerdict()
}

// waitsForTheVerdict holds that a second refund of 60, of the 100 that the first one named, waits until the projection is built.
func (f *fixture) waitsForTheVerdict() {
	f.t.Helper()
	f.publish(of("p", "second", 0, 60))
	<-time.After(3 * time.Second) // it would have been made by then
	if kinds := f.kindsOf("second"); len(kinds) > 0 {
		f.t.Errorf("without its payment's verdict, %v is journalled", kinds)
	}
	f.rebuild()
	f.quiet()
	f.outcome("second", schemas.KindFailed, schemas.ReasonExceedsRemaining)
	if got := f.moved("p"); got != 60 {
		f.t.Errorf("%d went back of 100, want 60", got)
	}
}

// empty has Redis forget everything, and nobody build it again.
func (f *fixture) empty() {
	f.t.Helper()
	pipe := f.rdb.TxPipeline()
	pipe.FlushAll(context.Background())
	pipe.Set(context.Background(), projectorLease, "somebody who does nothing", 0)
	if _, err := pipe.Exec(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// rebuild lets it be built again.
func (f *fixture) rebuild() {
	f.t.Helper()
	if err := f.rdb.Del(context.Background(), projectorLease).Err(); err != nil {
		f.t.Fatal(err)
	}
}

// projectorLease is where the worker that projects says so.
const projectorLease = "{refunds.5.1:0}:projector"

// A worker starts on a Redis that is older than the first refund that named what was captured. Whether that binds another one is
// not known until the projection has caught up.
func TestWorkerOnAnOlderRedisWaitsForTheProjection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	r := f.start()
	const position = "{refunds.5.1:0}:pos"
	ctx := context.Background()
	older, err := f.rdb.HGetAll(ctx, position).Result()
	if err != nil || len(older) == 0 {
		t.Fatalf("the position: %v, %v", older, err)
	}
	f.publish(of("p", "first", 100, 60))
	f.eventually("the first is made", func() error { return f.was("first", schemas.KindSucceeded) })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	f.empty()
	if err := f.rdb.HSet(ctx, position, older).Err(); err != nil {
		t.Fatal(err)
	}
	f.launch()
	f.waitsForTheVerdict()
}
