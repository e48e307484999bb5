package idempotency

import (
	"context"
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// guardWorker takes one refund after another through the guard, a step at a time.
type guardWorker struct {
	*protocolWorker
	world *guardWorld
	job   *guardJob
}

// guardStep is what a worker does next.
type guardStep string

const (
	guardClaims  guardStep = "claim"
	guardLooks   guardStep = "look"
	guardIntends guardStep = "intend"
	guardWaits   guardStep = "wait"
	guardCalls   guardStep = "call"
	guardRecords guardStep = "record"
)

// guardJob is one delivery of a command in a worker's hands.
type guardJob struct {
	step    guardStep
	refund  guardRefund
	claim   Claim
	clean   bool // nothing is in doubt
	seen    guardSeen
	paidOut int64 // what the provider says before the intent
	intent  uint64
	hold    ledger.HoldKind
	outcome schemas.Kind
}

// guardSeen is what a worker saw of a payment.
type guardSeen struct {
	at      uint64
	holds   bool
	verdict ledger.Verdict
}

// takenOn is an answer that says: the result comes later.
const takenOn effect = "taken on"

// guardChoice is what the world does with one step.
type guardChoice struct {
	effect effect
	// park: what is in doubt is left to a person.
	park bool
}

func drawGuardChoice(t *rapid.T) guardChoice {
	return guardChoice{rapid.SampledFrom([]effect{paid, paid, declined, notNow, unavailable, lostPaid, lostNothing,
		takenOn}).Draw(t, "effect"), rapid.Bool().Draw(t, "park")}
}

// run goes on to before a step, or until nothing is in hand or can be done now.
func (w *guardWorker) run(t fails, r guardRefund, c guardChoice, until guardStep) {
	w.act(t, r, c)
	for w.job != nil && w.job.step != until {
		before := w.job.step
		if w.act(t, r, c); w.job != nil && w.job.step == before {
			return
		}
	}
}

// runUp is run with everything applied that it waits for.
func (w *guardWorker) runUp(t fails, r guardRefund, c guardChoice) {
	w.world.up(t)
	w.run(t, r, c, guardCalls)
	w.world.up(t)
	w.run(t, r, c, "")
}

// act does the next step of what is in hand, or begins with a refund.
func (w *guardWorker) act(t fails, r guardRefund, c guardChoice) {
	if w.job == nil {
		w.job = &guardJob{step: guardClaims, refund: r}
	}
	switch w.job.step {
	case guardClaims:
		w.claims(t, c)
	case guardLooks:
		w.looks(t)
	case guardIntends:
		w.intends(t)
	case guardWaits:
		w.waits(t)
	case guardCalls:
		w.calls(t, c)
	case guardRecords:
		w.records(t)
	}
}

func (w *guardWorker) claims(t fails, c guardChoice) {
	j := w.job
	claim, err := w.store.Claim(context.Background(), j.refund.id, fingerprintOf(j.refund.id), bankLease)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	j.claim, j.step = claim, guardLooks
	j.clean = claim.Answer == Fresh || claim.Answer == Retry
	moved := w.world.moved[j.refund.id] > 0
	switch {
	case !claim.Held() || w.world.wasRefused(j.refund.id):
		w.job = nil
	case claim.Answer == Pending || w.world.pending[j.refund.id]:
		w.release(t, Undone{}) // the provider tells when it is done
	case claim.Answer == Doubt && c.park:
		j.step, j.outcome = guardRecords, schemas.KindParked
	case claim.Answer == Doubt && moved:
		j.step, j.outcome = guardRecords, schemas.KindSucceeded
	case claim.Answer == Doubt && time.Now().After(w.world.journal.walk(claim.Record.Last).leaseUntil):
		j.clean = true
	case claim.Answer == Doubt:
		w.release(t, Undone{})
	}
}

// looks spares an intent that would be denied, and asks the provider what it has paid out before.
func (w *guardWorker) looks(t fails) {
	j := w.job
	seen, ok := w.world.lookAt(t, w.store, j.refund)
	if !ok {
		w.release(t, Undone{})
		return
	}
	j.seen, j.paidOut, j.step, j.hold = seen, w.world.gross(j.refund.reference), guardIntends, w.world.kind
	switch {
	case seen.verdict == ledger.Contradicts && j.claim.Answer == Fresh:
		w.world.refused[j.refund.id] = true
		w.release(t, Undone{})
	case seen.verdict == ledger.Held:
		w.release(t, Undone{})
	case seen.verdict != ledger.Fits:
		j.hold, j.outcome = ledger.NoHold, schemas.KindFailed
	}
}

// intends journals the intent, which is the fence.
func (w *guardWorker) intends(t fails) {
	j := w.job
	if !w.inTime() {
		w.job = nil
		return
	}
	e := w.world.about(j.refund, schemas.KindDispatched, attempt(j.claim.Attempt), owner(j.claim), leaseUntil(j.claim.Until))
	e.Hold = &ledger.Hold{Kind: j.hold, LookedAt: j.seen.at}
	seq, duplicate := w.world.journal.publish(e, max(j.claim.Record.Last, j.claim.Told))
	if duplicate && w.world.journal.entries[seq-1].Owner != j.claim.Token {
		w.job = nil
		return
	}
	w.store.gate.Saw(seq)
	j.intent = seq
	switch j.step = guardWaits; {
	case j.outcome == schemas.KindFailed:
		j.step = guardRecords
	case !w.world.kept.wait:
		j.step = guardCalls
	}
}

// waits looks whether the own intent is applied, and what became of it.
func (w *guardWorker) waits(t fails) {
	j := w.job
	seen, ok := w.world.lookAt(t, w.store, j.refund)
	switch {
	case !ok || seen.at < j.intent:
	case seen.holds:
		j.step = guardCalls
	case w.settledSince(): // its hold went with its outcome
		w.job = nil
	case seen.verdict == ledger.Exceeds || seen.verdict == ledger.Contradicts:
		j.step, j.outcome = guardRecords, schemas.KindFailed
	default:
		w.release(t, Undone{Clean: j.clean, Pause: time.Second, Last: j.intent})
	}
}

// settledSince tells whether the refund has an outcome by now.
func (w *guardWorker) settledSince() bool {
	_, outcomes := w.world.journal.state(w.job.refund.id)
	return outcomes > 0
}

// calls is the last look at deadline and gate, and the call. A provider that takes one refund of a payment at a time is
// called on what it said before.
func (w *guardWorker) calls(t fails, c guardChoice) {
	j, id := w.job, w.job.refund.id
	if !w.inTime() || w.store.gate.Reason() != Ready {
		w.job = nil
		return
	}
	if now := w.world.gross(j.refund.reference); w.world.kind == ledger.SoleHold && now != j.paidOut {
		t.Fatalf("%s is called for on %d paid out, and by now it is %d", id, j.paidOut, now)
	}
	if w.world.moved[id] > 0 || w.world.pending[id] {
		c.effect = lostNothing // the provider knows it: it is looked up
	}
	j.step = guardRecords
	switch c.effect {
	case paid, lostPaid:
		w.world.moved[id], j.outcome = j.refund.amount.Micros, schemas.KindSucceeded
	case takenOn:
		w.world.pending[id], j.outcome = true, schemas.KindAcknowledged
	case declined:
		j.outcome = schemas.KindFailed
	case notNow:
		j.outcome = schemas.KindDeferred
	case unavailable:
		w.release(t, Undone{Clean: j.clean, Pause: time.Second, Last: j.intent})
	}
	if c.effect == lostPaid || c.effect == lostNothing {
		w.job = nil
	}
}

// records journals what happened.
func (w *guardWorker) records(t fails) {
	j := w.job
	w.job = nil
	late := j.outcome != schemas.KindSucceeded && time.Now().After(j.claim.Deadline)
	if late || time.Since(j.claim.Answered) >= outcomeFresh {
		return
	}
	e := w.world.about(j.refund, j.outcome, attempt(j.claim.Attempt), number(len(w.world.journal.entries)), owner(j.claim),
		notBefore(time.Now().Add(time.Minute)))
	seq, duplicate := w.world.journal.publish(e, max(j.intent, j.claim.Record.Last))
	if kind := w.world.journal.entries[seq-1].Event.Kind; duplicate && j.outcome.Outcome() && kind != j.outcome {
		t.Fatalf("%s of %s contradicts the %s that is journalled", j.outcome, j.refund.id, kind)
	}
	w.store.gate.Saw(seq)
}

// inTime tells whether a call that starts now ends inside the lease.
func (w *guardWorker) inTime() bool {
	return time.Now().Before(w.job.claim.Deadline.Add(-bankTimeout - bankMargin))
}

// release gives the lease back, if it still is this claim's.
func (w *guardWorker) release(t fails, u Undone) {
	claim := w.job.claim
	w.job = nil
	if !time.Now().Before(claim.Deadline) {
		return
	}
	if _, err := w.store.Undo(context.Background(), claim, u); err != nil {
		t.Fatalf("release: %v", err)
	}
}
