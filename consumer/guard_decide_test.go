package consumer

import (
	"testing"
	"time"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// What a look at the payment makes of a refund before anything is journalled for this attempt.
func TestDecideNoRoom(t *testing.T) {
	const exceeding = schemas.ReasonExceedsRemaining
	tests := []struct {
		name    string
		answer  idempotency.Answer
		cleared bool
		verdict ledger.Verdict
		kind    schemas.Kind
		reason  schemas.Reason
		release Release
		then    Disposition
	}{
		{"held", idempotency.Fresh, false, ledger.Held, "", "", Abandon, Later},
		{"held, after attempts that did nothing", idempotency.Retry, false, ledger.Held, "", "", Abandon, Later},
		{"no room", idempotency.Fresh, false, ledger.Exceeds, schemas.KindFailed, exceeding, Keep, Ack},
		{"no room, after attempts that did nothing", idempotency.Retry, false, ledger.Exceeds, schemas.KindFailed, exceeding, Keep, Ack},
		{"no room, and a lookup found nothing", idempotency.Doubt, true, ledger.Exceeds, schemas.KindFailed, exceeding, Keep, Ack},
		{"no room, in doubt", idempotency.Doubt, false, ledger.Exceeds, "", "", Abandon, Later},
		{"another captured amount", idempotency.Fresh, false, ledger.Contradicts, schemas.KindRejected, schemas.ReasonInvalid,
			Abandon, Terminate},
		{"another captured amount, journalled already", idempotency.Retry, false, ledger.Contradicts, schemas.KindFailed,
			exceeding, Keep, Ack},
		{"another captured amount, in doubt", idempotency.Doubt, false, ledger.Contradicts, "", "", Abandon, Later},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := situation{claim: idempotency.Claim{Answer: test.answer}, cleared: test.cleared}
			got := decideNoRoom(s, test.verdict)
			if got.Kind != test.kind || got.Reason != test.reason || got.Release != test.release || got.Then != test.then {
				t.Errorf("got %s(%s), release %d, %s; want %s(%s), %d, %s", got.Kind, got.Reason, got.Release, got.Then,
					test.kind, test.reason, test.release, test.then)
			}
		})
	}
}

// Looks at a payment that others hold come soon at first and then each minute or so, apart from each other. They count as
// rounds only as far as the waits grow.
func TestLooksAtAHeldPayment(t *testing.T) {
	want := []time.Duration{2, 4, 8, 16, 32, 60, 60}
	s := situation{maxAttempts: 12}
	for i, seconds := range want {
		s.spread = 0
		least := heldDelay(s)
		s.spread = 1
		if most := heldDelay(s); least != seconds*time.Second || most != least+least/2 {
			t.Errorf("look %d after %s to %s, want %s and up to half as much again", i, least, most, seconds*time.Second)
		}
		s.round = i + 1
	}
	if got := heldRound(situation{round: 2, maxAttempts: 3}); got != 2 {
		t.Errorf("with 3 attempts it is round %d after 2, want no further one", got)
	}
	if got := heldRound(situation{round: 5, maxAttempts: 12}); got != 5 {
		t.Errorf("after 5 rounds it is round %d, want no further one", got)
	}
	if got := heldRound(situation{round: 9}); got != 9 {
		t.Errorf("after 9 rounds of failed preparations it is round %d, want 9", got)
	}
}
