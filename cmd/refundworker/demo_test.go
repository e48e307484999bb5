package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

func TestDemo(t *testing.T) {
	code, out, errs := invocation{}.invoke(t, "demo")
	if code != exitFine || !strings.Contains(out, "Every promise held") || strings.Contains(out, "BROKEN") {
		t.Errorf("ended with %d\n%s\n%s\nwant every promise held", code, out, errs)
	}
	for _, want := range []string{"failed exceeds_remaining", "failed not_refundable", "failed already_refunded", "cancelled",
		"rejected request_id_conflict", "/requestId duplicate key; /amount/amountMicros duplicate key"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo did not show %q:\n%s", want, out)
		}
	}
}

// A demo that cannot fail shows nothing: here the ledger has a movement too many.
func TestDemoFailsWhenMoneyMovedTwice(t *testing.T) {
	var out, errs bytes.Buffer
	p := &program{getenv: invocation{}.getenv, stdout: &out, stderr: &errs}
	d := newDemo(p, func(e *evidence) {
		if len(e.ledger) > 0 {
			e.ledger = append(e.ledger, e.ledger[0])
		}
	})
	// One case is enough to have something to tamper with.
	d.cases = d.cases[:1]
	err := d.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "promises were broken") || !strings.Contains(out.String(), "BROKEN: REFUND of") {
		t.Errorf("ended with %v\n%s\nwant it to fail", err, &out)
	}
}

// kept is evidence in which every promise held, for a story of its own.
func kept() ([]demoCase, evidence) {
	at := time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)
	c := caseOf("4922", "a refund and a conflict", simulator.BBMSLSettled).asks("d:r1", 10, at).asks("d:r1", 5, at).
		ends(5, "succeeded", "rejected request_id_conflict", "dead letter request_id_conflict")
	event := func(k schemas.Kind) schemas.Event {
		ten := demoHKD(10)
		return schemas.Event{Kind: k, RequestID: "d:r1", Provider: demoProvider, Payment: &schemas.Payment{Reference: "4922"}, Amount: &ten, Attempt: 1}
	}
	succeeded, rejected := event(schemas.KindSucceeded), event(schemas.KindRejected)
	succeeded.ProviderRefundID, rejected.Reason = "9", schemas.ReasonRequestIDConflict
	return []demoCase{c}, evidence{
		events: []schemas.Event{event(schemas.KindDispatched), succeeded, rejected},
		dead:   []deadLetter{{reason: "request_id_conflict", detail: "other content", body: c.bodies[1]}},
		ledger: []simulator.Movement{{Type: "bbmsl", Reference: "4922", Kind: simulator.MovementRefund, Amount: demoHKD(10), ProviderRefundID: "9"}},
		left:   map[string]uint64{schemas.StreamCommands: 0},
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
		{"no movement", func(e *evidence) { e.ledger = nil }, "no such movement is in the ledger"},
		{"another amount", func(e *evidence) { e.ledger[0].Amount = demoHKD(11) }, "no such movement is in the ledger"},
		{"another kind", func(e *evidence) { e.ledger[0].Kind = simulator.MovementCancel }, "no such movement is in the ledger"},
		{"another payment", func(e *evidence) { e.ledger[0].Reference = "1" }, "on payment 1 has no event"},
		{"another refund id", func(e *evidence) { e.ledger[0].ProviderRefundID = "8" }, "no such movement is in the ledger"},
		{"a missing event", func(e *evidence) { e.events = slices.Delete(e.events, 1, 2) }, "has no event"},
		{"a second outcome", func(e *evidence) { e.events[0].Kind = schemas.KindFailed }, "ended as"},
		{"a success beside a cancellation", func(e *evidence) {
			e.events[2].Kind = schemas.KindCancelled
			e.events[2].RequestID = "d:r2"
		}, "belongs to no case"},
		{"no dead letter", func(e *evidence) { e.dead = nil }, "ended as"},
		{"a dead letter of nobody", func(e *evidence) { e.dead = append(e.dead, deadLetter{body: []byte("x")}) }, "a dead letter belongs to no case"},
		{"a dead letter without problems", func(e *evidence) { e.dead[0].detail = "" }, "does not say what is wrong"},
		{"work left", func(e *evidence) { e.left[schemas.StreamCommands] = 2 }, "2 messages are left in REFUND_COMMANDS"},
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
	found.events = append(found.events, found.events[1])
	if broken := check(cases, found); broken != nil {
		t.Errorf("the check says %q, want nothing", broken)
	}
}
