package idempotency

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// share is what a machine's refund asks for, and of which payment.
type share struct {
	reference string
	micros    int64
}

// drawShares puts the refunds on payments, so that about half of them do not fit beside the others.
func drawShares(t *rapid.T) map[schemas.RequestID]share {
	shares := map[schemas.RequestID]share{}
	for i := range machineRefunds {
		reference := rapid.SampledFrom([]string{"4922", "4922", "4922", "771"}).Draw(t, "payment")
		shares[requestID(i)] = share{reference, rapid.Int64Range(1, 7).Draw(t, "amount") * 1_000_000}
	}
	return shares
}

// machineCaptured is what commands say was captured: mostly the same, where they say it.
var machineCaptured = []*schemas.Money{nil, nil, hkd(10), hkd(10), hkd(10), hkd(6)}

// machinePace is a bound that is passed soon.
var machinePace = ledger.Pace{Bounds: []ledger.Bound{{Window: ledger.MaxWindow, Count: 3}}}

// about puts an event on its refund's payment, and draws what an intent asks of it.
func (m *claimMachine) about(t *rapid.T, e ledger.Entry) ledger.Entry {
	refund := m.shares[e.Event.RequestID]
	e.Event.Amount = &schemas.Money{Micros: refund.micros, Currency: "HKD"}
	e.Event.Payment = &schemas.Payment{Reference: refund.reference}
	if e.Event.Kind != schemas.KindDispatched {
		return e
	}
	e.Event.Payment.Amount = rapid.SampledFrom(machineCaptured).Draw(t, "captured")
	kind := rapid.SampledFrom([]ledger.HoldKind{"", ledger.ShareHold, ledger.ShareHold, ledger.SoleHold}).Draw(t, "hold")
	if kind == "" {
		return e
	}
	e.Hold = &ledger.Hold{Kind: kind, Rules: ledger.GuardRules}
	if kind == ledger.SoleHold {
		e.Hold.LookedAt = uint64(rapid.IntRange(0, len(m.journal.entries)).Draw(t, "looked at"))
	}
	switch rapid.IntRange(0, 4).Draw(t, "pace") {
	case 0:
		e.Hold.Velocity = &ledger.Pace{Exempt: true}
	case 1, 2:
		e.Hold.Velocity = &machinePace
	}
	return e
}

// settleAny journals an outcome or a reversal, legal or not.
func (m *claimMachine) settleAny(t *rapid.T) {
	kind := rapid.SampledFrom([]schemas.Kind{schemas.KindSucceeded, schemas.KindSucceeded, schemas.KindCancelled,
		schemas.KindFailed, schemas.KindReversed}).Draw(t, "kind")
	e := event(drawID(t), kind, attempt(1))
	e.Event.Reversal = &schemas.Reversal{NoticeID: "n", Amount: *hkd(1), Total: *hkd(1)}
	m.add(t, m.about(t, e))
}

// brake journals a stop or a start of the provider, by the right number or another.
func (m *claimMachine) brake(t *rapid.T) {
	kind := rapid.SampledFrom([]schemas.Kind{schemas.KindStopped, schemas.KindStarted}).Draw(t, "kind")
	m.add(t, ledger.Entry{Event: schemas.Event{Kind: kind, Provider: "bank", OccurredAt: time.Now().UTC(),
		N: rapid.IntRange(1, 3).Draw(t, "n")}})
}

// checkPayments holds every payment, and the pace, to the fold of the journal up to where their partition stands.
func (m *claimMachine) checkPayments(t *rapid.T, found map[string]stored) {
	store := m.workers[0].store
	upTo := make([]*modelFold, len(m.model.pos))
	for p, at := range m.model.pos {
		if at != nil {
			upTo[p] = foldModel(m.journal.entries[:*at])
		}
	}
	for _, reference := range []string{"4922", "771"} {
		key, p := store.keys.payment("bank", reference)
		if upTo[p] != nil {
			m.checkPayment(t, reference, found[key], upTo[p].payments[reference])
		}
		delete(found, key)
	}
	key, p := store.keys.velocity("bank")
	if upTo[p] != nil {
		checkPace(t, readVelocity(found[key].hash[velocityField]), upTo[p].pace)
	}
	delete(found, key)
}

func (m *claimMachine) checkPayment(t *rapid.T, reference string, got stored, want modelPayment) {
	if want.seen.IsZero() {
		if got.hash != nil {
			t.Fatalf("payment %s is %q, and nothing was journalled for it", reference, got.hash[paymentField])
		}
		return
	}
	p := readPayment(got.hash[paymentField])
	found := modelPayment{captured: p.Captured.Micros, once: p.Once > 0, ended: p.Ended, shares: map[schemas.RequestID]int64{}}
	for _, r := range p.Refunded {
		found.refunded += r.Amount.Micros
	}
	for _, h := range p.Holds {
		found.holders, found.shares[h.ID] = append(found.holders, h.ID), h.Amount.Micros
	}
	if found.captured != want.captured || found.refunded != want.refunded || found.once != want.once ||
		found.ended != want.ended || !slices.Equal(found.holders, want.holders) || !maps.Equal(found.shares, want.shares) {
		t.Fatalf("payment %s is\n%+v, want\n%+v", reference, found, want)
	}
	if expires := len(want.holders) == 0; got.expires.IsZero() == expires {
		t.Fatalf("payment %s goes at %s, want it to go: %t", reference, got.expires, expires)
	}
}

func checkPace(t *rapid.T, got ledger.Velocity, want modelPace) {
	_, gone, _ := got.Windows[ledger.Window{Currency: "HKD", Length: ledger.MaxWindow}].Within(time.Now(), ledger.MaxWindow)
	found := modelPace{stop: got.Stop, gone: gone, stopped: got.Since != 0, said: got.Said != 0, bound: got.Bound}
	if found != want {
		t.Fatalf("the provider's pace is %+v, want %+v", found, want)
	}
}

// checkOpen holds the list of open refunds to the records: each that has begun and has no outcome is in it.
func (m *claimMachine) checkOpen(t *rapid.T, found map[string]stored) {
	store := m.workers[0].store
	for p := range m.model.pos {
		key := store.keys.open(p)
		if m.model.pos[p] != nil {
			want := map[string]float64{}
			for id, r := range m.model.records {
				if r.last > 0 && !r.settled() && m.partition(id) == p {
					want[openMember("bank", id)] = float64(r.begun.UnixMilli())
				}
			}
			if got := found[key].scores; !maps.Equal(got, want) && len(got)+len(want) > 0 {
				t.Fatalf("open are %v, want %v", got, want)
			}
		}
		delete(found, key)
	}
}
