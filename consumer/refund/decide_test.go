package refund

import (
	"errors"
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var testRules = Rules{Capabilities: providers.Capabilities{Lookup: true, LookupDelay: 10 * time.Second}, Timeout: 20 * time.Second,
	LeaseMargin: 30 * time.Second, RecordGrace: 2 * time.Minute, Accept: 30 * day, MaxAttempts: 3, GiveUpAfter: 72 * time.Hour,
	PendingTimeout: 14 * day, RetryAfterMax: time.Minute, SameAmount: true,
	Backoff: Backoff{Initial: time.Second, Max: time.Minute, Multiplier: 2}}

// at is a situation at noon; set changes it.
func at(set ...func(*situation)) situation {
	s := situation{Rules: testRules, claim: Claim{Answer: Taken}, now: noon, asked: noon, arrived: noon, spread: 0.5,
		command: schemas.Command{RequestID: "r", RequestedAt: noon}}
	for _, f := range set {
		f(&s)
	}
	return s
}

// in has a state since some time ago, behind so many attempts whose calls may have left.
func in(k schemas.Kind, ago time.Duration, attempts int) func(*situation) {
	return func(s *situation) {
		first := schemas.NewEvent(schemas.KindDispatched, s.command, noon.Add(-ago))
		s.refund = ledger.Refund{Head: 1, First: &first, State: k, Since: noon.Add(-ago), Attempts: attempts,
			LeaseUntil: noon.Add(-ago)}
		for n := range attempts {
			s.refund.Intents = append(s.refund.Intents, ledger.Intent{Seq: uint64(n + 1), Attempt: n + 1})
		}
	}
}

// clean has Redis say that every attempt up to a sequence surely did nothing.
func clean(seq uint64) func(*situation) {
	return func(s *situation) {
		s.claim.Clean, s.refund.Undone = seq, seq
		for i := range s.refund.Intents {
			s.refund.Intents[i].Clean = s.refund.Intents[i].Seq <= seq
		}
	}
}

func own(seq uint64) func(*situation) { return func(s *situation) { s.own = seq } }
func round(n int) func(*situation)    { return func(s *situation) { s.round = n } }
func since(ago time.Duration) func(*situation) {
	return func(s *situation) { s.arrived = noon.Add(-ago) }
}

func providerError(k providers.Kind, after time.Duration) error {
	return &providers.Error{Kind: k, Op: "refund", Err: errors.New("no"), RetryAfter: after}
}

// What is decided about a call, by what it answered.
func TestDecideCalled(t *testing.T) {
	dispatched := schemas.KindDispatched
	for _, row := range []struct {
		name string
		s    situation
		r    providers.Result
		err  error
		want Decision
	}{
		{"money moved", at(in(dispatched, 0, 1), own(1)), providers.Result{Status: providers.Succeeded}, nil,
			Decision{Kind: schemas.KindSucceeded, FoundBy: schemas.FoundByCall, Then: Ack}},
		{"no answer: the lease runs out, and whoever comes next looks", at(in(dispatched, 0, 1), own(1)), providers.Result{},
			providerError(providers.Unknown, 0), Decision{Then: Later, Delay: time.Second, Round: 1}},
		{"not reached: nothing is counted, the wait grows by rounds", at(in(dispatched, 0, 1), own(1), round(3)), providers.Result{},
			providerError(providers.Unavailable, 0), Decision{Release: Undo, Clean: 1, Then: Later, Delay: 8 * time.Second, Round: 4}},
		{"not reached, and an earlier attempt is in doubt: that stays so", at(in(dispatched, 0, 2), own(2)), providers.Result{},
			providerError(providers.Unavailable, 0), Decision{Release: Undo, Then: Later, Delay: scheduleFloor, Round: 1}},
		{"asked to wait, up to a bound", at(in(dispatched, 0, 1), own(1)), providers.Result{},
			providerError(providers.RateLimited, time.Hour), Decision{Release: Undo, Clean: 1, Then: Later, Delay: time.Minute, Round: 1}},
		{"wrong credentials", at(in(dispatched, 0, 1), own(1)), providers.Result{}, providerError(providers.Unauthorized, 0),
			Decision{Release: Undo, Clean: 1, Then: Later, Delay: unauthorizedFloor, Round: 1}},
		{"not reached for three days: a person is asked", at(in(dispatched, 73*time.Hour, 1), own(1), since(73*time.Hour), round(40)),
			providers.Result{}, providerError(providers.Unavailable, 0),
			Decision{Kind: schemas.KindParked, Reason: schemas.ReasonRetriesExhausted, Then: Later, Delay: parkedAgain}},
		{"it can never be taken", at(in(dispatched, 0, 1), own(1)), providers.Result{}, providerError(providers.Invalid, 0),
			Decision{Kind: schemas.KindFailed, Reason: schemas.ReasonDeclined, FoundBy: schemas.FoundByCall, Then: Ack}},
		{"it can never be taken, and an earlier attempt is in doubt", at(in(dispatched, 0, 2), own(2)), providers.Result{},
			providerError(providers.Invalid, 0),
			Decision{Kind: schemas.KindParked, Reason: schemas.ReasonOutcomeUnknown, Then: Later, Delay: parkedAgain}},
		{"not asked at all", at(in(dispatched, 0, 1), own(1)), providers.Result{}, ErrNotAsked,
			Decision{Release: Undo, Clean: 1, Then: Later, Delay: scheduleFloor, Round: 1}},
		{"an adapter that says nothing", at(in(dispatched, 0, 1), own(1)), providers.Result{}, nil,
			Decision{Then: Later, Delay: time.Second, Round: 1}},
	} {
		t.Run(row.name, func(t *testing.T) { same(t, decideCalled(row.s, row.r, row.err), row.want) })
	}
}

// same compares what is done, not the words.
func same(t *testing.T, got, want Decision) {
	t.Helper()
	if got.Kind != want.Kind || got.Reason != want.Reason || got.FoundBy != want.FoundBy || got.Release != want.Release ||
		got.Clean != want.Clean || got.Then != want.Then || got.Delay != want.Delay || got.Round != want.Round {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// Whether another attempt may be made: calls that may have reached the provider count, an outage does not.
func TestDecideAttempt(t *testing.T) {
	past := noon.Add(-time.Second)
	late := func(s *situation) { s.command.NotAfter = &past }
	for _, row := range []struct {
		name   string
		s      situation
		kind   schemas.Kind
		reason schemas.Reason
	}{
		{"the first", at(), "", ""},
		{"forty that surely did nothing, within three days", at(in(schemas.KindDispatched, time.Hour, 40), clean(40)), "", ""},
		{"forty that surely did nothing, for longer", at(in(schemas.KindDispatched, 73*time.Hour, 40), clean(40), since(73*time.Hour),
			round(40)), schemas.KindParked, schemas.ReasonRetriesExhausted},
		{"a thousand that surely did nothing, within three days", at(in(schemas.KindDispatched, time.Hour, maxTried), clean(maxTried)),
			schemas.KindParked, schemas.ReasonRetriesExhausted},
		{"the first, after a long wait in the stream", at(since(200 * time.Hour)), "", ""},
		{"as many as may be, of which one is in doubt", at(in(schemas.KindDispatched, time.Hour, 3)),
			schemas.KindParked, schemas.ReasonOutcomeUnknown},
		{"too late, and nothing was executed", at(late), schemas.KindFailed, schemas.ReasonExpired},
		{"too late, and one is in doubt", at(in(schemas.KindDispatched, time.Hour, 1), late),
			schemas.KindParked, schemas.ReasonOutcomeUnknown},
	} {
		if d, done := decideAttempt(row.s); d.Kind != row.kind || d.Reason != row.reason || done != (row.kind != "") {
			t.Errorf("%s: %s(%s) %t, want %s(%s)", row.name, d.Kind, d.Reason, done, row.kind, row.reason)
		}
	}
}

// A command of which nothing is journalled may be old, or its refund's events may have aged out.
func TestDecideOldCommands(t *testing.T) {
	came := func(ago time.Duration) func(*situation) {
		return func(s *situation) { s.arrived, s.command.RequestedAt = noon.Add(-ago), noon.Add(-ago) }
	}
	scheduled := func(s *situation) { s.scheduled = true }
	for _, row := range []struct {
		name   string
		s      situation
		kind   schemas.Kind
		reason schemas.Reason
	}{
		{"young", at(came(testRules.Accept)), "", ""},
		{"too old", at(came(testRules.Accept + time.Second)), schemas.KindRejected, schemas.ReasonTooOld},
		{"young, of a schedule", at(came(testRules.Accept), scheduled), "", ""},
		{"old, of a schedule", at(came(testRules.Accept+time.Second), scheduled), schemas.KindParked, schemas.ReasonOutcomeUnknown},
	} {
		if d, done := decideState(row.s); d.Kind != row.kind || d.Reason != row.reason || done != (row.kind != "") {
			t.Errorf("%s: %s(%s) %t, want %s(%s)", row.name, d.Kind, d.Reason, done, row.kind, row.reason)
		}
	}
}

// What a payment has no room for waits, fails or is rejected.
func TestDecideRoom(t *testing.T) {
	doubted := at(in(schemas.KindDispatched, time.Hour, 1))
	for _, row := range []struct {
		name   string
		s      situation
		room   Room
		kind   schemas.Kind
		reason schemas.Reason
		then   Disposition
		done   bool
	}{
		{"it fits", at(), Room{Verdict: ledger.Fits}, "", "", Nak, false},
		{"others are at work", at(), Room{Verdict: ledger.Held}, "", "", Later, true},
		{"the same amount is in doubt", at(), Room{Verdict: ledger.Fits, Rival: "other"}, "", "", Later, true},
		{"there is less left", at(), Room{Verdict: ledger.Exceeds}, schemas.KindFailed, schemas.ReasonExceedsRemaining, Ack, true},
		{"less left, by its own money maybe", doubted, Room{Verdict: ledger.Exceeds}, "", "", Later, true},
		{"another captured amount was named", at(), Room{Verdict: ledger.Contradicts}, schemas.KindRejected, schemas.ReasonInvalid, Terminate, true},
		{"the one refund ever was made", at(), Room{Verdict: ledger.Fits, Spent: true}, schemas.KindFailed, schemas.ReasonAlreadyRefunded, Ack, true},
		{"the one refund ever was made, by this one maybe", doubted, Room{Spent: true}, "", "", Later, true},
	} {
		d, done := decideRoom(row.s, row.room)
		if d.Kind != row.kind || d.Reason != row.reason || d.Then != row.then || done != row.done {
			t.Errorf("%s: %+v %t, want %s(%s) %s %t", row.name, d, done, row.kind, row.reason, row.then, row.done)
		}
	}
}

// Looks stand at fixed times, whoever asks and however often.
func TestNextLook(t *testing.T) {
	for ago, want := range map[time.Duration]time.Duration{0: time.Minute, 59 * time.Second: time.Second, time.Minute: 4 * time.Minute,
		20 * time.Minute: 40 * time.Minute, 90 * time.Minute: 30 * time.Minute, 30 * time.Hour: 18 * time.Hour, -time.Hour: time.Minute} {
		if got := nextLook(noon.Add(-ago), noon); got != want {
			t.Errorf("%s after it began: %s, want %s", ago, got, want)
		}
	}
}

// A person's word that nothing moved waits for calls that may still be on their way.
func TestDecideRuling(t *testing.T) {
	parked := ledger.Refund{State: schemas.KindParked, LeaseUntil: noon}
	var early *TooEarlyError
	if err := decideRuling(Ruling{As: schemas.KindResumed}, parked, noon.Add(arrived-1)); !errors.As(err, &early) || !early.Until.Equal(noon.Add(arrived)) {
		t.Errorf("right after the lease: %v, want too early", err)
	}
	if err := decideRuling(Ruling{As: schemas.KindSucceeded}, parked, noon); err != nil {
		t.Errorf("that money moved: %v, want it taken at once", err)
	}
	if err := decideRuling(Ruling{As: schemas.KindFailed}, parked, noon.Add(arrived)); err != nil {
		t.Errorf("later: %v, want it taken", err)
	}
	if err := decideRuling(Ruling{As: schemas.KindFailed}, ledger.Refund{State: schemas.KindDispatched}, noon); err != ErrNotParked {
		t.Errorf("of a refund that is not parked: %v, want %v", err, ErrNotParked)
	}
}
