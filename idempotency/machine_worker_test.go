package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"refundworker/schemas"
)

// rules are those that keep money from moving twice. Each can be dropped, to see that it is needed.
type rules struct {
	fence           bool // an intent whose id is taken by another token stops the attempt
	tokenPerClaim   bool
	attemptOfClaim  bool // the attempt's number is the claim's answer, never read again
	missingPos      bool // no claim without a position
	floor           bool // no claim below the highest position seen
	lagBound        bool
	leaseInEvent    bool // an intent carries its lease
	ownDeadline     bool
	releaseInLease  bool
	lookUpInDoubt   bool
	doubtAboutEvery bool // an attempt that did nothing clears no earlier one
}

var allRules = rules{true, true, true, true, true, true, true, true, true, true, true}

// step is what a worker does next with what it has in hand.
type step string

const (
	toClaim   step = "claim"
	toResolve step = "resolve"
	toCheck   step = "check"
	toIntend  step = "intend"
	toCall    step = "call"
	toRecord  step = "record"
	toRelease step = "release"
	end       step = "" // nothing is left to do
)

// job is one delivery of a command in a worker's hands.
type job struct {
	step  step
	id    schemas.RequestID
	claim Claim
	// unsettledAt is when the refund was last known to be unsettled; previous its last event known.
	unsettledAt time.Time
	previous    uint64
	chain       chain
	key         string
	attempt     int
	cleared     bool
	outcome     schemas.Kind // what is to be recorded
	checked     time.Time    // when the intent was written down, to be stored
	intended    bool
}

// protocolWorker is one worker, a step at a time, around a real store.
type protocolWorker struct {
	world     *protocol
	store     *Store
	projector *Projector
	leading   bool
	job       *job
}

func (p *protocol) newWorker(t fails) *protocolWorker {
	store, err := New(p.g.rdb, Config{Namespace: "protocol", Partitions: 2, Volatile: true})
	if err != nil {
		t.Fatalf("new store: %v", err)
	}
	if !p.rules.lagBound {
		store.gate.cfg.LagBound = 1000 * time.Hour
	}
	return &protocolWorker{world: p, store: store, projector: store.NewProjector(p.journal, slog.New(slog.DiscardHandler))}
}

// choice is what the world does with one step.
type choice struct {
	// lost: the step has its effect, and its reply is lost.
	lost   bool
	effect effect
	// late is how long after the lease's end an effect comes that comes late; shows how long the bank hides it.
	late, shows time.Duration
}

// take begins with a command that was delivered.
func (w *protocolWorker) take(id schemas.RequestID) {
	if w.job == nil {
		w.job = &job{step: toClaim, id: id}
	}
}

// crash forgets what is in hand; the command is delivered again.
func (w *protocolWorker) crash() { w.job = nil }

// act does the next step.
func (w *protocolWorker) act(t fails, c choice) {
	if w.job == nil {
		return
	}
	switch w.job.step {
	case toClaim:
		w.claim(t, c)
	case toResolve:
		w.resolve()
	case toCheck:
		w.check()
	case toIntend:
		w.intend(c)
	case toCall:
		w.call(c)
	case toRecord:
		w.record(t, c)
	case toRelease:
		w.release(t)
	}
}

// run goes on up to a step, or until nothing is in hand, or a step cannot be done now.
func (w *protocolWorker) run(t fails, until step, next func() choice) {
	for w.job != nil && w.job.step != until {
		before := w.job.step
		if w.act(t, next()); w.job != nil && w.job.step == before {
			return
		}
	}
}

func (w *protocolWorker) claim(t fails, c choice) {
	j := w.job
	j.unsettledAt = time.Now()
	claim, err := w.answer(j.id)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	j.claim, j.previous, j.attempt = claim, max(claim.Record.Last, claim.Told), claim.Attempt
	switch {
	case c.lost || !claim.Held() && claim.Answer != Settled:
		w.job = nil
	case claim.Answer == Settled:
		w.world.acked[j.id], w.job = true, nil
	default:
		j.chain = w.world.journal.walk(j.previous)
		j.step = toCheck
		if claim.Answer == Doubt {
			j.step = toResolve
		}
		j.key = w.keyOf(j)
	}
}

// keyOf is the refund's own key, another one after each "not now", and while in doubt the one that is in doubt.
func (w *protocolWorker) keyOf(j *job) string {
	if j.claim.Answer == Doubt && !j.cleared && j.chain.key != "" {
		return j.chain.key
	}
	return fmt.Sprintf("%s:r%d", j.id, j.claim.Record.Deferrals)
}

// resolve ends doubt, where something can end it.
func (w *protocolWorker) resolve() {
	j := w.job
	now := j.claim.RedisTime.Add(time.Since(j.claim.Answered))
	conclusive := j.chain.leaseUntil.Add(lateMargin + bankShows)
	if !w.world.rules.leaseInEvent {
		conclusive = j.claim.RedisTime // the lease is not known any more
	}
	j.step = toCheck
	switch bank := w.world.bank; {
	case !w.world.rules.lookUpInDoubt:
	case bank.kind == looksUp && bank.find(j.id):
		j.step, j.outcome = toRecord, schemas.KindSucceeded
	case bank.kind == looksUp && now.Before(conclusive):
		j.step = toRelease
	case bank.kind == looksUp:
		j.cleared = true
		j.key = w.keyOf(j)
	case bank.kind == neither || now.After(j.chain.keySince.Add(bankKeyLife-bankLease)):
		j.step, j.outcome = toRecord, schemas.KindParked
	}
}

// fits tells whether a call that starts now ends inside the lease, by the worker's own clock.
func (w *protocolWorker) fits() bool {
	return !w.world.rules.ownDeadline || time.Now().Before(w.job.claim.Deadline.Add(-bankTimeout-bankMargin))
}

// check is the look at the own deadline before the intent, which is stored in a step of its own.
func (w *protocolWorker) check() {
	w.job.step, w.job.checked = toIntend, time.Now()
	if !w.fits() {
		w.job.step = toRelease
	}
}

// intend journals the intent. A reply that is lost has it sent again while there is time.
func (w *protocolWorker) intend(c choice) {
	j := w.job
	if !w.world.rules.attemptOfClaim && !j.intended {
		r, _, err := w.store.Read(context.Background(), j.id)
		if err != nil {
			w.job = nil // there is no position to read at
			return
		}
		j.attempt = r.Attempts + 1
	}
	e := event(j.id, schemas.KindDispatched, attempt(j.attempt), owner(j.claim))
	if w.world.rules.leaseInEvent {
		e.Event.LeaseUntil = &j.claim.Until
	}
	e.Event.IdempotencyKey, e.Event.OccurredAt = j.key, j.checked
	seq, duplicate := w.world.journal.publish(e, j.previous)
	if c.lost {
		if j.intended = true; !w.fits() {
			w.job = nil // it may be stored, so nothing is released
		}
		return
	}
	if duplicate && w.world.journal.entries[seq-1].Owner != j.claim.Token && w.world.rules.fence {
		w.job = nil // the attempt is taken
		return
	}
	w.store.gate.Saw(seq)
	j.previous, j.step, j.intended = seq, toCall, true
}

// call is the last look at deadline and gate, and the call.
func (w *protocolWorker) call(c choice) {
	j := w.job
	if !w.fits() || !w.lets() {
		j.step = toRelease
		return
	}
	got := w.world.bank.call(bankCall{id: j.id, key: j.key, effect: c.effect, shows: c.shows,
		late: j.claim.Until.Add(c.late)})
	j.step = toRecord
	switch got {
	case paid:
		j.outcome = schemas.KindSucceeded
	case declined:
		j.outcome = schemas.KindFailed
	case notNow:
		j.outcome = schemas.KindDeferred
	case unavailable:
		j.step = toRelease
	default:
		w.job = nil // unknown: nothing is released, whoever claims next looks up
	}
}

// record journals what happened, until it is stored or the delivery is given back.
func (w *protocolWorker) record(t fails, c choice) {
	j := w.job
	if j.outcome != schemas.KindSucceeded && time.Now().After(j.claim.Deadline) {
		w.job = nil // another worker may be at it
		return
	}
	if j.outcome.Outcome() && time.Since(j.unsettledAt) >= outcomeFresh && !w.unsettled(t) {
		return
	}
	at := time.Now()
	e := event(j.id, j.outcome, attempt(j.attempt), number(j.chain.parks+1), owner(j.claim), notBefore(at.Add(time.Minute)))
	seq, duplicate := w.world.journal.publish(e, j.previous)
	if c.lost {
		return
	}
	if !duplicate {
		w.store.gate.Saw(seq)
	} else if stored := w.world.journal.entries[seq-1].Event.Kind; j.outcome.Outcome() && stored != j.outcome {
		t.Fatalf("%s of %s contradicts the %s that is journalled", j.outcome, j.id, stored)
	}
	w.world.acked[j.id] = w.world.acked[j.id] || j.outcome.Outcome()
	w.job = nil
}

// unsettled reads the refund again before an outcome that the server would not recognise as a second one.
func (w *protocolWorker) unsettled(t fails) bool {
	j := w.job
	if !w.lets() {
		return false
	}
	at := time.Now()
	read := w.store.Look // which tells when Redis has fallen back
	if w.world.rules != allRules {
		read = w.store.Read
	}
	r, pos, err := read(context.Background(), j.id)
	if err != nil || pos < j.claim.Pos {
		return false
	}
	if r.State.Settled() {
		if r.State != stateAfter[j.outcome] {
			t.Fatalf("%s of %s contradicts the state %q", j.outcome, j.id, r.State)
		}
		w.job = nil
		return false
	}
	j.unsettledAt = at
	return true
}

// release gives the lease back: nothing was journalled under the claim, or its attempt surely did nothing.
func (w *protocolWorker) release(t fails) {
	j := w.job
	w.job = nil
	clean := j.cleared || j.claim.Answer == Fresh || j.claim.Answer == Retry || !w.world.rules.doubtAboutEvery
	clean = clean && j.intended
	if !w.world.rules.releaseInLease {
		w.releaseAnyTime(t, j, clean)
		return
	}
	if !time.Now().Before(j.claim.Deadline) {
		return
	}
	var err error
	if j.intended {
		_, err = w.store.Undo(context.Background(), j.claim, Undone{Clean: clean, Pause: time.Second, Last: j.previous})
	} else {
		_, err = w.store.Abandon(context.Background(), j.claim)
	}
	if err != nil {
		t.Fatalf("release: %v", err)
	}
}
