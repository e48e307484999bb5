package explore

import (
	"errors"
	"time"

	"refundworker/consumer/refund"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// wire is a run's side of the ports.
type wire struct {
	sc     *scenario
	refund int8
	send   func(op) (reply, bool)
	now    second
	lease  second // of the last intent
}

type cut struct{}

func (w *wire) call(o op) reply {
	o.refund = w.refund
	r, ok := w.send(o)
	if !ok {
		panic(cut{})
	}
	w.now = r.now
	return r
}

func (r reply) error() error {
	return [...]error{nil, refund.ErrNoAnswer, refund.ErrLost, refund.ErrNotDone, refund.ErrStale}[r.err]
}

func (w *wire) Claim(schemas.RequestID, schemas.Fingerprint, time.Duration) (refund.Claim, error) {
	r := w.call(op{kind: opClaim})
	return refund.Claim{Answer: r.answer, Token: ownerName(r.token), Head: uint64(r.head), Clean: uint64(r.clean),
		Until: (r.now + 2).time()}, r.error()
}

func (w *wire) Release(_ refund.Claim, clean uint64, _ time.Duration) error {
	if clean == 0 { // leases are anybody's here
		return nil
	}
	return w.call(op{kind: opRelease, clean: int16(clean)}).error()
}

func (w *wire) Append(e ledger.Entry, after uint64) (refund.Stored, error) {
	f := factOf(e)
	if f.named() == schemas.KindDispatched {
		w.lease = f.lease
	}
	r := w.call(op{kind: opAppend, fact: f, after: int16(after)})
	return refund.Stored{Seq: uint64(r.seq), Stale: r.stale}, r.error()
}

func (w *wire) Head(schemas.RequestID) (ledger.Entry, error) {
	r := w.call(op{kind: opHead})
	if r.fact.seq == 0 {
		return ledger.Entry{}, r.error()
	}
	return r.fact.entry(), r.error()
}

func (w *wire) Chain(schemas.RequestID) ([]ledger.Entry, error) {
	r := w.call(op{kind: opChain})
	return w.sc.chains.entries[r.chain], r.error()
}

func (w *wire) Note(e ledger.Entry) error { return w.call(op{kind: opNote, fact: factOf(e)}).error() }

func (w *wire) Look(ledger.Asked) (refund.Room, error) {
	if !w.sc.guard {
		return refund.Room{Verdict: ledger.Fits}, nil
	}
	r := w.call(op{kind: opLook})
	return refund.Room{Verdict: r.verdict, Hold: &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules}}, r.error()
}

func (w *wire) Await(_ ledger.Asked, seq uint64, _ time.Time) (refund.Grant, error) {
	r := w.call(op{kind: opAwait, after: int16(seq)})
	return refund.Grant{Since: uint64(r.grant), Sure: true, Verdict: r.verdict}, r.error()
}

func (w *wire) Admit(int, time.Time) error { return nil }

func (w *wire) Prepare(refund.Call) (providers.Baseline, providers.Result, error) {
	if !w.sc.rules.Capabilities.Prepares {
		return nil, providers.Result{}, nil
	}
	result, err := w.call(op{kind: opPrepare}).result.answer()
	return nil, result, err
}

func (w *wire) Refund(c refund.Call) (providers.Result, error) {
	key := factOf(ledger.Entry{Event: schemas.Event{RequestID: c.RequestID, IdempotencyKey: c.IdempotencyKey}}).key
	return w.call(op{kind: opRefund, key: key, attempt: int8(c.Attempt), until: secondOf(c.Until), lease: w.lease}).result.answer()
}

func (w *wire) Lookup(c refund.Call) (providers.Finding, error) {
	return w.call(op{kind: opLookup, until: secondOf(c.Until)}).result.finding()
}

func (w *wire) Standing() (*refund.Carried, error) {
	r := w.call(op{kind: opStanding})
	if r.carried.seq == 0 {
		return nil, r.error()
	}
	c := r.carried
	return &refund.Carried{Seq: uint64(c.seq), Command: commandOf(w.refund, c.content), Arrived: c.arrived.time(),
		Fingerprint: fingerprintOf(w.refund, c.content), Due: c.due.time()}, r.error()
}

func (w *wire) Schedule(s refund.Schedule) error {
	return w.call(op{kind: opSchedule, at: secondOf(s.At), round: int8(min(s.Round, 3)), replaces: int16(s.Replaces),
		keepCopy: s.KeepCopy}).error()
}

func (w *wire) Wake() error { return w.call(op{kind: opWake}).error() }

func (w *wire) Bury(reason schemas.Reason, _ string) error {
	return w.call(op{kind: opBury, words: string(reason)}).error()
}

func (w *wire) BuryStanding(c refund.Carried, reason schemas.Reason, _ string) error {
	content := int8(0)
	if c.Fingerprint != fingerprintOf(w.refund, 0) {
		content = 1
	}
	return w.call(op{kind: opBuryStanding, fact: fact{content: content}, words: string(reason)}).error()
}

func (w *wire) Ack() error { return w.call(op{kind: opAck}).error() }

func (w *wire) Nak(d time.Duration) error {
	return w.call(op{kind: opNak, at: w.now + second((d+time.Second-1)/time.Second)}).error()
}

func (w *wire) Term(schemas.Reason) error { return w.call(op{kind: opTerm}).error() }

func (w *wire) Now() time.Time { return w.now.time() }

// Sleep lets no time pass by itself: time passes whenever it may.
func (w *wire) Sleep(time.Duration) {}

// errUnknown and errNothing are a provider's silence.
var (
	errUnknown = &providers.Error{Kind: providers.Unknown, Op: "refund", Err: errors.New("no answer")}
	errNothing = &providers.Error{Kind: providers.Unavailable, Op: "refund", Err: errors.New("not reached")}
)
