package drills

import (
	"strings"
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// good is the audit of one refund that was made.
func good() audit {
	c := schemas.Command{RequestID: "one", Provider: instance, Payment: schemas.Payment{Reference: "771"},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: time.Unix(1_800_000_000, 0).UTC()}
	a := audit{commands: []schemas.Command{c}, waiting: map[schemas.RequestID]int{},
		ledger: []simulator.Movement{{Reference: "771", Amount: c.Amount}}}
	record := ledger.Record{}
	for i, kind := range []schemas.Kind{schemas.KindDispatched, schemas.KindSucceeded} {
		e := schemas.NewEvent(kind, c, time.Unix(1_800_000_001, 0).UTC())
		e.Attempt = 1
		j := journalled{Entry: ledger.Entry{Seq: uint64(i + 1), ID: e.ID(), Event: e, Stored: e.OccurredAt}, previous: uint64(i)}
		a.journal = append(a.journal, j)
		record, _ = record.Apply(j.Entry, drillRetain)
	}
	a.records = []map[schemas.RequestID]ledger.Record{{"one": record}}
	return a
}

// An audit that finds nothing proves something only if it finds what is wrong.
func TestAuditFindsWhatIsWrong(t *testing.T) {
	if found := good().problems(); len(found) > 0 {
		t.Fatalf("in a good audit: %v", found)
	}
	tests := []struct {
		name  string
		spoil func(a *audit)
		want  string
	}{
		{"paid twice", func(a *audit) { a.ledger = append(a.ledger, a.ledger[0]) }, "moved 2 times"},
		{"not paid", func(a *audit) { a.ledger = nil }, "moved 0 times, want 1"},
		{"paid too much", func(a *audit) { a.ledger[0].Amount.Micros++ }, "moved, want"},
		{"paid unasked", func(a *audit) { a.ledger[0].Reference = "772" }, "no command asked"},
		{"paid though failed", func(a *audit) { a.journal[1].Event.Kind = schemas.KindFailed }, "moved 1 times, want 0"},
		{"two outcomes", func(a *audit) {
			e := a.journal[1]
			e.Seq, e.ID, e.previous = 3, "other", 2
			a.journal = append(a.journal, e)
		}, "succeeded of one after succeeded"},
		{"an id twice", func(a *audit) { a.journal[1].ID = a.journal[0].ID }, "occurs twice"},
		{"a broken chain", func(a *audit) { a.journal[1].previous = 0 }, "names event 0 as the one before, want 1"},
		{"another amount told", func(a *audit) {
			other := schemas.Money{Micros: 1, Currency: "HKD"}
			a.journal[1].Event.Amount = &other
		}, "with amount"},
		{"forgotten while open", func(a *audit) { a.journal, a.records = a.journal[:1], nil }, "forgotten as dispatched"},
		{"forgotten from the start", func(a *audit) { a.journal, a.ledger, a.records = nil, nil, nil }, "forgotten, with neither"},
		{"paid and not told", func(a *audit) { a.journal, a.records = nil, nil }, "nothing is journalled"},
		{"journalled unasked", func(a *audit) { a.commands, a.ledger = nil, nil }, "journalled, and no command asked"},
		{"waiting unasked", func(a *audit) { a.waiting["two"] = 1 }, "waits, and no command asked"},
		{"a dead letter", func(a *audit) { a.dead = 1 }, "1 dead letters"},
		{"a record that differs", func(a *audit) {
			r := a.records[0]["one"]
			r.Intent = 2
			a.records[0]["one"] = r
		}, "want the journal's fold"},
		{"listed as open", func(a *audit) { a.open = map[schemas.RequestID]int{"one": 1} }, "among the open refunds"},
		{"a record lost", func(a *audit) { delete(a.records[0], "one") }, "want the journal's fold"},
		{"something left in redis", func(a *audit) { a.residue = []string{"redis holds x"} }, "redis holds x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := good()
			test.spoil(&a)
			if found := strings.Join(a.problems(), "\n"); !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}
