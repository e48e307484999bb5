package consumer

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

var (
	noon     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	hour     = time.Hour
	week     = 7 * 24 * time.Hour
	errReset = errors.New("connection reset")
	answer   = &schemas.ProviderResult{Scope: "test", Code: "51"}

	unknown      = &providers.Error{Kind: providers.Unknown, Op: "refund", Err: errReset}
	unavailable  = &providers.Error{Kind: providers.Unavailable, Op: "refund", Err: errReset}
	rateLimited  = &providers.Error{Kind: providers.RateLimited, Op: "refund", Err: errReset, RetryAfter: 40 * time.Second}
	greedy       = &providers.Error{Kind: providers.RateLimited, Op: "refund", Err: errReset, RetryAfter: 9 * time.Hour}
	invalid      = &providers.Error{Kind: providers.Invalid, Op: "refund", Err: errReset, Problems: badOptions}
	unauthorized = &providers.Error{Kind: providers.Unauthorized, Op: "refund", Err: errReset}
	badOptions   = []schemas.Problem{{Pointer: "/options/x", Rule: "unknown field"}}

	succeeded    = providers.Result{Status: providers.Succeeded, ProviderRefundID: "r-1", Raw: answer}
	cancelled    = providers.Result{Status: providers.Cancelled, Raw: answer}
	declined     = providers.Result{Status: providers.Declined, Reason: schemas.ReasonNotRefundable, Raw: answer}
	acknowledged = providers.Result{Status: providers.Acknowledged, ProviderRefundID: "r-1"}
	busy         = providers.Result{Status: providers.NotNow, Reason: schemas.ReasonProviderBusy, After: 90 * time.Second}
	partial      = providers.Result{Status: providers.Partial, Raw: answer}
)

// in is a situation after a claim at noon: attempt 2 of 3, a lease of 30 s, a backoff of 1, 2, 4 s.
func in(a idempotency.Answer, changes ...func(*situation)) situation {
	s := situation{claim: idempotency.Claim{Answer: a, Attempt: 2, Until: noon.Add(30 * time.Second)}, round: 3, now: noon,
		since: noon.Add(-2 * time.Minute), requestedAt: noon.Add(-hour), conclusive: noon.Add(-time.Second), spread: 0.5, maxAttempts: 3, retryAfterMax: hour,
		pendingTimeout: 2 * week, backoff: Backoff{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5}}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func until(d time.Duration) func(*situation) {
	return func(s *situation) { s.claim.Until = noon.Add(d) }
}
func number(n int) func(*situation)         { return func(s *situation) { s.claim.Attempt = n } }
func aged(d time.Duration) func(*situation) { return func(s *situation) { s.since = noon.Add(-d) } }
func tellsIn(d time.Duration) func(*situation) {
	return func(s *situation) { s.conclusive = noon.Add(d) }
}
func expiresIn(d time.Duration) func(*situation) {
	return func(s *situation) { at := noon.Add(d); s.notAfter = &at }
}
func looks(s *situation)          { s.caps.Lookup = true }
func upTo(n int) func(*situation) { return func(s *situation) { s.maxAttempts = n } }
func lookedUp(s *situation)       { s.cleared = true }
func neverTells(s *situation)     { s.conclusive = time.Time{} }

type decider func(situation) (Decision, bool)

func prepared(r providers.Result, err error) decider {
	return func(s situation) (Decision, bool) { return decidePrepared(s, r, err) }
}

func called(r providers.Result, err error) decider {
	return func(s situation) (Decision, bool) { return decideCalled(s, r, err), true }
}

func found(k providers.FindingKind, r providers.Result, err error) decider {
	return func(s situation) (Decision, bool) {
		return decideFound(s, providers.Finding{Kind: k, Result: r, Detail: "seen"}, err)
	}
}

func unasked(s situation) (Decision, bool) { return decideUnasked(s), true }

// row is one rule: what is decided where. goesOn stands for no decision: work on the refund goes on.
type row struct {
	rule   string
	decide decider
	s      situation
	want   Decision
	goesOn bool
}

func TestDecide(t *testing.T) {
	for _, r := range slices.Concat(claimRules, attemptRules, preparedRules, calledRules, resultRules, foundRules) {
		t.Run(r.rule, func(t *testing.T) {
			got, done := r.decide(r.s)
			if done == r.goesOn {
				t.Errorf("decided %t, want %t", done, !r.goesOn)
			}
			if got.Detail == "" && done && got.Kind == "" && got.Then != Ack {
				t.Errorf("%+v does not say why", got)
			}
			got.Detail = "" // words for people, free to change
			if !reflect.DeepEqual(got, r.want) {
				t.Errorf("got  %+v\nwant %+v", got, r.want)
			}
		})
	}
}

var claimRules = []row{
	{"claim: conflict is rejected and buried", decideClaim, in(idempotency.Conflict),
		Decision{Kind: "rejected", Reason: "request_id_conflict", Then: Terminate}, false},
	{"claim: settled is acknowledged", decideClaim, in(idempotency.Settled), Decision{Then: Ack}, false},
	{"claim: busy looks again soon, its lease seldom runs out", decideClaim, in(idempotency.Busy),
		Decision{Then: Later, Delay: busyLook, Round: 3}, false},
	{"claim: busy waits for a short rest of a lease", decideClaim, in(idempotency.Busy, until(3*time.Second)),
		Decision{Then: Later, Delay: 3 * time.Second, Round: 3}, false},
	{"claim: busy, with a lease that has just ended, does not spin", decideClaim, in(idempotency.Busy, until(-time.Second)),
		Decision{Then: Later, Delay: scheduleFloor, Round: 3}, false},
	{"claim: parked waits for its week's end", decideClaim, in(idempotency.Parked, until(50*hour)),
		Decision{Then: Later, Delay: 50 * hour}, false},
	{"claim: parked a week ago is parked again", decideClaim, in(idempotency.Parked, until(0)),
		Decision{Kind: "parked", Then: Later, Delay: week}, false},
	{"claim: deferred waits until it is due", decideClaim, in(idempotency.Wait, until(hour)),
		Decision{Then: Later, Delay: hour}, false},
	{"claim: not ready gives back", decideClaim, in(idempotency.NotReady), Decision{Then: Nak, Delay: notReadyNak, Round: 3}, false},
	{"claim: no answer at all gives back", decideClaim, in(""), Decision{Then: Nak, Delay: notReadyNak, Round: 3}, false},
	{"claim: fresh goes on", decideClaim, in(idempotency.Fresh), Decision{}, true},
	{"claim: retry goes on", decideClaim, in(idempotency.Retry), Decision{}, true},
	{"claim: doubt goes on", decideClaim, in(idempotency.Doubt), Decision{}, true},
	{"claim: pending goes on", decideClaim, in(idempotency.Pending), Decision{}, true},
}

var attemptRules = []row{
	{"attempt: one is left", decideAttempt, in(idempotency.Retry, number(3)), Decision{}, true},
	{"attempt: none is left, nothing moved", decideAttempt, in(idempotency.Retry, number(4)),
		Decision{Kind: "parked", Reason: "retries_exhausted", Then: Later, Delay: week}, false},
	{"attempt: none is left, in doubt", decideAttempt, in(idempotency.Doubt, number(4)),
		Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
	{"attempt: none is left, doubt was ended", decideAttempt, in(idempotency.Doubt, number(4), lookedUp),
		Decision{Kind: "parked", Reason: "retries_exhausted", Then: Later, Delay: week}, false},
	{"attempt: notAfter has come and is not over", decideAttempt, in(idempotency.Fresh, expiresIn(0)), Decision{}, true},
	{"attempt: notAfter is over, nothing moved", decideAttempt, in(idempotency.Fresh, expiresIn(-1)),
		Decision{Kind: "failed", Reason: "expired", FoundBy: "call", Then: Ack}, false},
	{"attempt: notAfter is over, doubt was ended", decideAttempt, in(idempotency.Doubt, expiresIn(-1), lookedUp),
		Decision{Kind: "failed", Reason: "expired", FoundBy: "call", Then: Ack}, false},
	{"attempt: notAfter is over, in doubt: not failed", decideAttempt, in(idempotency.Doubt, expiresIn(-1)),
		Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
	{"attempt: expired and none left is expired", decideAttempt, in(idempotency.Retry, number(4), expiresIn(-1)),
		Decision{Kind: "failed", Reason: "expired", FoundBy: "call", Then: Ack}, false},
}

var preparedRules = []row{
	{"prepare: nothing to say goes on", prepared(providers.Result{}, nil), in(idempotency.Fresh), Decision{}, true},
	{"prepare: nothing to say goes on in doubt, for a call under the same key", prepared(providers.Result{}, nil),
		in(idempotency.Doubt), Decision{}, true},
	{"prepare: refunded before our first attempt is failed", prepared(declined, nil), in(idempotency.Fresh),
		Decision{Kind: "failed", Reason: "not_refundable", FoundBy: "lookup", Result: declined, Then: Ack}, false},
	{"prepare: a change in doubt may be our own doing", prepared(declined, nil), in(idempotency.Doubt),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute}, false},
	{"prepare: a change after a conclusive lookup is not", prepared(declined, nil), in(idempotency.Doubt, lookedUp),
		Decision{Kind: "failed", Reason: "not_refundable", FoundBy: "lookup", Result: declined, Then: Ack}, false},
	{"prepare: not now defers", prepared(busy, nil), in(idempotency.Fresh), Decision{Kind: "deferred",
		Reason: "provider_busy", Result: busy, NotBefore: noon.Add(90 * time.Second), Then: Later, Delay: 90 * time.Second}, false},
	{"prepare: unknown moved nothing: come again", prepared(providers.Result{}, errReset), in(idempotency.Fresh),
		Decision{Release: Abandon, Then: Later, Delay: 8 * time.Second, Round: 4}, false},
	{"prepare: the first failure is counted by a schedule", prepared(providers.Result{}, unavailable),
		in(idempotency.Fresh, func(s *situation) { s.round = 0 }),
		Decision{Release: Abandon, Then: Later, Delay: 2 * time.Second, Round: 1}, false},
	{"prepare: unavailable backs off by rounds", prepared(providers.Result{}, unavailable), in(idempotency.Retry),
		Decision{Release: Abandon, Then: Later, Delay: 8 * time.Second, Round: 4}, false},
	{"prepare: rate limited waits as asked", prepared(providers.Result{}, rateLimited), in(idempotency.Fresh),
		Decision{Release: Abandon, Then: Later, Delay: 40 * time.Second, Round: 4}, false},
	{"prepare: unauthorized never hammers", prepared(providers.Result{}, unauthorized), in(idempotency.Fresh),
		Decision{Release: Abandon, Then: Later, Delay: unauthorizedFloor, Round: 4}, false},
	{"prepare: a new command that cannot be served is rejected", prepared(providers.Result{}, invalid), in(idempotency.Fresh),
		Decision{Kind: "rejected", Reason: "unsupported", Problems: badOptions, Release: Abandon, Then: Terminate}, false},
	{"prepare: a begun refund that cannot be served is parked", prepared(providers.Result{}, invalid), in(idempotency.Retry),
		Decision{Kind: "parked", Reason: "retries_exhausted", Then: Later, Delay: week}, false},
	{"prepare: one in doubt is parked as what it is", prepared(providers.Result{}, invalid), in(idempotency.Doubt),
		Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
}

var calledRules = []row{
	{"call: unknown keeps the lease and comes after it", called(providers.Result{}, unknown), in(idempotency.Fresh),
		Decision{Then: Later, Delay: 31 * time.Second}, false},
	{"call: an unclassified error is unknown", called(providers.Result{}, errReset), in(idempotency.Retry),
		Decision{Then: Later, Delay: 31 * time.Second}, false},
	{"call: unknown at the last attempt is neither failed nor parked yet", called(providers.Result{}, unknown),
		in(idempotency.Retry, number(3)), Decision{Then: Later, Delay: 31 * time.Second}, false},
	{"call: unknown past the lease", called(providers.Result{}, unknown), in(idempotency.Fresh, until(-hour), looks),
		Decision{Then: Later, Delay: time.Second}, false},
	{"call: unknown, and only another call can tell: ever later", called(providers.Result{}, unknown),
		in(idempotency.Doubt, number(8), upTo(12)), Decision{Then: Later, Delay: time.Minute}, false},
	{"call: unknown, and a look can tell: after the lease", called(providers.Result{}, unknown),
		in(idempotency.Doubt, number(8), upTo(12), looks), Decision{Then: Later, Delay: 31 * time.Second}, false},
	{"call: surely not executed, all clean", called(providers.Result{}, unavailable), in(idempotency.Retry),
		Decision{Release: UndoClean, Then: Later, Delay: 2 * time.Second}, false},
	{"call: surely not executed, an earlier one may be", called(providers.Result{}, unavailable), in(idempotency.Doubt),
		Decision{Release: Undo, Then: Later, Delay: 2 * time.Second}, false},
	{"call: surely not executed, the earlier ones neither", called(providers.Result{}, unavailable),
		in(idempotency.Doubt, lookedUp), Decision{Release: UndoClean, Then: Later, Delay: 2 * time.Second}, false},
	{"call: rate limited waits as asked", called(providers.Result{}, rateLimited), in(idempotency.Fresh, number(1)),
		Decision{Release: UndoClean, Then: Later, Delay: 40 * time.Second}, false},
	{"call: what is asked is capped", called(providers.Result{}, greedy), in(idempotency.Fresh, number(1)),
		Decision{Release: UndoClean, Then: Later, Delay: hour}, false},
	{"call: unauthorized never hammers", called(providers.Result{}, unauthorized), in(idempotency.Fresh, number(1)),
		Decision{Release: UndoClean, Then: Later, Delay: unauthorizedFloor}, false},
	{"call: invalid is parked at once", called(providers.Result{}, invalid), in(idempotency.Fresh, number(1)),
		Decision{Kind: "parked", Reason: "retries_exhausted", Then: Later, Delay: week}, false},
	{"call: invalid in doubt", called(providers.Result{}, invalid), in(idempotency.Doubt),
		Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
	{"call: the last attempt was not executed", called(providers.Result{}, unavailable), in(idempotency.Retry, number(3)),
		Decision{Kind: "parked", Reason: "retries_exhausted", Then: Later, Delay: week}, false},
	{"call: the last attempt was not executed, an earlier one may be", called(providers.Result{}, unavailable),
		in(idempotency.Doubt, number(3)), Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
	{"call: neither answer nor error is unknown", called(providers.Result{}, nil), in(idempotency.Fresh),
		Decision{Then: Later, Delay: 31 * time.Second, FoundBy: ""}, false},
}

var resultRules = []row{
	{"result: succeeded", called(succeeded, nil), in(idempotency.Fresh),
		Decision{Kind: "succeeded", FoundBy: "call", Result: succeeded, Then: Ack}, false},
	{"result: cancelled", called(cancelled, nil), in(idempotency.Doubt),
		Decision{Kind: "cancelled", FoundBy: "call", Result: cancelled, Then: Ack}, false},
	{"result: declined is failed", called(declined, nil), in(idempotency.Fresh),
		Decision{Kind: "failed", Reason: "not_refundable", FoundBy: "call", Result: declined, Then: Ack}, false},
	{"result: declined under the key of the attempt in doubt is failed", called(declined, nil), in(idempotency.Doubt),
		Decision{Kind: "failed", Reason: "not_refundable", FoundBy: "call", Result: declined, Then: Ack}, false},
	{"result: acknowledged is followed up", called(acknowledged, nil), in(idempotency.Fresh),
		Decision{Kind: "acknowledged", FoundBy: "call", Result: acknowledged, Then: Later, Delay: time.Minute}, false},
	{"result: not now defers as asked", called(busy, nil), in(idempotency.Fresh), Decision{Kind: "deferred",
		Reason: "provider_busy", Result: busy, NotBefore: noon.Add(90 * time.Second), Then: Later, Delay: 90 * time.Second}, false},
	{"result: not now to the last attempt is parked", called(busy, nil), in(idempotency.Retry, number(3)),
		Decision{Kind: "parked", Reason: "retries_exhausted", Result: busy, Then: Later, Delay: week}, false},
	{"result: partial is parked", called(partial, nil), in(idempotency.Fresh),
		Decision{Kind: "parked", Reason: "partial", Result: partial, Then: Later, Delay: week}, false},
	{"result: one that nobody knows is unknown", called(providers.Result{Status: 99}, nil), in(idempotency.Fresh),
		Decision{Then: Later, Delay: 31 * time.Second}, false},
}

var foundRules = []row{
	{"lookup: found made", found(providers.Found, succeeded, nil), in(idempotency.Doubt),
		Decision{Kind: "succeeded", FoundBy: "lookup", Result: succeeded, Then: Ack}, false},
	{"lookup: found refused", found(providers.Found, declined, nil), in(idempotency.Pending),
		Decision{Kind: "failed", Reason: "not_refundable", FoundBy: "lookup", Result: declined, Then: Ack}, false},
	{"lookup: found in part", found(providers.Found, partial, nil), in(idempotency.Doubt),
		Decision{Kind: "parked", Reason: "partial", Result: partial, Then: Later, Delay: week}, false},
	{"lookup: found pending, in doubt: the provider took it on", found(providers.Found, acknowledged, nil), in(idempotency.Doubt),
		Decision{Kind: "acknowledged", FoundBy: "lookup", Result: acknowledged, Then: Later, Delay: time.Minute}, false},
	{"lookup: found pending, and that was known", found(providers.Found, acknowledged, nil), in(idempotency.Pending),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 4}, false},
	{"lookup: found without an end", found(providers.Found, busy, nil), in(idempotency.Doubt),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 4}, false},
	{"lookup: a contradiction is parked", found(providers.Contradiction, providers.Result{}, nil), in(idempotency.Doubt),
		Decision{Kind: "parked", Reason: "contradiction", Then: Later, Delay: week}, false},
	{"lookup: not found, in time, ends doubt", found(providers.NotFound, providers.Result{}, nil),
		in(idempotency.Doubt, tellsIn(0)), Decision{}, true},
	{"lookup: not found, too soon, ends nothing", found(providers.NotFound, providers.Result{}, nil),
		in(idempotency.Doubt, tellsIn(20*time.Second)),
		Decision{Release: Abandon, Then: Later, Delay: 20 * time.Second, Round: 3}, false},
	{"lookup: not found, where that never tells", found(providers.NotFound, providers.Result{}, nil),
		in(idempotency.Doubt, neverTells), Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 4}, false},
	{"lookup: an acknowledged refund not found is never tried again", found(providers.NotFound, providers.Result{}, nil),
		in(idempotency.Pending), Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 4}, false},
	{"lookup: a contradiction, too soon, may be our own refund", found(providers.Contradiction, providers.Result{}, nil),
		in(idempotency.Doubt, tellsIn(20*time.Second)),
		Decision{Release: Abandon, Then: Later, Delay: 20 * time.Second, Round: 3}, false},
	{"lookup: what was taken on failed for now", found(providers.NotFound, busy, nil), in(idempotency.Pending),
		Decision{Kind: "deferred", Reason: "provider_busy", Result: busy, NotBefore: noon.Add(90 * time.Second), Then: Later,
			Delay: 90 * time.Second}, false},
	{"lookup: not found, because it failed for now, is tried again", found(providers.NotFound, busy, nil), in(idempotency.Doubt),
		Decision{}, true},
	{"lookup: too early waits until it can tell", found(providers.TooEarly, providers.Result{}, nil),
		in(idempotency.Doubt, tellsIn(20*time.Second)),
		Decision{Release: Abandon, Then: Later, Delay: 20 * time.Second, Round: 3}, false},
	{"lookup: no finding is too early", found(providers.NoFinding, providers.Result{}, nil), in(idempotency.Doubt),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 4}, false},
	{"lookup: failing, patience", found(providers.Found, succeeded, unavailable), in(idempotency.Doubt, aged(5*hour)),
		Decision{Release: Abandon, Then: Later, Delay: 19 * hour, Round: 4}, false},
	{"lookup: failing for a week asks a person", found(providers.NoFinding, providers.Result{}, unknown),
		in(idempotency.Doubt, aged(week+1)), Decision{Kind: "parked", Reason: "outcome_unknown", Then: Later, Delay: week}, false},
	{"lookup: pending for a week is usual", found(providers.NoFinding, providers.Result{}, unknown),
		in(idempotency.Pending, aged(week)), Decision{Release: Abandon, Then: Later, Delay: 24 * hour, Round: 4}, false},
	{"lookup: pending for too long asks a person", found(providers.Found, acknowledged, nil),
		in(idempotency.Pending, aged(2*week+1)), Decision{Kind: "parked", Reason: "outcome_overdue", Then: Later, Delay: week}, false},
	{"no lookup yet: a duplicate in doubt comes when it can be told", unasked, in(idempotency.Doubt, tellsIn(20*time.Second)),
		Decision{Release: Abandon, Then: Later, Delay: 20 * time.Second, Round: 3}, false},
	{"no lookup yet: at the latest as patience says", unasked, in(idempotency.Doubt, tellsIn(hour)),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 3}, false},
	{"no lookup yet: a duplicate of a pending refund has time", unasked, in(idempotency.Pending),
		Decision{Release: Abandon, Then: Later, Delay: 3 * time.Minute, Round: 3}, false},
}
