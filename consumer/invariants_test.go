package consumer

import (
	"fmt"
	"slices"
	"testing"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// told is what one step heard, and what was decided on it.
type told struct {
	step   string
	s      situation
	result providers.Result
	err    error
	got    Decision
	done   bool
}

// invariants hold whatever was heard. Each reports whether it is broken.
var invariants = []struct {
	rule   string
	broken func(told) bool
}{
	{"an unknown call has no event and keeps its lease", func(c told) bool {
		return c.step == "call" && c.err != nil && providers.KindOf(c.err) == providers.Unknown &&
			(c.got.Kind != "" || c.got.Release != Keep || c.got.Then != Later)
	}},
	{"failed is what a provider said, or expired with nothing executed", func(c told) bool {
		said := c.err == nil && c.result.Status == providers.Declined
		expired := c.got.Reason == schemas.ReasonExpired && c.s.clean()
		return c.got.Kind == schemas.KindFailed && !said && !expired
	}},
	{"what Prepare saw settles nothing that is in doubt", func(c told) bool {
		return c.step == "prepare" && c.got.Kind.Outcome() && !c.s.clean()
	}},
	{"success is what a provider said", func(c told) bool {
		said := c.err == nil && (c.result.Status == providers.Succeeded || c.result.Status == providers.Cancelled)
		return (c.got.Kind == schemas.KindSucceeded || c.got.Kind == schemas.KindCancelled) && !said
	}},
	{"an undo is clean only when every earlier attempt is", func(c told) bool {
		return c.got.Release == UndoClean && !c.s.clean()
	}},
	{"an undo follows a call that surely was not executed", func(c told) bool {
		return (c.got.Release == Undo || c.got.Release == UndoClean) &&
			(c.step != "call" || c.err == nil || !providers.KindOf(c.err).Safe())
	}},
	{"nothing is given back as untouched after a call, nor when something is journalled", func(c told) bool {
		return c.got.Release == Abandon && (c.step == "call" || c.got.Kind != "" && c.got.Kind != schemas.KindRejected)
	}},
	{"nothing open is acknowledged", func(c told) bool {
		return c.done && c.got.Then == Ack && !c.got.Kind.Outcome() && c.s.claim.Answer != idempotency.Settled
	}},
	{"only what is rejected is terminated, and only before anything was journalled for it", func(c told) bool {
		fresh := c.s.claim.Answer == idempotency.Fresh || c.s.claim.Answer == idempotency.Conflict
		return (c.got.Then == Terminate) != (c.got.Kind == schemas.KindRejected) || c.got.Then == Terminate && !fresh
	}},
	{"an open refund that waits does not spin", func(c told) bool {
		return c.done && c.got.Then == Later && c.got.Delay <= 0
	}},
	{"a person is told that nothing moved only when that is sure", func(c told) bool {
		answered := c.err == nil && c.got.Result.Status == providers.NotNow
		return c.got.Reason == schemas.ReasonRetriesExhausted && !c.s.clean() && !answered
	}},
	{"a round is not forgotten: only a schedule carries it", func(c told) bool {
		return c.got.Then == Later && c.got.Round > c.s.round && c.got.Delay < scheduleFloor
	}},
	{"an outcome says who found it", func(c told) bool {
		return c.got.Kind.Outcome() && c.got.FoundBy == ""
	}},
	{"a parked, failed, deferred or rejected event has a reason of its kind", func(c told) bool {
		list := schemas.ReasonsOf(c.got.Kind)
		again := c.s.claim.Answer == idempotency.Parked // takes the reason of the last one
		return len(list) > 0 && !slices.Contains(list, c.got.Reason) && !again
	}},
	{"doubt is ended by a conclusive lookup alone", func(c told) bool {
		return c.step == "lookup" && !c.done && (c.err != nil || c.s.claim.Answer != idempotency.Doubt || c.s.now.Before(c.s.conclusive))
	}},
}

// TestInvariants goes through every claim, answer and error at every number of attempts.
func TestInvariants(t *testing.T) {
	cases := 0
	everySituation(func(s situation) {
		for _, c := range hear(s) {
			cases++
			for _, i := range invariants {
				if i.broken(c) {
					t.Errorf("%s: %s after %s, cleared %t, attempt %d of %d, expired %t: result %+v, error %v: %+v", i.rule, c.step,
						s.claim.Answer, s.cleared, s.claim.Attempt, s.maxAttempts, s.expired(), c.result, c.err, c.got)
				}
			}
		}
	})
	if cases < 10_000 {
		t.Errorf("only %d cases", cases)
	}
}

func everySituation(each func(situation)) {
	for _, a := range append(slices.Clone(idempotency.Answers), "") {
		for _, cleared := range []bool{false, true} {
			for attempt := 1; attempt <= 4; attempt++ {
				for _, late := range []bool{false, true} {
					for _, toldIn := range []func(*situation){neverTells, tellsIn(-1), tellsIn(hour)} {
						s := in(a, number(attempt), toldIn)
						s.cleared = cleared && a == idempotency.Doubt
						if late {
							expiresIn(-1)(&s)
						}
						each(s)
					}
				}
			}
		}
	}
}

var (
	everyResult = []providers.Result{{}, succeeded, cancelled, acknowledged, declined, busy, partial, {Status: 99},
		{Status: providers.NotNow, Reason: schemas.ReasonDayEnd},
		{Status: providers.NotNow, Reason: schemas.ReasonInsufficientBalance}}
	everyError = []error{nil, errReset, fmt.Errorf("wrapped: %w", unknown), unknown, unavailable, rateLimited, greedy,
		invalid, unauthorized, &providers.Error{Kind: 99, Err: errReset}}
	everyFinding = []providers.FindingKind{providers.NoFinding, providers.Found, providers.NotFound, providers.TooEarly,
		providers.Contradiction, 99}
)

// hear has each step that a situation can come to decide on everything that can be heard.
func hear(s situation) []told {
	d, done := decideClaim(s)
	out := []told{{step: "claim", s: s, got: d, done: done}}
	if done {
		return out
	}
	d, done = decideAttempt(s)
	out = append(out, told{step: "attempt", s: s, got: d, done: done})
	d = decideUnasked(s)
	out = append(out, told{step: "no lookup", s: s, got: d, done: true})
	for _, r := range everyResult {
		for _, err := range everyError {
			d, done = decidePrepared(s, r, err)
			out = append(out, told{"prepare", s, r, err, d, done})
			out = append(out, told{"call", s, r, err, decideCalled(s, r, err), true})
			if s.claim.Answer != idempotency.Doubt && s.claim.Answer != idempotency.Pending {
				continue // nothing to look up
			}
			for _, k := range everyFinding {
				heard := r
				if k != providers.Found {
					heard = providers.Result{}
				}
				d, done = decideFound(s, providers.Finding{Kind: k, Result: r}, err)
				out = append(out, told{"lookup", s, heard, err, d, done})
			}
		}
	}
	return out
}

// The zero value must lose nothing: a decision that somebody forgot to fill in gives the delivery back.
func TestZeroDecisionGivesBack(t *testing.T) {
	if d := (Decision{}); d.Then != Nak || d.Release != Keep || d.Kind != "" {
		t.Errorf("the zero decision is %+v, want nak, keep, no event", d)
	}
}
