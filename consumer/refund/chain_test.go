package refund

import (
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// However many duplicates come, and when, they are all led to the look that comes next: none puts it off.
func TestDuplicatesAreLedToTheNextLook(t *testing.T) {
	const hour = time.Hour
	looks := []time.Duration{0, time.Minute, 5 * time.Minute, 15 * time.Minute, hour, 2 * hour, 3 * hour, 4 * hour, day, 2 * day, 3 * day}
	for i, next := range looks[1:] {
		gap := next - looks[i]
		for _, age := range []time.Duration{looks[i], looks[i] + 1, looks[i] + gap/2, next - time.Second, next - 1} {
			d := at(in(schemas.KindAcknowledged, age, 1)).wait("it is not time to ask", 0)
			if got := age + d.Delay; got != next || d.Then != Later || d.Kind != "" {
				t.Errorf("%s after the refund came to this: %s %s at %s, want later at %s", age, d.Then, d.Kind, got, next)
			}
		}
	}
	// A doubt is asked about as soon as the answer counts, and no duplicate makes that later.
	for _, age := range []time.Duration{0, time.Second, 10 * time.Second} {
		s := at(in(schemas.KindDispatched, age, 1))
		d, early := decideUnasked(s)
		if want := s.conclusive().Sub(noon); !early || d.Delay != want {
			t.Errorf("%s after the lease: early %t, delay %s; want %s", age, early, d.Delay, want)
		}
	}
}

// While an attempt is in doubt its own key stays, whatever was journalled since; with the doubt ended, what was deferred
// counts.
func TestIdempotencyKey(t *testing.T) {
	for _, test := range []struct {
		name      string
		deferrals int
		last      string
		doubt     bool
		cleared   bool
		oneKey    bool
		want      string
	}{
		{"a first attempt", 0, "", false, false, false, "one"},
		{"after two deferrals", 2, "one:r1", false, false, false, "one:r2"},
		{"after two deferrals, of a provider with one key", 2, "one", false, false, true, "one"},
		{"in doubt", 1, "one:r1", true, false, false, "one:r1"},
		{"in doubt, and an earlier attempt's deferral is counted", 1, "one", true, false, false, "one"},
		{"doubt ended", 1, "one", true, true, false, "one:r1"},
	} {
		caps := providers.Capabilities{OneKey: test.oneKey}
		r := &run{Protocol: &Protocol{Rules: Rules{Capabilities: caps}}, Delivery: Delivery{Command: schemas.Command{RequestID: "one"}}, cleared: test.cleared,
			refund: ledger.Refund{Key: test.last, Deferrals: test.deferrals, Intents: []ledger.Intent{{Seq: 1, Clean: !test.doubt}}}}
		if got := r.key(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// The outcome and the first of two reversals have aged out of the journal, the second has not. What is told later still
// counts them.
func TestReversalBehindAgedEvents(t *testing.T) {
	whole := schemas.Money{Micros: 10_000_000, Currency: "HKD"}
	part := func(micros int64) schemas.Money { return schemas.Money{Micros: micros, Currency: "HKD"} }
	first := schemas.Event{Kind: schemas.KindReversed, RequestID: "one", Provider: "test", Amount: &whole, OccurredAt: noon,
		Reversal: &schemas.Reversal{NoticeID: "v2", Amount: part(3_000_000), Total: part(6_000_000)}}
	refund := ledger.Fold([]ledger.Entry{{Seq: 5, Event: first}}, 0)
	for _, test := range []struct {
		id     string
		micros int64
		then   Disposition
		reason schemas.Reason
		total  int64
	}{
		{"v2", 3_000_000, Ack, "", 0},
		{"v2", 2_000_000, Terminate, schemas.ReasonContradiction, 0},
		{"v3", 5_000_000, Terminate, schemas.ReasonInvalid, 0},
		{"v4", 4_000_000, Ack, "", 10_000_000},
	} {
		n := schemas.Notice{NoticeID: test.id, Provider: "test", RefundRequestID: "one", Type: schemas.NoticeReversalType,
			Reversal: &schemas.NoticeReversal{Amount: part(test.micros)}}
		d, reversal := decideNotice(testRules, Noticed{Notice: n, Since: noon}, refund, noon)
		total := int64(0)
		if reversal != nil {
			total = reversal.Total.Micros
		}
		if d.Then != test.then || d.Reason != test.reason || total != test.total {
			t.Errorf("%s of %d: %s %s, %d in all; want %s %s, %d", test.id, test.micros, d.Then, d.Reason, total, test.then, test.reason, test.total)
		}
	}
}

// A report of failure speaks for every attempt where there was one, or where all had one key and the provider takes nothing
// on again under it. Then it contradicts a success.
func TestWhatAFailureIsAbout(t *testing.T) {
	for _, test := range []struct {
		attempts, deferrals    int
		final, oneKey, settles bool
	}{
		{1, 0, false, false, true},
		{2, 0, false, false, false},
		{2, 0, true, false, true},
		{2, 1, true, false, false}, // the second had a key of its own
		{2, 1, true, true, true},
		{2, 1, false, true, false},
		{0, 0, true, true, false},
	} {
		refund := at(in(schemas.KindAcknowledged, day, test.attempts)).refund
		refund.First.Provider, refund.Deferrals = "test", test.deferrals
		rules := testRules
		rules.Capabilities.FailuresAreFinal, rules.Capabilities.OneKey = test.final, test.oneKey
		n := schemas.Notice{NoticeID: "n", Provider: "test", RefundRequestID: "r", Type: schemas.NoticeResultType,
			Result: &schemas.NoticeResult{Kind: schemas.KindFailed, Reason: schemas.ReasonDeclined}}
		d, _ := decideNotice(rules, Noticed{Notice: n, Since: noon}, refund, noon)
		if settles := d.Kind == schemas.KindFailed; settles != test.settles {
			t.Errorf("%+v: %+v", test, d)
		}
		refund.Outcome = &schemas.Event{Kind: schemas.KindSucceeded}
		d, _ = decideNotice(rules, Noticed{Notice: n, Since: noon}, refund, noon)
		if contradicts := d.Reason == schemas.ReasonContradiction; contradicts != (test.settles || test.attempts == 0) {
			t.Errorf("%+v, behind a success: %+v", test, d)
		}
	}
}
