package craftgate

import (
	"testing"

	"refundworker/providers"
	"refundworker/schemas"
)

// Payments as lookups see them: as before the first attempt, and after somebody has refunded.
var (
	untouchedState = state{Payment: "SUCCESS", Refund: notRefunded, Rest: 100_000_000, Currency: "TRY", ItemRest: new(int64(60_000_000))}

	partly    = changedState(func(s *state) { s.Refund, s.Rest, s.ItemRest = partialRefunded, 40_000_000, new(int64(0)) })
	full      = changedState(func(s *state) { s.Refund, s.Rest = fullyRefunded, 0 })
	otherItem = changedState(func(s *state) { s.Refund, s.Rest = partialRefunded, 90_000_000 })
)

func changedState(change func(*state)) state {
	s := untouchedState
	change(&s)
	return s
}

func records(r ...record) []record { return r }

// findRow is what a payment and the refunds under our name say after a doubt.
type findRow struct {
	name           string
	now            state
	refunds, parts []record
	edit           func(*ask)
	want           providers.FindingKind
	status         providers.Status
}

func runFind(t *testing.T, of func() ask, rows []findRow) {
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			a := of()
			if tt.edit != nil {
				tt.edit(&a)
			}
			f, err := a.find(sight{state: tt.now, refunds: tt.refunds, parts: tt.parts})
			if err != nil || f.Kind != tt.want || f.Result.Status != tt.status {
				t.Errorf("got %v %v (%s), %v, want %v %v", f.Kind, f.Result.Status, f.Detail, err, tt.want, tt.status)
			}
		})
	}
}

func TestFindItem(t *testing.T) {
	runFind(t, itemAsk, []findRow{
		{"done", partly, nil, records(one("5", "SUCCESS", "60.0")), nil, providers.Found, providers.Succeeded},
		{"waits", partly, nil, records(one("5", "WAITING", "60.0")), nil, providers.Found, providers.Acknowledged},
		{"done after a failure", partly, nil, records(one("4", "FAILURE", "60", "REFUND_DECLINE"), one("5", "SUCCESS", "60")),
			nil, providers.Found, providers.Succeeded},
		{"done twice", partly, nil, records(one("5", "SUCCESS", "60"), one("6", "SUCCESS", "60")), nil, providers.Contradiction, providers.Conflicting},
		{"done and waits", partly, nil, records(one("5", "SUCCESS", "60"), one("6", "WAITING", "60")), nil, providers.Contradiction, providers.Conflicting},
		{"done in halves", partly, nil, records(one("5", "SUCCESS", "30"), one("6", "SUCCESS", "30")), nil, providers.Contradiction, providers.Conflicting},
		{"another amount", partly, nil, records(one("5", "SUCCESS", "59")), nil, providers.Contradiction, providers.Conflicting},
		{"but the payment was cancelled", full, records(one("1", "SUCCESS", "100")), nil, nil, providers.Contradiction, providers.Conflicting},
		{"failed for good", untouchedState, nil, records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT")), nil, providers.Found, providers.Declined},
		{"failed without a cause", untouchedState, nil, records(one("5", "FAILURE", "60")), nil, providers.Found, providers.Declined},
		{"one of two calls failed", untouchedState, nil, records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT")),
			func(a *ask) { a.attempts = 2 }, providers.NotFound, 0},
		{"one of two calls failed, read while it still held its amount", partly, nil, records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT")),
			func(a *ask) { a.attempts = 2 }, providers.TooEarly, 0},
		{"both calls failed", untouchedState, nil, records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT"), one("6", "FAILURE", "60", "DECLINED")),
			func(a *ask) { a.attempts = 2 }, providers.Found, providers.Declined},
		{"failed for good before", untouchedState, nil, records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT")),
			func(a *ask) { a.before.Failed = []string{"5"} }, providers.NotFound, 0},
		{"one of two calls failed for now", untouchedState, nil, records(one("5", "FAILURE", "60", "REQUIRES_DAY_END")),
			func(a *ask) { a.attempts = 2 }, providers.NotFound, 0},
		{"one call failed for good and one for now", untouchedState, nil,
			records(one("5", "FAILURE", "60", "DECLINED"), one("6", "FAILURE", "60", "REQUIRES_DAY_END")),
			func(a *ask) { a.attempts = 2 }, providers.NotFound, providers.NotNow},
		{"failed for now", untouchedState, nil, records(one("5", "FAILURE", "60", "REQUIRES_DAY_END")), nil, providers.NotFound, providers.NotNow},
		{"another one was running", untouchedState, nil, records(one("5", "FAILURE", "60", "TOO_MANY_REQUESTS")), nil, providers.NotFound, 0},
		{"the bank did not answer", untouchedState, nil, records(one("5", "FAILURE", "60", "REQUEST_TIMEOUT")), nil, providers.TooEarly, 0},
		{"failed for who knows what", untouchedState, nil, records(one("5", "FAILURE", "60", "SOMETHING_NEW")), nil, providers.TooEarly, 0},
		{"the bank did not answer once before", untouchedState, nil, records(one("5", "FAILURE", "60", "NO_RESPONSE")),
			func(a *ask) { a.before.Failed = []string{"5"} }, providers.NotFound, 0},
		{"nothing", untouchedState, nil, nil, nil, providers.NotFound, 0},
		{"nothing, another item was refunded", otherItem, nil, nil, nil, providers.NotFound, 0},
		{"refunded by somebody else", partly, nil, nil, nil, providers.Contradiction, 0},
		{"the payment is said to be all gone, its item is not", changedState(func(s *state) { s.Refund = fullyRefunded }), nil, nil, nil, providers.Contradiction, 0},
		{"no rest told, payment changed", otherItem, nil, nil, func(a *ask) { a.before.ItemRest = nil }, providers.Contradiction, 0},
	})
}

func TestFindWhole(t *testing.T) {
	typed := func(kind string) record {
		r := one("1", "SUCCESS", "100")
		r.RefundType = text(kind)
		return r
	}
	runFind(t, wholeAsk, []findRow{
		{"cancelled", full, records(one("1", "SUCCESS", "100")), nil, nil, providers.Found, providers.Cancelled},
		{"cancelled, with its type", full, records(typed("CANCEL")), nil, nil, providers.Found, providers.Cancelled},
		{"refunded, with its type", full, records(typed("REFUND")), nil, nil, providers.Found, providers.Succeeded},
		{"refunded, told twice over", full, records(typed("REFUND")), records(one("5", "SUCCESS", "60"), one("6", "SUCCESS", "40")),
			nil, providers.Found, providers.Succeeded},
		{"cancelled and refunded", full, records(typed("CANCEL")), records(one("5", "SUCCESS", "100")), nil, providers.Contradiction, providers.Conflicting},
		{"cancel waits", full, records(one("1", "WAITING", "100")), nil, nil, providers.Found, providers.Acknowledged},
		{"cancelled twice", full, records(one("1", "SUCCESS", "100"), one("2", "SUCCESS", "100")), nil, nil, providers.Contradiction, providers.Conflicting},
		{"cancelled for less", full, records(one("1", "SUCCESS", "99")), nil, nil, providers.Contradiction, providers.Conflicting},
		{"in parts", full, nil, records(one("5", "SUCCESS", "60"), one("6", "SUCCESS", "40")), nil, providers.Found, providers.Succeeded},
		{"one part waits", full, nil, records(one("5", "SUCCESS", "60"), one("6", "WAITING", "40")), nil, providers.Found, providers.Acknowledged},
		{"one part failed", partly, nil, records(one("5", "SUCCESS", "60"), one("6", "FAILURE", "40", "DECLINED")), nil, providers.Found, providers.Partial},
		{"one part is not listed", partly, nil, records(one("5", "SUCCESS", "60")), nil, providers.TooEarly, 0},
		{"less was left", full, nil, records(one("5", "SUCCESS", "60"), one("6", "SUCCESS", "10")), nil, providers.Found, providers.Partial},
		{"too much", full, nil, records(one("5", "SUCCESS", "60"), one("6", "SUCCESS", "41")), nil, providers.Contradiction, providers.Conflicting},
		{"failed for good", untouchedState, nil, records(one("5", "FAILURE", "60", "DECLINED"), one("6", "FAILURE", "40", "DECLINED")),
			nil, providers.Found, providers.Declined},
		{"a part failed for good", untouchedState, nil, records(one("5", "FAILURE", "60", "DECLINED")), nil, providers.NotFound, 0},
		{"cancel failed", untouchedState, records(one("1", "FAILURE", "100", "DECLINED")), nil, nil, providers.Found, providers.Declined},
		{"nothing", untouchedState, nil, nil, nil, providers.NotFound, 0},
		{"nothing, no baseline", untouchedState, nil, nil, func(a *ask) { a.before = nil }, providers.NotFound, 0},
		{"refunded by somebody else", full, nil, nil, nil, providers.Contradiction, 0},
		{"partly refunded, no baseline", partly, nil, nil, func(a *ask) { a.before = nil }, providers.Contradiction, 0},
		{"rest changed", otherItem, nil, nil, nil, providers.Contradiction, 0},
		{"other currency", changedState(func(s *state) { s.Currency = "EUR" }), nil, nil, nil, providers.Contradiction, 0},
		{"not successful", changedState(func(s *state) { s.Payment = "FAILURE" }), nil, nil, nil, providers.Contradiction, 0},
	})
}

// TestFindUnreadable: one refund under our name that nobody understands leaves everything open.
func TestFindUnreadable(t *testing.T) {
	for name, r := range map[string]record{
		"unknown status":   one("5", "SLEEPING", "60"),
		"unreadable price": one("5", "SUCCESS", "x"),
		"finer than money": one("5", "SUCCESS", "60.00000001"),
		"another item":     {ID: "5", Status: "SUCCESS", RefundPrice: "60", ItemID: "9002"},
		"another currency": {ID: "5", Status: "SUCCESS", RefundPrice: "60", Currency: "EUR"},
	} {
		if f, err := itemAsk().find(sight{state: untouchedState, parts: records(r)}); err == nil {
			t.Errorf("%s: got %v, want an error", name, f.Kind)
		}
	}
}

// TestPrepared: what ends a refund before its call, and what an earlier call leaves to a lookup.
func TestPrepared(t *testing.T) {
	open := untouchedState
	with := func(change func(*state)) sight { return sight{state: changedState(change)} }
	const onward, doubt, invalid = "", "doubt", "invalid"
	tests := []struct {
		name           string
		item           bool
		amount         int64
		s              sight
		first, earlier string
	}{
		{"item, part", true, 10_000_000, sight{state: open}, onward, onward},
		{"item, all", true, 60_000_000, sight{state: open}, onward, onward},
		{"item, above", true, 60_010_000, sight{state: open}, "exceeds_remaining", doubt},
		{"item, not of the payment", true, 10_000_000, sight{state: open, stranger: true}, "not_found", doubt},
		{"item, gone", true, 10_000_000, with(func(s *state) { s.ItemRest = new(int64(0)) }), "already_refunded", doubt},
		{"item, rest untold", true, 100_000_000, with(func(s *state) { s.ItemRest = nil }), onward, onward},
		{"whole", false, 100_000_000, with(func(s *state) { s.ItemRest = nil }), onward, onward},
		{"whole, less", false, 99_990_000, with(func(s *state) { s.ItemRest = nil }), invalid, doubt},
		{"whole, above", false, 100_010_000, with(func(s *state) { s.ItemRest = nil }), "exceeds_remaining", doubt},
		{"refunded", false, 100_000_000, with(func(s *state) { s.Refund, s.Rest = fullyRefunded, 0 }), "already_refunded", doubt},
		{"nothing left", false, 100_000_000, with(func(s *state) { s.Rest = 0 }), "already_refunded", doubt},
		{"rest changed", true, 10_000_000, with(func(s *state) { s.Refund, s.Rest, s.ItemRest = partialRefunded, 90_000_000, new(int64(50_000_000)) }), onward, doubt},
		{"not paid", false, 100_000_000, with(func(s *state) { s.Payment = "INIT_THREEDS" }), "not_refundable", doubt},
		{"no refund", false, 100_000_000, with(func(s *state) { s.Refund = noRefund }), "not_refundable", doubt},
		{"other currency", false, 100_000_000, with(func(s *state) { s.Currency = "EUR" }), "not_refundable", doubt},
		{"failed before", true, 60_000_000, sight{state: open, parts: []record{one("5", "FAILURE", "60", "REFUND_DECLINE")}}, onward, onward},
		{"the bank did not answer before", true, 60_000_000, sight{state: open, parts: []record{one("5", "FAILURE", "60", "UNKNOWN")}}, onward, doubt},
		{"ours is done", true, 60_000_000, sight{state: open, parts: []record{one("5", "SUCCESS", "60")}}, "conflicting", "succeeded"},
		{"ours waits", true, 60_000_000, sight{state: open, parts: []record{one("5", "WAITING", "60")}}, "conflicting", "acknowledged"},
		{"ours is of a status nobody knows", true, 60_000_000, sight{state: open, parts: []record{one("5", "SLEEPING", "60")}}, "conflicting", doubt},
	}
	verdict := func(res providers.Result, err error) string {
		switch {
		case err != nil && providers.KindOf(err) == providers.Invalid:
			return invalid
		case err != nil:
			return doubt
		case res.Status == providers.Declined:
			return string(res.Reason)
		}
		return map[providers.Status]string{providers.Conflicting: "conflicting", providers.Succeeded: "succeeded", providers.Acknowledged: "acknowledged"}[res.Status]
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := wholeAsk()
			if tt.item {
				a = itemAsk()
			}
			a.amount.Micros = tt.amount
			if got := verdict(a.prepared("prepare", tt.s)); got != tt.earlier {
				t.Errorf("after an earlier call: got %q, want %q", got, tt.earlier)
			}
			a.attempts, a.before = 0, nil
			if got := verdict(a.prepared("prepare", tt.s)); got != tt.first {
				t.Errorf("first: got %q, want %q", got, tt.first)
			}
		})
	}
}

// TestAfterRefusal: a refusal that may have been caused by a refund of ours is held against what is listed.
func TestAfterRefusal(t *testing.T) {
	may := refusal{Code: "10999", Group: "MAY_HAVE_ALREADY_REFUNDED"}
	final := refusal{Code: "10999", Group: "NON_REFUNDABLE_PAYMENT"}
	later := refusal{Code: "10999", Group: "REFUND_DECLINE"}
	open := untouchedState
	low := open
	low.Refund, low.Rest, low.ItemRest = partialRefunded, 50_000_000, new(int64(10_000_000))
	gone := open
	gone.Refund, gone.Rest, gone.ItemRest = fullyRefunded, 0, new(int64(0))
	const doubt = providers.NoResult
	tests := []struct {
		name     string
		no       refusal
		attempts int
		s        sight
		want     providers.Status
		reason   schemas.Reason
	}{
		{"ours is listed", may, 1, sight{state: gone, parts: []record{one("5", "SUCCESS", "60")}}, providers.Succeeded, ""},
		{"ours waits", may, 2, sight{state: low, parts: []record{one("5", "WAITING", "60")}}, providers.Acknowledged, ""},
		{"somebody else's, all", may, 1, sight{state: gone}, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"somebody else's, some", may, 1, sight{state: low}, providers.Declined, schemas.ReasonExceedsRemaining},
		{"enough is left", may, 1, sight{state: open}, doubt, ""},
		{"ours is listed as failed for it", may, 1, sight{state: open, parts: []record{one("5", "FAILURE", "60", "MAY_HAVE_ALREADY_REFUNDED")}}, doubt, ""},
		{"all gone, later call", may, 2, sight{state: gone}, doubt, ""},
		{"a final no to a later call, ours is listed", final, 2, sight{state: gone, parts: []record{one("5", "SUCCESS", "60")}}, providers.Succeeded, ""},
		{"a final no to a later call, all gone", final, 2, sight{state: gone}, doubt, ""},
		{"a final no to a later call, untouched", final, 2, sight{state: open}, providers.Declined, schemas.ReasonNotRefundable},
		{"a no for now to a later call, ours is listed", later, 2, sight{state: gone, parts: []record{one("5", "SUCCESS", "60")}}, providers.Succeeded, ""},
		{"a no for now to a later call, untouched", later, 2, sight{state: open, parts: records(one("5", "FAILURE", "60", "REFUND_DECLINE"))},
			providers.NotNow, schemas.ReasonProviderBusy},
		{"ours twice", may, 2, sight{state: gone, parts: []record{one("5", "SUCCESS", "60"), one("6", "SUCCESS", "60")}}, doubt, ""},
		{"an earlier one without the bank's answer", final, 2, sight{state: open, parts: []record{one("5", "FAILURE", "60", "NO_RESPONSE")}}, doubt, ""},
		{"unreadable", may, 1, sight{state: gone, parts: []record{one("5", "SLEEPING", "60")}}, doubt, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := itemAsk()
			a.attempts = tt.attempts
			res, err := a.afterRefusal(tt.s, tt.no)
			if res.Status != tt.want || res.Reason != tt.reason || (err != nil) != (tt.want == doubt) {
				t.Errorf("got %v %q, %v, want %v %q", res.Status, res.Reason, err, tt.want, tt.reason)
			}
		})
	}
}
