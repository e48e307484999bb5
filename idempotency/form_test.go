package idempotency

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Workers of two versions that store one form in two ways, or make different things of one journal, must not share keys. A
// change of what is stored here needs another layout, and its own golden file.
func TestFormsBelongToTheLayout(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_123).UTC()
	record := ledger.Record{Fingerprint: fingerprintOf("a"), Amount: *hkd(40), State: schemas.KindDispatched, Intent: 7, Clean: 5, Begun: at,
		Since: at.Add(time.Second), Last: 8}
	settled := ledger.Record{Fingerprint: fingerprintOf("a"), Amount: *hkd(40), State: schemas.KindSucceeded, Since: at, Last: 9}
	payment := ledger.Payment{Captured: *hkd(100), Named: 20_833, Once: 20_834, Ended: 11, Last: 12, Seen: 20_835, Whole: 20_830,
		Refunded: []ledger.Refunded{{Day: 20_834, Amount: *hkd(30)}, {Day: 20_835, Amount: schemas.Money{Micros: 1, Currency: "USD"}}},
		Holds:    []ledger.Share{{ID: "ord-1:r1", Amount: *hkd(40), Since: 7}}}
	velocity := ledger.Velocity{Stop: 2, Since: 40, Passed: &ledger.Window{Currency: "HKD", Length: time.Hour}, Said: 5, Started: 4,
		Dry: 3, Bound: true, DryPassed: &ledger.Window{Currency: "USD", Length: time.Minute}, Last: 41,
		Windows: map[ledger.Window]ledger.Parts{{Currency: "HKD", Length: time.Hour}: {{Number: 1, Count: 2, Micros: 3}}}}

	var b strings.Builder
	fmt.Fprintf(&b, "%s\nkeys of %q\n", prelude(), Config{}.WithDefaults().keys().tag(0))
	fmt.Fprintf(&b, "open record: %s\nsettled record: %s\n", quoted(recordPairs(record)), quoted(recordPairs(settled)))
	fmt.Fprintf(&b, "payment: %s\nno payment: %s\nvelocity: %s\n", paymentText(payment), paymentText(ledger.Payment{}), velocityText(velocity))
	fmt.Fprintf(&b, "member: %s\noldest: %s\nrules of the guard: %d\n", openMember("bank", "ord-1:r1"),
		oldest{seq: 3, at: at, retain: time.Hour}, ledger.GuardRules)

	path := filepath.Join("testdata", fmt.Sprintf("forms.%d.golden", layout))
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s is new: look at it, and keep it", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("stored are\n%s\nand not what layout %d has:\n%s", got, layout, want)
	}
	if got := readPayment(paymentText(payment)); fmt.Sprint(got) != fmt.Sprint(payment) {
		t.Errorf("payment is read as %+v, want %+v", got, payment)
	}
	if got := readVelocity(velocityText(velocity)); velocityText(got) != velocityText(velocity) {
		t.Errorf("velocity is read as %+v, want %+v", got, velocity)
	}
	for _, want := range []ledger.Record{record, settled} {
		stored := map[string]any{}
		for i, pairs := 0, recordPairs(want); i < len(pairs); i += 2 {
			stored[pairs[i].(string)] = fmt.Sprint(pairs[i+1])
		}
		var values []any
		for _, field := range recordFields {
			values = append(values, stored[field])
		}
		if got := readRecord(values); got != want {
			t.Errorf("record is read as\n%+v, want\n%+v", got, want)
		}
	}
}

// quoted shows values that may not be text.
func quoted(pairs []any) string {
	var texts []string
	for _, v := range pairs {
		texts = append(texts, fmt.Sprintf("%q", fmt.Sprint(v)))
	}
	return strings.Join(texts, " ")
}
