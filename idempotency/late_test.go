package idempotency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// What a claim tells is as old as its answer, not as its question.
func TestClaimIsAnsweredWhenTheAnswerComes(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		s.stop()
		store := &Store{rdb: rdb, cfg: s.store.cfg, keys: s.store.keys, scripts: newBatcher(rdb), gate: s.store.gate}
		t.Cleanup(store.Close)
		var replied time.Time
		rdb.AddHook(afterPipeline(func() { replied = time.Now() }))
		c, err := store.Claim(t.Context(), "a", fingerprintOf("a"), time.Minute)
		if err != nil || c.Answer != Fresh {
			t.Fatalf("claim: %s, %v; want FRESH", c.Answer, err)
		}
		if replied.IsZero() || c.Answered.Before(replied) {
			t.Errorf("answered at %s, want no earlier than the reply, %s", c.Answered, replied)
		}
		if end := replied.Add(time.Minute); !c.Deadline.Before(end) {
			t.Errorf("the lease ends for its owner at %s, want before %s: it is counted from before the claim was sent",
				c.Deadline, end)
		}
	})
}

// afterPipeline is called when a pipeline's replies are there.
type afterPipeline func()

func (a afterPipeline) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (a afterPipeline) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (a afterPipeline) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		a()
		return err
	}
}

// An event that this version cannot read may be an outcome: the projection stops before it.
func TestUnreadableEventIsNotPassedOver(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
		last := s.add(event("a", schemas.KindDispatched, attempt(1)))
		s.journal.add(ledger.Entry{ID: "a:returned"})
		s.journal.add(event("b", schemas.KindFailed))
		select {
		case err := <-s.failed:
			var wrong *JournalError
			if !errors.As(err, &wrong) || wrong.Position != last {
				t.Errorf("the projector ended with %v, want a JournalError at position %d", err, last)
			}
		case <-time.After(patience):
			t.Error("the projector goes on")
		}
		if _, pos, err := s.store.Read(t.Context(), "a"); err != nil || pos != last {
			t.Errorf("the projection stands at %d, %v; want %d", pos, err, last)
		}
	})
}

// An intent that comes after its own refund's outcome leads to no call. It gets no hold: no outcome would end it, and
// no other refund of the payment could be made.
func TestIntentAfterItsOwnOutcomeHoldsNothing(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := startSystem(t, rdb, newMemoryJournal(), Config{Partitions: 5}).ready()
		p := onPayment("4922")
		intent := func(id schemas.RequestID, n int, lookedAt uint64) uint64 {
			return s.journal.add(event(id, schemas.KindDispatched, attempt(n), p, asksHold(lookedAt)))
		}
		intent("a", 1, 0)
		settled := s.add(event("a", schemas.KindSucceeded, attempt(1), p))
		if late := intent("a", 2, settled); s.holds("a", late) {
			t.Error("a settled refund holds its payment")
		}
		if next := intent("b", 1, settled); !s.holds("b", next) {
			t.Error("the payment is not free for another refund")
		}
		together := []ledger.Entry{event("b", schemas.KindFailed, p), event("b", schemas.KindDispatched, attempt(2), p, asksHold(99))}
		var last uint64
		for _, e := range together { // also when one batch brings both
			last = s.journal.add(e)
		}
		if s.holds("b", last) {
			t.Error("a refund that failed holds its payment")
		}
	})
}
