package idempotency

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Two workers take refunds of two payments, of which about half do not fit, each of their steps between any steps of the
// other, with crashes anywhere, lost replies, results that come later, reversals and operators, while Redis is lost or
// falls back. No payment is refunded above what was captured, every verdict is true of the journal as of which it was
// given, and once everything runs to quiet, each refund has its outcome or was refused.
func TestMachineOfTheGuardRefundsNoPaymentTwice(t *testing.T) {
	t.Parallel()
	for _, kind := range []ledger.HoldKind{ledger.ShareHold, ledger.SoleHold} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				onFakeGround(t, func(t *rapid.T, g *ground) {
					w := newGuardWorld(t, g, kind, drawGuardRefunds(t))
					defer w.close()
					t.Repeat(w.actions())
					w.quiet(t)
				})
			})
		})
	}
}

// guardRefund is what a command says.
type guardRefund struct {
	id        schemas.RequestID
	reference string
	amount    schemas.Money
	captured  *schemas.Money
}

func drawGuardRefunds(t *rapid.T) []guardRefund {
	refunds := make([]guardRefund, 4)
	for i := range refunds {
		refunds[i] = guardRefund{id: requestID(i),
			reference: rapid.SampledFrom([]string{"4922", "4922", "771"}).Draw(t, "payment"),
			amount:    *hkd(rapid.Int64Range(2, 8).Draw(t, "amount")),
			captured:  hkd(rapid.SampledFrom([]int64{10, 10, 10, 10, 6}).Draw(t, "captured"))}
	}
	return refunds
}

// guardWorld is one journal, one Redis, one provider and two workers.
type guardWorld struct {
	*protocol
	kind    ledger.HoldKind
	kept    guardRules
	refunds []guardRefund
	hands   []*guardWorker
	// moved is what the provider has paid out of each refund, back what came back of it; pending are those that it has
	// taken on.
	moved, back map[schemas.RequestID]int64
	pending     map[schemas.RequestID]bool
	// refused are those whose command was rejected.
	refused map[schemas.RequestID]bool
}

func newGuardWorld(t fails, g *ground, kind ledger.HoldKind, refunds []guardRefund) *guardWorld {
	w := &guardWorld{protocol: newProtocol(t, g, looksUp, allRules), kind: kind, kept: allGuardRules, refunds: refunds,
		moved: map[schemas.RequestID]int64{}, back: map[schemas.RequestID]int64{}, pending: map[schemas.RequestID]bool{},
		refused: map[schemas.RequestID]bool{}}
	for i := range 2 {
		w.hands = append(w.hands, &guardWorker{protocolWorker: w.workers[i], world: w})
	}
	return w
}

func (w *guardWorld) actions() map[string]func(*rapid.T) {
	hand := func(t *rapid.T) *guardWorker {
		return w.hands[rapid.IntRange(0, len(w.hands)-1).Draw(t, "worker")]
	}
	refund := func(t *rapid.T) guardRefund { return rapid.SampledFrom(w.refunds).Draw(t, "refund") }
	act := func(t *rapid.T) { hand(t).act(t, refund(t), drawGuardChoice(t)) }
	run := func(t *rapid.T) { hand(t).runUp(t, refund(t), drawGuardChoice(t)) }
	until := func(t *rapid.T) {
		step := rapid.SampledFrom([]guardStep{guardIntends, guardCalls, ""}).Draw(t, "until")
		hand(t).run(t, refund(t), drawGuardChoice(t), step)
	}
	up := func(t *rapid.T) { w.up(t) }
	return map[string]func(*rapid.T){
		"":            func(t *rapid.T) { w.holds(t) },
		"act":         act,
		"act again":   act,
		"act further": act,
		"run":         run,
		"run another": run,
		"run until":   until,
		"crash":       func(t *rapid.T) { hand(t).job = nil },
		"project": func(t *rapid.T) {
			w.workers[rapid.IntRange(0, 2).Draw(t, "worker")].project(rapid.IntRange(0, 3).Draw(t, "events"))
		},
		"up":      up,
		"stay up": up,
		"pass": func(t *rapid.T) {
			w.pass(t, rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 51 * time.Second,
				2 * time.Minute}).Draw(t, "time"))
		},
		"provider": func(t *rapid.T) { w.result(t, refund(t), rapid.Bool().Draw(t, "paid")) },
		"operator": func(t *rapid.T) { w.operator(t, refund(t), rapid.Bool().Draw(t, "resume")) },
		"reverse":  func(t *rapid.T) { w.reverse(refund(t)) },
		"copy":     func(t *rapid.T) { w.copied = w.g.keys(t, "") },
		"go back":  func(t *rapid.T) { w.protocol.back(t) },
		"flush":    func(t *rapid.T) { w.g.put(t, nil) },
		"lose":     func(t *rapid.T) { w.g.lose(t, w.workers[0].store.tag(rapid.IntRange(0, 1).Draw(t, "partition"))) },
	}
}

// paidOut is what the provider has paid out of a payment, but for what came back.
func (w *guardWorld) paidOut(reference string) int64 {
	sum := int64(0)
	for _, r := range w.refunds {
		if r.reference == reference {
			sum += w.moved[r.id] - w.back[r.id]
		}
	}
	return sum
}

// gross is what the provider has ever paid out of a payment.
func (w *guardWorld) gross(reference string) int64 {
	sum := int64(0)
	for _, r := range w.refunds {
		if r.reference == reference {
			sum += w.moved[r.id]
		}
	}
	return sum
}

// result has the provider decide a refund that it took on, and tell so.
func (w *guardWorld) result(t fails, r guardRefund, paid bool) {
	if !w.pending[r.id] {
		return
	}
	delete(w.pending, r.id)
	kind := schemas.KindFailed
	if paid {
		kind, w.moved[r.id] = schemas.KindSucceeded, r.amount.Micros
	}
	w.outcome(t, r, kind)
}

// outcome journals one as a notice or an operator does.
func (w *guardWorld) outcome(t fails, r guardRefund, kind schemas.Kind) {
	before, outcomes := w.journal.state(r.id)
	if outcomes > 0 {
		return
	}
	seq, duplicate := w.journal.publish(w.about(r, kind, attempt(1)), before.last)
	if duplicate && w.journal.entries[seq-1].Event.Kind != kind {
		t.Fatalf("%s of %s contradicts event %d", kind, r.id, seq)
	}
}

// operator decides a parked refund that nobody has in hand, truly.
func (w *guardWorld) operator(t fails, r guardRefund, resume bool) {
	inHand := slices.ContainsFunc(w.hands, func(h *guardWorker) bool { return h.job != nil && h.job.refund.id == r.id })
	switch before, _ := w.journal.state(r.id); {
	case before.state != schemas.KindParked || inHand || w.pending[r.id]:
	case w.moved[r.id] > 0:
		w.outcome(t, r, schemas.KindSucceeded)
	case resume:
		w.journal.publish(w.about(r, schemas.KindResumed, number(len(w.journal.entries))), before.last)
	default:
		w.outcome(t, r, schemas.KindFailed)
	}
}

// reverse has a unit of a succeeded refund come back.
func (w *guardWorld) reverse(r guardRefund) {
	before, _ := w.journal.state(r.id)
	if before.state != schemas.KindSucceeded || w.back[r.id]+hkd(1).Micros > w.moved[r.id] {
		return
	}
	w.back[r.id] += hkd(1).Micros
	e := w.about(r, schemas.KindReversed)
	total := schemas.Money{Micros: w.back[r.id], Currency: "HKD"}
	e.Event.Reversal = &schemas.Reversal{NoticeID: newToken(), Amount: *hkd(1), Total: total}
	w.journal.publish(e, before.last)
}

// about is an event of a refund.
func (w *guardWorld) about(r guardRefund, kind schemas.Kind, set ...func(*ledger.Entry)) ledger.Entry {
	return event(r.id, kind, append(set, func(e *ledger.Entry) {
		e.Event.Amount, e.Event.Payment = &r.amount, &schemas.Payment{Reference: r.reference, Amount: r.captured}
	})...)
}

// holds are the promises.
func (w *guardWorld) holds(t fails) {
	said := foldModel(w.journal.entries)
	for _, r := range w.refunds {
		if p := said.payments[r.reference]; p.captured != 0 && w.paidOut(r.reference) > p.captured {
			t.Fatalf("payment %s is refunded by %d of %d", r.reference, w.paidOut(r.reference), p.captured)
		}
		record, outcomes := w.journal.state(r.id)
		switch {
		case outcomes > 1:
			t.Fatalf("%s has %d outcomes", r.id, outcomes)
		case record.state == schemas.KindFailed && w.moved[r.id] > 0:
			t.Fatalf("%s failed, and money moved", r.id)
		case record.state == schemas.KindSucceeded && w.moved[r.id] == 0:
			t.Fatalf("%s succeeded, and no money moved", r.id)
		}
	}
}

// wasRefused tells whether a refund's command was rejected and nothing else was ever done for it. A worker that had
// claimed it before may go on.
func (w *guardWorld) wasRefused(id schemas.RequestID) bool {
	record, _ := w.journal.state(id)
	return w.refused[id] && record.last == 0
}

// quiet lets everything go well from here on, until every refund is settled.
func (w *guardWorld) quiet(t fails) {
	open := func(r guardRefund) bool {
		_, outcomes := w.journal.state(r.id)
		return outcomes == 0 && !w.wasRefused(r.id)
	}
	for range 100 {
		if !slices.ContainsFunc(w.refunds, open) {
			break
		}
		w.pass(t, 61*time.Second)
		w.up(t)
		for i, r := range w.refunds {
			h := w.hands[i%len(w.hands)]
			h.job = nil
			for range 3 { // an intent is waited for
				h.run(t, r, guardChoice{effect: paid}, "")
				w.up(t)
			}
			w.result(t, r, true)
			w.operator(t, r, false)
			w.holds(t)
		}
	}
	for _, r := range w.refunds {
		if open(r) {
			state, _ := w.journal.state(r.id)
			t.Fatalf("%s is forgotten: %+v", r.id, state)
		}
	}
}

// lookAt is a payment as a worker sees it: by the store while all rules are kept.
func (w *guardWorld) lookAt(t fails, store *Store, r guardRefund) (guardSeen, bool) {
	look, err := store.LookPayment(context.Background(), "bank", r.reference)
	if err != nil {
		return guardSeen{}, false // nothing is known now
	}
	asked := ledger.Asked{ID: r.id, Amount: r.amount, Captured: r.captured, Sole: w.kind == ledger.SoleHold}
	said := w.kept.fold(w.journal.entries[:look.At], time.Now()).payments[r.reference]
	seen := guardSeen{at: look.At, holds: slices.Contains(said.holders, r.id), verdict: said.verdict(asked)}
	if w.kept != allGuardRules {
		return seen, true
	}
	if got := look.Judge(asked); got != seen.verdict || look.Holds(r.id) != seen.holds {
		t.Fatalf("%s at %d: %s, holds %t; want %s, %t of %+v", r.id, look.At, got, look.Holds(r.id), seen.verdict,
			seen.holds, said)
	}
	return seen, true
}
