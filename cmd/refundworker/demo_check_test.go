package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// kept is evidence in which every promise held, for stories of its own: a refund and a conflict, and a refund that
// came back in two parts.
func kept() ([]demoCase, evidence) {
	a := author{time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)}
	conflict := a.bbmsl("4922", "a refund and a conflict", simulator.BBMSLSettled).asks("r1", 10_00).asks("r1", 5_00).
		ends(5_00, "succeeded", "rejected request_id_conflict", "dead letter request_id_conflict")
	back := a.card("cap-1", "a refund that came back", simulator.Notice{}).asks("r1", 10_00).
		ends(129_99, "succeeded", "reversed 4.00 CAD", "reversed 6.00 CAD")
	event := func(c demoCase, k schemas.Kind) schemas.Event {
		ten := cents(10_00, c.captured.Currency)
		return schemas.Event{Kind: k, RequestID: c.ids[0], Provider: c.provider, Payment: &schemas.Payment{Reference: c.reference},
			Amount: &ten, Attempt: 1}
	}
	dispatched, succeeded, rejected := event(conflict, schemas.KindDispatched), event(conflict, schemas.KindSucceeded), event(conflict, schemas.KindRejected)
	succeeded.ProviderRefundID, rejected.Reason = "9", schemas.ReasonRequestIDConflict
	made, first, second := event(back, schemas.KindSucceeded), event(back, schemas.KindReversed), event(back, schemas.KindReversed)
	made.ProviderRefundID = "S-1"
	first.Reversal = &schemas.Reversal{NoticeID: "n1", Amount: cents(4_00, "CAD"), Total: cents(4_00, "CAD")}
	second.Reversal = &schemas.Reversal{NoticeID: "n2", Amount: cents(6_00, "CAD"), Total: cents(10_00, "CAD")}
	moved := func(e schemas.Event, k simulator.MovementKind, amount schemas.Money, id string) simulator.Movement {
		return simulator.Movement{Type: simulatedAs(e.Provider), Reference: e.Payment.Reference, Kind: k, Amount: amount, ProviderRefundID: id}
	}
	return []demoCase{conflict, back}, evidence{
		events: []schemas.Event{dispatched, succeeded, rejected, made, first, second},
		dead:   []deadLetter{{reason: "request_id_conflict", detail: "other content", body: conflict.bodies[1]}},
		ledger: []simulator.Movement{
			moved(succeeded, simulator.MovementRefund, cents(10_00, "HKD"), "9"),
			moved(made, simulator.MovementRefund, cents(10_00, "CAD"), "S-1"),
			moved(first, simulator.MovementReversal, cents(4_00, "CAD"), "S-1"),
			moved(second, simulator.MovementReversal, cents(6_00, "CAD"), "S-1"),
		},
		sent: []simulator.SentNotice{{Method: "refundResultNotification", Reference: "cap-1", State: simulator.NoticeAccepted}},
		left: map[string]uint64{schemas.StreamCommands: 0},
	}
}

func TestCheckFindsEveryBrokenPromise(t *testing.T) {
	cases, found := kept()
	if broken := check(cases, found); broken != nil {
		t.Fatalf("nothing is broken, and the check says %q", broken)
	}
	for _, row := range []struct {
		name  string
		spoil func(*evidence)
		want  string
	}{
		{"a second movement", func(e *evidence) { e.ledger = append(e.ledger, e.ledger[0]) }, "has no event"},
		{"no movement", func(e *evidence) { e.ledger = e.ledger[1:] }, "no such movement is in the ledger"},
		{"another amount", func(e *evidence) { e.ledger[0].Amount = cents(11_00, "HKD") }, "no such movement is in the ledger"},
		{"another currency", func(e *evidence) { e.ledger[0].Amount.Currency = "CNY" }, "no such movement is in the ledger"},
		{"another kind", func(e *evidence) { e.ledger[0].Kind = simulator.MovementCancel }, "no such movement is in the ledger"},
		{"another payment", func(e *evidence) { e.ledger[0].Reference = "1" }, "on payment 1 has no event"},
		{"another type of provider", func(e *evidence) { e.ledger[0].Type = "craftgate" }, "no such movement is in the ledger"},
		{"another refund id", func(e *evidence) { e.ledger[0].ProviderRefundID = "8" }, "no such movement is in the ledger"},
		{"a missing event", func(e *evidence) { e.events = slices.Delete(e.events, 1, 2) }, "has no event"},
		{"another outcome", func(e *evidence) { e.events[1].Kind = schemas.KindFailed }, "ended as"},
		{"a second outcome", func(e *evidence) {
			second := e.events[1]
			second.Kind = schemas.KindFailed
			e.events = append(e.events, second)
		}, "demo-4922:r1:outcome is failed 10.00 HKD, and was succeeded 10.00 HKD before"},
		{"a second outcome of another amount", func(e *evidence) {
			second, eleven := e.events[1], cents(11_00, "HKD")
			second.Amount = &eleven
			e.events = append(e.events, second)
		}, "demo-4922:r1:outcome is succeeded 11.00 HKD, and was succeeded 10.00 HKD before"},
		{"another outcome that moved money", func(e *evidence) {
			e.events[0].Kind, e.events[0].RequestID = schemas.KindCancelled, "d:r2"
		}, "belongs to no case"},
		{"no dead letter", func(e *evidence) { e.dead = nil }, "ended as"},
		{"a dead letter of nobody", func(e *evidence) { e.dead = append(e.dead, deadLetter{body: []byte("x")}) }, "a dead letter belongs to no case"},
		{"a dead letter without problems", func(e *evidence) { e.dead[0].detail = "" }, "does not say what is wrong"},
		{"work left", func(e *evidence) { e.left[schemas.StreamCommands] = 2 }, "2 messages are left in REFUND_COMMANDS"},

		{"a reversal that nobody knows of", func(e *evidence) { e.events = e.events[:5] }, "REVERSAL of 6.00 CAD on payment cap-1 has no event"},
		{"a reversal that was not made", func(e *evidence) { e.ledger = e.ledger[:3] }, "is reversed, and no such movement is in the ledger"},
		{"a reversal of another amount", func(e *evidence) { e.ledger[3].Amount = cents(5_00, "CAD") }, "is reversed, and no such movement is in the ledger"},
		{"a reversal of another refund", func(e *evidence) { e.ledger[3].ProviderRefundID = "S-2" }, "is reversed, and no such movement is in the ledger"},
		{"a reversal that is a refund", func(e *evidence) { e.ledger[3].Kind = simulator.MovementRefund }, "is reversed, and no such movement is in the ledger"},
		{"a refund that came back without having been made", func(e *evidence) { e.events = slices.Delete(e.events, 3, 4) }, "ended as"},
		{"a total that is not the sum", func(e *evidence) { e.events[5].Reversal.Total = cents(6_00, "CAD") }, "came back by 10.00 CAD in all, and its event says 6.00 CAD"},
		{"more back than was paid", func(e *evidence) { *e.events[5].Amount = cents(9_00, "CAD") }, "came back by 10.00 CAD in all, and was a refund of 9.00 CAD"},
		{"too much left", func(e *evidence) { e.ledger = slices.Delete(e.ledger, 1, 2) }, "left of the payment, want 129.99 CAD"},
		{"a report that nobody took", func(e *evidence) { e.sent[0].State = simulator.NoticeStopped }, "refundResultNotification about payment cap-1 was not accepted"},
		{"a report that is still on its way", func(e *evidence) { e.sent[0].State = simulator.NoticeSending }, "refundResultNotification about payment cap-1 was not accepted"},
	} {
		cases, found := kept()
		row.spoil(&found)
		if got := strings.Join(check(cases, found), "\n"); !strings.Contains(got, row.want) {
			t.Errorf("%s: the check says %q, want %q", row.name, got, row.want)
		}
	}
}

// A fact that is stated twice under one id is one fact.
func TestCheckCountsEachIDOnce(t *testing.T) {
	cases, found := kept()
	found.events = append(found.events, found.events[1], found.events[4])
	if broken := check(cases, found); broken != nil {
		t.Errorf("the check says %q, want nothing", broken)
	}
}
