package craftgate

import (
	"strings"
	"testing"

	"refundworker/providers"
)

// split is a listed refund of the whole payment, with the parts that are told along with it.
func split(status string, parts ...record) record {
	r := one("1", status, "100")
	r.RefundType, r.Parts = typeRefund, parts
	return r
}

// A report lists a refund of a whole payment as one record. What it says of itself counts only as far as its parts, told with
// it or listed by themselves, or else the payment, say the same.
func TestRefundWhoseEntriesDisagreeIsNeverASuccess(t *testing.T) {
	yes60, yes40 := one("5", "SUCCESS", "60"), one("6", "SUCCESS", "40")
	wait40, no40 := one("6", "WAITING", "40"), one("6", "FAILURE", "40", "DECLINED")
	untyped := split("SUCCESS", yes60, no40)
	untyped.RefundType = ""
	cancel := split("SUCCESS", yes60, no40)
	cancel.RefundType = typeCancel
	const contradiction, early = providers.Contradiction, providers.TooEarly
	runFind(t, wholeAsk, []findRow{
		{"parts agree, told", full, records(split("SUCCESS", yes60, yes40)), nil, nil, providers.Found, providers.Succeeded},
		{"parts agree, told of a payment that lags behind", partly, records(split("SUCCESS", yes60, yes40)), nil, nil,
			providers.Found, providers.Succeeded},
		{"parts wait, told", untouchedState, records(split("WAITING", one("5", "WAITING", "60"), wait40)), nil, nil,
			providers.Found, providers.Acknowledged},
		{"a part failed, told", partly, records(split("SUCCESS", yes60, no40)), nil, nil, providers.Found, providers.Partial},
		{"a part failed, told of a full refund", full, records(split("SUCCESS", yes60, no40)), nil, nil, providers.Found, providers.Partial},
		{"a part failed, told without a type", partly, records(untyped), nil, nil, providers.Found, providers.Partial},
		{"a part of a cancel failed, told", partly, records(cancel), nil, nil, providers.Found, providers.Partial},
		{"a part waits, told", partly, records(split("SUCCESS", yes60, wait40)), nil, nil, providers.Found, providers.Partial},
		{"too little, told", partly, records(split("SUCCESS", yes60)), nil, nil, providers.Found, providers.Partial},
		{"a part failed, told of a failure", partly, records(split("FAILURE", yes60, no40)), nil, nil, providers.Found, providers.Partial},
		{"a part failed, told; the other is listed", partly, records(split("SUCCESS", yes60, no40)), records(yes60), nil,
			providers.Found, providers.Partial},
		{"a part failed, listed", partly, records(split("SUCCESS")), records(no40), nil, providers.Found, providers.Partial},
		{"a part failed, listed; all succeeded, told", full, records(split("SUCCESS", yes60, yes40)), records(no40), nil,
			providers.Found, providers.Partial},
		{"a part failed, listed with the other", partly, records(split("SUCCESS", yes60, yes40)), records(yes60, no40), nil,
			providers.Found, providers.Partial},
		{"no parts, full refund", full, records(split("SUCCESS")), nil, nil, providers.Found, providers.Succeeded},
		{"no parts, the payment lags behind", partly, records(split("SUCCESS")), nil, nil, early, 0},
		{"no parts, the payment is untouched", untouchedState, records(split("SUCCESS")), nil, nil, early, 0},
		{"no parts, waits", untouchedState, records(split("WAITING")), nil, nil, providers.Found, providers.Acknowledged},
		{"all parts failed, told", untouchedState, records(split("FAILURE", one("5", "FAILURE", "60"), no40)), nil, nil,
			providers.Found, providers.Declined},
		{"an item was asked for", partly, records(split("FAILURE", yes60, no40)), nil, func(a *ask) { *a = itemAsk() },
			contradiction, providers.Conflicting},
	})
}

// What a report tells under a refund is told to a person, each part with its state.
func TestDisagreeingEntriesAreTold(t *testing.T) {
	f, err := wholeAsk().find(sight{state: partly,
		refunds: records(split("SUCCESS", one("5", "SUCCESS", "60"), one("6", "FAILURE", "40", "DECLINED")))})
	if want := "5 SUCCESS 60.00, 6 FAILURE 40.00"; err != nil || f.Result.Raw == nil || f.Result.Raw.Message != want {
		t.Errorf("told: got %+v, %v, want %q", f.Result.Raw, err, want)
	}
	f, err = wholeAsk().find(sight{state: partly, refunds: records(split("SUCCESS")), parts: records(one("6", "FAILURE", "40", "DECLINED"))})
	if want := "1 SUCCESS 100.00, 6 FAILURE 40.00"; err != nil || f.Result.Raw == nil || f.Result.Raw.Message != want {
		t.Errorf("listed: got %+v, %v, want %q", f.Result.Raw, err, want)
	}
}

// A status over the parts that fits none of them leaves everything open.
func TestListedStatusThatFitsNoPart(t *testing.T) {
	for _, r := range []record{split("SUCCESS", one("5", "WAITING", "100")), split("WAITING", one("5", "SUCCESS", "100")),
		split("SUCCESS", one("5", "FAILURE", "100")), split("SUCCESS", one("5", "SLEEPING", "100"))} {
		if f, err := wholeAsk().find(sight{state: full, refunds: records(r)}); err == nil {
			t.Errorf("%s over %s: got %v %v, want an error", r.Status, r.Parts[0].Status, f.Kind, f.Result.Status)
		}
	}
}

// Before the first call, a refund that is listed as failed although a part of it went back is no failure to pass over.
func TestPreparedSeesAPartThatWentBack(t *testing.T) {
	a := wholeAsk()
	a.attempts, a.before = 0, nil
	s := sight{state: untouchedState, refunds: records(split("FAILURE", one("5", "SUCCESS", "60"), one("6", "FAILURE", "40")))}
	s.noteFailed()
	res, err := a.prepared(opPrepare, s)
	if err != nil || res.Status != providers.Conflicting || len(s.Failed) != 0 {
		t.Errorf("got %v, %v, failed %v, want conflicting and none failed", res.Status, err, s.Failed)
	}
}

// A refund was taken on under an id, after an earlier call was lost. That record says what became of it; the lost call,
// which nobody ever lists, has no say.
func TestTheRefundThatWasTakenOnDecides(t *testing.T) {
	awaits := func(a *ask) { a.attempts, a.taken = 2, "5" }
	gone := records(one("5", "FAILURE", "60", "ARCHIVED_PAYMENT"))
	later := records(one("5", "FAILURE", "60", "REQUIRES_DAY_END"))
	before := one("4", "FAILURE", "60", "DECLINED")
	runFind(t, itemAsk, []findRow{
		{"done", partly, nil, records(one("5", "SUCCESS", "60")), awaits, providers.Found, providers.Succeeded},
		{"waits", untouchedState, nil, records(one("5", "WAITING", "60")), awaits, providers.Found, providers.Acknowledged},
		{"failed for good", untouchedState, nil, gone, awaits, providers.Found, providers.Declined},
		{"failed for good, the payment changed", otherItem, nil, gone, awaits, providers.Found, providers.Declined},
		{"failed without a cause", untouchedState, nil, records(one("5", "FAILURE", "60")), awaits, providers.Found, providers.Declined},
		{"failed for now", untouchedState, nil, later, awaits, providers.NotFound, providers.NotNow},
		{"failed for now, another call for good", untouchedState, nil, records(before, later[0]), awaits, providers.NotFound, providers.NotNow},
		{"failed for good, another call for now", untouchedState, nil,
			records(one("4", "FAILURE", "60", "REQUIRES_DAY_END"), gone[0]), awaits, providers.Found, providers.Declined},
		{"failed, who knows why", untouchedState, nil, records(one("5", "FAILURE", "60", "NO_RESPONSE")), awaits, providers.TooEarly, 0},
		{"failed for what may be another refund", untouchedState, nil,
			records(one("5", "FAILURE", "60", "MAY_HAVE_ALREADY_REFUNDED")), awaits, providers.TooEarly, 0},
		{"failed for good, the bank did not answer another call", untouchedState, nil,
			records(one("4", "FAILURE", "60", "NO_RESPONSE"), gone[0]), awaits, providers.TooEarly, 0},
		{"not listed", untouchedState, nil, nil, awaits, providers.TooEarly, 0},
		{"not listed, the item changed", partly, nil, nil, awaits, providers.TooEarly, 0},
		{"not listed, every call failed", untouchedState, nil, records(before, one("3", "FAILURE", "60", "DECLINED")), awaits, providers.TooEarly, 0},
		{"failed, another call is done", partly, nil, records(gone[0], one("6", "SUCCESS", "60")), awaits, providers.Found, providers.Succeeded},
		{"failed, another call waits", partly, nil, records(gone[0], one("6", "WAITING", "60")), awaits, providers.Found, providers.Acknowledged},
		{"not listed, another call is done", partly, nil, records(one("6", "SUCCESS", "60")), awaits, providers.Found, providers.Succeeded},
		{"waits, another call is done", partly, nil, records(one("5", "WAITING", "60"), one("6", "SUCCESS", "60")), awaits,
			providers.Contradiction, providers.Conflicting},
	})
	f, err := itemAsk().find(sight{state: untouchedState, parts: later})
	if err != nil || f.Result.Reason != "day_end" || !strings.Contains(f.Detail, "REQUIRES_DAY_END") {
		t.Errorf("got %+v, %v, want the day end", f, err)
	}
}
