package idempotency

import (
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// guardRules are those that keep a payment's refunds within what was captured. Each can be dropped, to see that it is
// needed.
type guardRules struct {
	wait         bool // no call before the own intent is applied
	countHolds   bool // what others may still take counts
	keepDoubtful bool // a hold outlives its lease
	keepPending  bool
	keepParked   bool
	lookedAt     bool // what was seen before the intent must still stand
}

var allGuardRules = guardRules{true, true, true, true, true, true}

// fold is what the journal says of payments by now while only these rules are kept.
func (r guardRules) fold(entries []ledger.Entry, now time.Time) *modelFold {
	f := foldModel(nil)
	leases := map[schemas.RequestID]time.Time{}
	forget := func(reference string, now time.Time) {
		if !r.countHolds {
			clear(f.payments[reference].shares)
		}
		if !r.keepDoubtful {
			f.drop(reference, func(holder schemas.RequestID) bool { return leases[holder].Before(now) })
		}
	}
	for _, e := range entries {
		id, kind := e.Event.RequestID, e.Event.Kind
		if e.Hold != nil && !r.lookedAt {
			hold := *e.Hold
			hold.LookedAt, e.Hold = math.MaxUint64, &hold
		}
		if kind == schemas.KindDispatched {
			forget(e.Event.Payment.Reference, e.Event.OccurredAt)
			leases[id] = *e.Event.LeaseUntil
		}
		f.take(e)
		if kind == schemas.KindAcknowledged && !r.keepPending || kind == schemas.KindParked && !r.keepParked {
			f.drop(e.Event.Payment.Reference, func(holder schemas.RequestID) bool { return holder == id })
		}
	}
	for reference := range f.payments {
		forget(reference, now)
	}
	return f
}

// drop takes some of a payment's holds away.
func (f *modelFold) drop(reference string, lost func(schemas.RequestID) bool) {
	p, known := f.payments[reference]
	if !known {
		return
	}
	p.holders = slices.DeleteFunc(slices.Clone(p.holders), lost)
	p.shares = maps.Clone(p.shares)
	maps.DeleteFunc(p.shares, func(id schemas.RequestID, _ int64) bool { return lost(id) })
	f.payments[reference] = p
}

// verdict is what a payment has left for a refund.
func (p modelPayment) verdict(a ledger.Asked) ledger.Verdict {
	switch {
	case slices.Contains(p.holders, a.ID):
		return ledger.Fits
	case p.captured != 0 && a.Captured.Micros != p.captured:
		return ledger.Contradicts
	case p.captured != 0 && p.refunded+a.Amount.Micros > p.captured:
		return ledger.Exceeds
	case p.captured != 0 && p.taken()+a.Amount.Micros > p.captured, a.Sole && len(p.holders) > 0:
		return ledger.Held
	}
	return ledger.Fits
}

// Each rule of the guard is needed: there is a schedule of two refunds of 6 on a payment of 10 in which it is refunded by
// 12, or called for on what does not stand any more, as soon as that one rule is dropped, and not while it holds.
func TestEachGuardRuleIsLoadBearing(t *testing.T) {
	t.Parallel()
	for _, test := range guardRuleTests {
		t.Run(test.name, func(t *testing.T) {
			for _, dropped := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					g, stop := newFakeGround()
					defer stop()
					w := newGuardWorld(t, g, test.kind, []guardRefund{{"r0", "4922", *hkd(test.amount), hkd(10)},
						{"r1", "4922", *hkd(test.amount), hkd(10)}})
					defer w.close()
					if dropped {
						test.drop(&w.kept)
					}
					found := &finding{T: t}
					test.schedule(found, w, w.hands)
					w.holds(found)
					if found.text == "" == dropped {
						t.Errorf("rules %+v: found %q", w.kept, found.text)
					}
				})
			}
		})
	}
}

// finding keeps what a machine finds.
type finding struct {
	*testing.T
	text string
}

func (f *finding) Fatalf(format string, _ ...any) {
	if f.text == "" {
		f.text = format
	}
}

var guardRuleTests = []struct {
	name     string
	kind     ledger.HoldKind
	amount   int64
	drop     func(r *guardRules)
	schedule func(t fails, w *guardWorld, h []*guardWorker)
}{
	{"the wait for the own intent", ledger.ShareHold, 6, func(r *guardRules) { r.wait = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			for i := range h { // both have looked before either intends
				h[i].run(t, w.refunds[i], guardChoice{}, guardIntends)
			}
			for i := range h {
				h[i].run(t, w.refunds[i], guardChoice{effect: paid}, "")
			}
		}},
	{"what others may still take", ledger.ShareHold, 6, func(r *guardRules) { r.countHolds = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			for i := range h {
				h[i].run(t, w.refunds[i], guardChoice{}, guardCalls)
				w.up(t)
			}
			for i := range h {
				h[i].run(t, w.refunds[i], guardChoice{effect: paid}, "")
			}
		}},
	{"the hold in doubt", ledger.ShareHold, 6, func(r *guardRules) { r.keepDoubtful = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			h[0].runUp(t, w.refunds[0], guardChoice{effect: lostPaid})
			w.pass(t, 2*time.Minute)
			h[1].runUp(t, w.refunds[1], guardChoice{effect: paid})
		}},
	{"the hold while pending", ledger.ShareHold, 6, func(r *guardRules) { r.keepPending = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			h[0].runUp(t, w.refunds[0], guardChoice{effect: takenOn})
			w.up(t)
			h[1].runUp(t, w.refunds[1], guardChoice{effect: paid})
			w.result(t, w.refunds[0], true)
		}},
	{"the hold while parked", ledger.ShareHold, 6, func(r *guardRules) { r.keepParked = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			h[0].runUp(t, w.refunds[0], guardChoice{effect: lostPaid})
			w.pass(t, 2*time.Minute)
			h[0].runUp(t, w.refunds[0], guardChoice{park: true})
			w.up(t)
			h[1].runUp(t, w.refunds[1], guardChoice{effect: paid})
		}},
	{"the position that was looked at", ledger.SoleHold, 4, func(r *guardRules) { r.lookedAt = false },
		func(t fails, w *guardWorld, h []*guardWorker) {
			h[1].run(t, w.refunds[1], guardChoice{}, guardIntends)
			h[0].runUp(t, w.refunds[0], guardChoice{effect: paid})
			w.up(t)
			h[1].runUp(t, w.refunds[1], guardChoice{effect: paid})
		}},
}
