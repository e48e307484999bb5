package bbmsl

import (
	"testing"

	"refundworker/providers"
	"refundworker/schemas"
)

// at is an order of 15.00 HKD in a status, with a rest where it tells one.
func at(status string, net ...int64) state {
	s := state{Status: status, Amount: 15_000_000, Currency: "HKD"}
	if len(net) > 0 {
		s.Net = &net[0]
	}
	return s
}

var (
	all  = schemas.Money{Micros: 15_000_000, Currency: "HKD"}
	part = schemas.Money{Micros: 10_000_000, Currency: "HKD"}
)

func TestFind(t *testing.T) {
	untouched := at("SETTLED", 15_000_000)
	silent := at("SETTLED")
	gone := at("REFUNDED", 5_000_000)
	tests := []struct {
		name   string
		before *state
		now    state
		amount schemas.Money
		want   providers.FindingKind
		status providers.Status
	}{
		{"refunded, our amount", &untouched, at("REFUNDED", 5_000_000), part, providers.Found, providers.Succeeded},
		{"refunded, whole", &untouched, at("REFUNDED", 0), all, providers.Found, providers.Succeeded},
		{"refunded, our amount, no baseline", nil, at("REFUNDED", 5_000_000), part, providers.Found, providers.Succeeded},
		{"refunded, other amount", &untouched, at("REFUNDED", 6_000_000), part, providers.Contradiction, 0},
		{"refunded, nothing gone", &untouched, at("REFUNDED", 15_000_000), part, providers.Contradiction, 0},
		{"refunded before", &gone, at("REFUNDED", 5_000_000), part, providers.Contradiction, 0},
		{"refunded, no rest, part", &silent, at("REFUNDED"), part, providers.Contradiction, 0},
		{"refunded, no rest, whole", &silent, at("REFUNDED"), all, providers.Found, providers.Succeeded},
		{"settled again, rest fell", &untouched, at("SETTLED", 5_000_000), part, providers.Found, providers.Succeeded},
		{"settled again, rest unknown before", &silent, at("SETTLED", 5_000_000), part, providers.Contradiction, 0},
		{"settled again, no baseline", nil, at("SETTLED", 5_000_000), part, providers.Contradiction, 0},
		{"settled, other rest", &untouched, at("SETTLED", 6_000_000), part, providers.Contradiction, 0},
		{"settled, untouched", &untouched, at("SETTLED", 15_000_000), part, providers.NotFound, 0},
		{"settled, no rest", &silent, at("SETTLED"), part, providers.NotFound, 0},
		{"paid, untouched", &untouched, at("SUCCESS", 15_000_000), part, providers.NotFound, 0},
		{"voided, whole", &untouched, at("VOIDED", 0), all, providers.Found, providers.Cancelled},
		{"voided, part", &untouched, at("VOIDED", 0), part, providers.Contradiction, 0},
		{"voided, no baseline", nil, at("VOIDED", 0), all, providers.Contradiction, 0},
		{"closed", &untouched, at("CLOSED", 0), part, providers.Contradiction, 0},
		{"open", &untouched, at("OPEN", 15_000_000), part, providers.Contradiction, 0},
		{"untouched, other currency", &untouched, at("SETTLED", 15_000_000), schemas.Money{Micros: 10_000_000, Currency: "USD"}, providers.Contradiction, 0},
		{"other currency", &untouched, at("REFUNDED", 5_000_000), schemas.Money{Micros: 10_000_000, Currency: "USD"}, providers.Contradiction, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := find(tt.before, tt.now, tt.amount)
			if err != nil || f.Kind != tt.want || f.Result.Status != tt.status {
				t.Errorf("got %v %v, %v, want %v %v", f.Kind, f.Result.Status, err, tt.want, tt.status)
			}
		})
	}
	if f, err := find(&untouched, at("SLEEPING", 15_000_000), part); err == nil {
		t.Errorf("unknown status: got %v, want an error", f.Kind)
	}
}

func TestAfterRefusal(t *testing.T) {
	const doubt = providers.NoResult
	tests := []struct {
		name    string
		now     state
		amount  schemas.Money
		attempt int
		op      operation
		want    providers.Status
		reason  schemas.Reason
	}{
		{"settled", at("SETTLED", 15_000_000), part, 1, opRefund, providers.NotNow, schemas.ReasonInsufficientBalance},
		{"settled, void", at("SETTLED", 15_000_000), all, 1, opVoid, providers.NotNow, schemas.ReasonProviderBusy},
		{"unsettled", at("SUCCESS", 15_000_000), part, 1, opRefund, providers.NotNow, schemas.ReasonDayEnd},
		{"unsettled, void", at("SUCCESS", 15_000_000), all, 1, opVoid, providers.NotNow, schemas.ReasonDayEnd},
		{"open", at("OPEN"), part, 1, opRefund, providers.Declined, schemas.ReasonNotRefundable},
		{"closed", at("CLOSED", 0), part, 2, opRefund, providers.Declined, schemas.ReasonNotRefundable},
		{"our amount, first", at("REFUNDED", 5_000_000), part, 1, opRefund, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"our amount, later", at("REFUNDED", 5_000_000), part, 2, opRefund, providers.Succeeded, ""},
		{"our amount, later, settled again", at("SETTLED", 5_000_000), part, 2, opRefund, providers.Succeeded, ""},
		{"other amount, later", at("REFUNDED", 6_000_000), part, 2, opRefund, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"no rest, first", at("REFUNDED"), part, 1, opRefund, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"no rest, part, later", at("REFUNDED"), part, 2, opRefund, doubt, ""},
		{"no rest, whole, later", at("REFUNDED"), all, 2, opRefund, providers.Succeeded, ""},
		{"nothing gone, later", at("REFUNDED", 15_000_000), part, 2, opRefund, doubt, ""},
		{"voided, first", at("VOIDED", 0), all, 1, opVoid, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"voided, later", at("VOIDED", 0), all, 2, opVoid, providers.Cancelled, ""},
		{"voided, part, later", at("VOIDED", 0), part, 2, opRefund, providers.Declined, schemas.ReasonAlreadyRefunded},
		{"unknown status", at("SLEEPING", 15_000_000), part, 1, opRefund, doubt, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := attempt{request: providers.Request{Amount: tt.amount, Attempt: tt.attempt}, op: tt.op}
			res, err := a.afterRefusal(tt.now)
			if res.Status != tt.want || res.Reason != tt.reason || (err != nil) != (tt.want == doubt) {
				t.Errorf("got %v %q, %v, want %v %q", res.Status, res.Reason, err, tt.want, tt.reason)
			}
		})
	}
}

func TestConfirm(t *testing.T) {
	tests := []struct {
		name   string
		op     operation
		now    state
		amount schemas.Money
		want   providers.Status
	}{
		{"refund shows", opRefund, at("REFUNDED", 5_000_000), part, providers.Succeeded},
		{"refund shows nothing yet", opRefund, at("SETTLED", 15_000_000), part, providers.NoResult},
		{"refund shows another amount", opRefund, at("REFUNDED", 6_000_000), part, providers.NoResult},
		{"refund shows a void", opRefund, at("VOIDED", 0), all, providers.NoResult},
		{"void shows", opVoid, at("VOIDED", 0), all, providers.Cancelled},
		{"void shows nothing yet", opVoid, at("SUCCESS", 15_000_000), all, providers.NoResult},
		{"void shows a refund", opVoid, at("REFUNDED", 0), all, providers.NoResult},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := confirm(tt.op, tt.now, tt.amount)
			if res.Status != tt.want || (err != nil) != (tt.want == providers.NoResult) {
				t.Errorf("got %v, %v, want %v", res.Status, err, tt.want)
			}
		})
	}
}

// TestEarlierRound: Prepare of a refund that was tried before must not call our own late refund somebody
// else's.
func TestEarlierRound(t *testing.T) {
	for _, tt := range []struct {
		earlier bool
		want    providers.Status
	}{{false, providers.Declined}, {true, providers.Succeeded}} {
		res, open, err := closed(at("REFUNDED", 5_000_000), part, tt.earlier)
		if err != nil || open || res.Status != tt.want {
			t.Errorf("earlier %v: got %v, open %v, %v, want %v", tt.earlier, res.Status, open, err, tt.want)
		}
	}
}

func TestFits(t *testing.T) {
	tests := []struct {
		name   string
		now    state
		amount schemas.Money
		want   schemas.Reason
	}{
		{"whole", at("SETTLED", 15_000_000), all, ""},
		{"whole, no rest told", at("SETTLED"), all, ""},
		{"above", at("SETTLED"), schemas.Money{Micros: 15_010_000, Currency: "HKD"}, schemas.ReasonExceedsRemaining},
		{"other currency", at("SETTLED"), schemas.Money{Micros: 1, Currency: "USD"}, schemas.ReasonNotRefundable},
	}
	for _, tt := range tests {
		if got := fits(tt.now, tt.amount); got.Reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got.Reason, tt.want)
		}
	}
}
