package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// A whole payment before the bank's day end is cancelled as one thing with an id of its own; later, or after
// a part of it went back, each item is refunded for what is left of it.
func TestWholePaymentIsCancelledOrRefunded(t *testing.T) {
	for _, row := range []struct {
		name       string
		sameDay    bool
		before     string
		kind       string
		id, price  json.Number
		parts      string
		movement   string
		providerID string
	}{
		{"same day", true, "", "CANCEL", "4000000001", "100.00000000", "", "730001 CANCEL 100000000", "4000000001"},
		{"later day", false, "", "REFUND", "", "100.00000000", "830001 60.00000000 SUCCESS; 830002 40.00000000 SUCCESS",
			"730001 REFUND 100000000", "5000000001,5000000002"},
		{"same day after a part", true, `{"paymentTransactionId":830001,"refundPrice":25.5}`, "REFUND", "", "74.50000000",
			"830001 34.50000000 SUCCESS; 830002 40.00000000 SUCCESS", "730001 REFUND 74500000", "5000000002,5000000003"},
		{"later day after an item", false, `{"paymentTransactionId":830001}`, "REFUND", "", "40.00000000",
			"830002 40.00000000 SUCCESS", "730001 REFUND 40000000", "5000000002"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := startShop(t, with(twoItems(), func(p *simulator.CraftgatePayment) { p.SameDay = row.sameDay }))
			before := 0
			if row.before != "" {
				s.ok(http.MethodPost, itemPath, row.before)
				before = 1
			}
			got := s.ok(http.MethodPost, wholePath, whole).Data
			if got.Status != "SUCCESS" || got.RefundType != row.kind || got.ID != row.id || got.RefundPrice != row.price || got.ConversationID != "c-1" {
				t.Errorf("answer %+v, want SUCCESS, %s, id %q of %s", got, row.kind, row.id, row.price)
			}
			if states(got.PaymentTransactionRefunds) != row.parts {
				t.Errorf("parts %q, want %q", states(got.PaymentTransactionRefunds), row.parts)
			}
			lines := s.sim.Ledger()
			last := lines[len(lines)-1]
			if line := fmt.Sprintf("%s %s %d", last.Reference, last.Kind, last.Amount.Micros); len(lines) != before+1 || line != row.movement {
				t.Errorf("last of %d lines is %s, want one more line: %s", len(lines), line, row.movement)
			}
			if last.ProviderRefundID != row.providerID {
				t.Errorf("ledger has refund id %s, want %s", last.ProviderRefundID, row.providerID)
			}
			s.refused(s.request(http.MethodPost, wholePath, whole), "422 MAY_HAVE_ALREADY_REFUNDED")
			s.refused(s.request(http.MethodPost, itemPath, item25), "422 MAY_HAVE_ALREADY_REFUNDED")
			if n := len(s.sim.Ledger()); n != before+1 {
				t.Errorf("%d lines after a payment was given back twice, want %d", n, before+1)
			}
		})
	}
}

// Items are given back in parts until nothing is left, and never a part more.
func TestPartsOfAnItem(t *testing.T) {
	s := startShop(t, twoItems())
	for _, row := range []struct{ price, want string }{
		{"60.01", "422 MAY_HAVE_ALREADY_REFUNDED"}, {"25.5", ""}, {"34.51", "422 MAY_HAVE_ALREADY_REFUNDED"},
		{"34.40000000", ""}, {"0.1", ""}, {"0.01", "422 MAY_HAVE_ALREADY_REFUNDED"},
	} {
		body := `{"paymentTransactionId":"830001","refundPrice":` + row.price + `}`
		if row.want == "" {
			s.ok(http.MethodPost, itemPath, body)
		} else {
			s.refused(s.request(http.MethodPost, itemPath, body), row.want)
		}
	}
	s.movements("730001 REFUND 25500000", "730001 REFUND 34400000", "730001 REFUND 100000")
	got := s.ok(http.MethodGet, payPath, "").Data
	if got.RefundStatus != "PARTIAL_REFUNDED" || got.RefundablePrice != "40.00000000" {
		t.Errorf("payment is %s with %v left, want PARTIAL_REFUNDED with the text 40.00000000", got.RefundStatus, got.RefundablePrice)
	}
}

func TestPrices(t *testing.T) {
	const bad = "422 9100"
	for _, row := range []struct{ currency, price, want string }{
		{"TRY", "0.01", ""}, {"TRY", "1.50000000", ""}, {"TRY", "9007199254740.99", ""},
		{"TRY", "0.001", bad}, {"TRY", "0", bad}, {"TRY", "0.00", bad}, {"TRY", "-1", bad}, {"TRY", "1e1", bad},
		{"TRY", `"10"`, bad}, {"TRY", "true", bad}, {"TRY", "[1]", bad}, {"TRY", "1.000000000", bad},
		{"TRY", "99999999999999999999", bad},
		{"TRY", "9007199254741", "422 MAY_HAVE_ALREADY_REFUNDED"},
		{"JPY", "1", ""}, {"JPY", "1.00", ""}, {"JPY", "0.5", bad},
		{"KWD", "0.001", ""}, {"KWD", "0.0001", bad},
	} {
		t.Run(row.currency+" "+row.price, func(t *testing.T) {
			all, err := schemas.MoneyFromMinor(map[string]int64{"TRY": 900719925474099, "JPY": 100, "KWD": 1000}[row.currency], schemas.Currency(row.currency))
			s := startShop(t)
			s.must(err)
			s.list(simulator.CraftgatePayment{Reference: "771", Amount: all})
			r := s.request(http.MethodPost, itemPath, `{"paymentTransactionId":771,"refundPrice":`+row.price+`}`)
			if row.want != "" {
				s.refused(r, row.want)
				s.movements()
				return
			}
			_, got := s.get(r)
			want, err := schemas.ParseDecimal(row.price, schemas.Currency(row.currency))
			s.must(err)
			if len(s.sim.Ledger()) != 1 || s.sim.Ledger()[0].Amount != want {
				t.Errorf("answer %+v, ledger %v, want %s moved", got, s.sim.Ledger(), want)
			}
		})
	}
}

// Without a price all that is left of an item goes back.
func TestItemWithoutPrice(t *testing.T) {
	s := startShop(t, twoItems())
	s.ok(http.MethodPost, itemPath, item25)
	if got := s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":830001,"refundPrice":null}`).Data; got.RefundPrice != "34.50000000" {
		t.Errorf("the rest is %s, want 34.50000000", got.RefundPrice)
	}
	s.movements("730001 REFUND 25500000", "730001 REFUND 34500000")
}

func TestOrdersThatCannotBeRead(t *testing.T) {
	for _, row := range []struct{ path, body, want string }{
		{wholePath, ``, "422 9100"}, {wholePath, `[]`, "422 9100"}, {wholePath, `{}`, "422 9100"},
		{wholePath, whole + "x", "422 9100"}, {wholePath, `{"paymentId":730001,"paymentId":730002}`, "422 9100"},
		{wholePath, `{"paymentId":0}`, "422 9100"}, {wholePath, `{"paymentId":"x"}`, "422 9100"}, {wholePath, `{"paymentId":1.5}`, "422 9100"},
		{wholePath, `{"paymentId":730001,"refundPrice":10}`, "422 9100"},
		{wholePath, `{"paymentId":730001,"paymentTransactionId":830001}`, "422 9100"},
		{wholePath, `{"paymentId":730001,"refundDestinationType":"MOON"}`, "422 9100"},
		{wholePath, `{"paymentId":730001,"chargeFromMe":"yes"}`, "422 9100"},
		{wholePath, `{"paymentId":730001,"conversationId":7}`, "422 9100"},
		{wholePath, `{"paymentId":730002}`, "422 9102"},
		{itemPath, `{"paymentId":730001}`, "422 9100"},
		{itemPath, `{"paymentTransactionId":830003,"refundPrice":1}`, "422 9102"},
		{itemPath, `{"paymentTransactionId":730001,"refundPrice":1}`, "422 9102"},
		{itemPath, `{"paymentTransactionId":99999999999999999999}`, "422 9100"},
	} {
		t.Run(row.path+" "+row.body, func(t *testing.T) {
			s := startShop(t, twoItems())
			s.refused(s.request(http.MethodPost, row.path, row.body), row.want)
			s.movements()
		})
	}
}

func TestDestinations(t *testing.T) {
	for given, want := range map[string]string{
		"": "PROVIDER", `,"refundDestinationType":"PROVIDER"`: "PROVIDER", `,"refundDestinationType":"CARD"`: "PROVIDER",
		`,"refundDestinationType":""`: "PROVIDER", `,"refundDestinationType":null`: "PROVIDER",
		`,"refundDestinationType":"WALLET","chargeFromMe":true,"unheardOf":{}`: "WALLET",
	} {
		s := startShop(t, twoItems())
		got := s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":830001,"refundPrice":1`+given+`}`).Data
		bank, wallet := json.Number("1.00000000"), json.Number("0.00000000")
		if want == "WALLET" {
			bank, wallet = wallet, bank
		}
		if got.RefundDestinationType != want || got.RefundBankPrice != bank || got.RefundWalletPrice != wallet {
			t.Errorf("%s: answer %+v, want %s with %s to the bank and %s to the wallet", given, got, want, bank, wallet)
		}
	}
}

// Each group of errors that the sandbox has a test card for ends a refund without moving money, and leaves
// a failed entry with the reason.
func TestGroups(t *testing.T) {
	groups := strings.Fields("MAY_HAVE_ALREADY_REFUNDED TOO_MANY_REQUESTS POS_BALANCE_NOT_SUFFICIENT REQUIRES_DAY_END " +
		"REFUND_DECLINE UNKNOWN ARCHIVED_PAYMENT EXPIRED_PROVISION INVALID_REFUND_TRANSACTION NON_REFUNDABLE_PAYMENT PAYMENT_NOT_FOUND_FOR_REFUND")
	for _, group := range groups {
		t.Run(group, func(t *testing.T) {
			s := startShop(t, behaving(simulator.CraftgateBehaviour(group)))
			s.refused(s.request(http.MethodPost, wholePath, whole), "422 "+group)
			s.refused(s.request(http.MethodPost, itemPath, item25), "422 "+group)
			s.movements()
			found := s.ok(http.MethodGet, partReports+"?paymentId=730001&conversationId=c-1", "").Data.Items
			if want := "830001 60.00000000 FAILURE; 830002 40.00000000 FAILURE; 830001 25.50000000 FAILURE"; states(found) != want {
				t.Fatalf("found %q, want %q", states(found), want)
			}
			if found[0].Error == nil || found[0].Error.ErrorGroup != group {
				t.Errorf("error %+v, want %s", found[0].Error, group)
			}
			s.list(twoItems())
			s.ok(http.MethodPost, wholePath, whole)
			s.movements("730001 REFUND 100000000")
		})
	}
}

// A same-day refund that fails is listed as a refund of the payment.
func TestFailedCancelIsListed(t *testing.T) {
	s := startShop(t, with(behaving("REFUND_DECLINE"), func(p *simulator.CraftgatePayment) { p.SameDay = true }))
	s.refused(s.request(http.MethodPost, wholePath, whole), "422 REFUND_DECLINE")
	found := s.ok(http.MethodGet, wholeReports+"?conversationId=c-1", "").Data.Items
	if len(found) != 1 || found[0].Status != "FAILURE" || found[0].PaymentID != "730001" || found[0].Error == nil || found[0].Error.ErrorGroup != "REFUND_DECLINE" {
		t.Errorf("found %+v, want one FAILURE of payment 730001 with REFUND_DECLINE", found)
	}
}

func TestFailureWithHTTP200(t *testing.T) {
	s := startShop(t, behaving(simulator.CraftgateFailure))
	if got := s.ok(http.MethodPost, itemPath, item25).Data; got.Status != "FAILURE" || got.ID != "5000000001" {
		t.Errorf("answer %+v, want FAILURE and an id", got)
	}
	if got := s.ok(http.MethodPost, wholePath, whole).Data; got.Status != "FAILURE" {
		t.Errorf("answer %+v, want FAILURE", got)
	}
	s.movements()
}

// Some items go back and the last one does not: the whole is no success, and only what moved is in the ledger.
func TestMixedItems(t *testing.T) {
	s := startShop(t, behaving(simulator.CraftgateMixed))
	got := s.ok(http.MethodPost, wholePath, whole).Data
	if want := "830001 60.00000000 SUCCESS; 830002 40.00000000 FAILURE"; got.Status != "FAILURE" || states(got.PaymentTransactionRefunds) != want {
		t.Errorf("answer %s with %q, want FAILURE with %q", got.Status, states(got.PaymentTransactionRefunds), want)
	}
	s.movements("730001 REFUND 60000000")
	if id := s.sim.Ledger()[0].ProviderRefundID; id != "5000000001" {
		t.Errorf("ledger has refund id %s, want that of the part that moved", id)
	}
	if p := s.ok(http.MethodGet, payPath, "").Data; p.RefundStatus != "PARTIAL_REFUNDED" || p.RefundablePrice != "40.00000000" {
		t.Errorf("payment is %s with %v left, want PARTIAL_REFUNDED with 40.00000000", p.RefundStatus, p.RefundablePrice)
	}
}

func TestCraftgateOpenPayments(t *testing.T) {
	s := startShop(t, twoItems())
	s.must(s.sim.Craftgate.SetOpen(simulator.CraftgatePayment{Amount: lira(50_00), SameDay: true}))
	if got := s.ok(http.MethodGet, "/payment-reporting/v1/payments/7", "").Data; got.RefundablePrice != "50.00000000" {
		t.Errorf("payment 7 has %v left, want 50.00000000", got.RefundablePrice)
	}
	s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":7,"refundPrice":20}`)
	s.ok(http.MethodPost, wholePath, `{"paymentId":7}`)
	s.ok(http.MethodPost, wholePath, `{"paymentId":8}`)
	s.refused(s.request(http.MethodPost, itemPath, `{"paymentTransactionId":8}`), "422 MAY_HAVE_ALREADY_REFUNDED")
	s.refused(s.request(http.MethodPost, wholePath, `{"paymentId":830001}`), "422 9102") // it would share its item with 730001
	s.refused(s.request(http.MethodPost, itemPath, `{"paymentTransactionId":730001}`), "422 9102")
	s.refused(s.request(http.MethodPost, wholePath, `{"paymentId":1234567890123456}`), "422 9102")
	s.movements("7 REFUND 20000000", "7 REFUND 30000000", "8 CANCEL 50000000")
}

// Listing payments again sets a new scene, but money that has moved stays moved.
func TestCraftgateListingAgain(t *testing.T) {
	s := startShop(t, twoItems(), simulator.CraftgatePayment{Reference: "9", Amount: lira(1)})
	s.ok(http.MethodPost, itemPath, item25)
	s.list(twoItems())
	s.refused(s.request(http.MethodPost, wholePath, `{"paymentId":9}`), "422 9102")
	s.list()
	s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":830001}`)
	s.refused(s.request(http.MethodPost, itemPath, item25), "422 MAY_HAVE_ALREADY_REFUNDED")
	for name, p := range map[string]simulator.CraftgatePayment{
		"other amount":        {Reference: "730001", Amount: lira(200_00)},
		"other transactions":  {Reference: "730001", Amount: lira(100_00)},
		"a transaction of it": {Reference: "5", Amount: lira(60_00), Transactions: []simulator.CraftgateTransaction{{Reference: "830001", Amount: lira(60_00)}}},
	} {
		if err := s.sim.Craftgate.SetPayments([]simulator.CraftgatePayment{p}); err == nil {
			t.Errorf("%s: listed", name)
		}
	}
	s.movements("730001 REFUND 25500000", "730001 REFUND 34500000")
}

func TestCraftgateWhoMayAsk(t *testing.T) {
	s := startShop(t, twoItems())
	for name, row := range map[string]struct{ header, value, want string }{
		"no key":              {"x-api-key", "", "401 9001"},
		"unknown key":         {"x-api-key", "other", "401 9001"},
		"no version":          {"x-auth-version", "", "401 9002"},
		"unknown version":     {"x-auth-version", "V2", "401 9002"},
		"no random key":       {"x-rnd-key", "", "401 9003"},
		"other random key":    {"x-rnd-key", "rnd-2", "401 9004"},
		"no signature":        {"x-signature", "", "401 9004"},
		"not Base64":          {"x-signature", "***", "401 9004"},
		"short signature":     {"x-signature", "AAAA", "401 9004"},
		"version of a client": {"x-auth-version", "1", ""},
		"version of the page": {"x-auth-version", "V1", ""},
	} {
		r := s.request(http.MethodGet, payPath, "")
		r.Header.Set(row.header, row.value)
		if row.want != "" {
			s.refused(r, row.want)
		} else if status, p := s.get(r); status != http.StatusOK {
			t.Errorf("%s: %d %+v, want 200", name, status, p.Errors)
		}
		post := s.request(http.MethodPost, wholePath, whole)
		post.Header.Set("x-signature", signature(post.URL.String(), "rnd-1", whole+" "))
		s.refused(post, "401 9004")
	}
	s.movements()
}

// Callers hash one of several spellings of the URL.
func TestSpellingsOfTheURL(t *testing.T) {
	s := startShop(t, twoItems())
	const encoded = "/payment-reporting/v1/refunds?conversationId=a%20b+c&minCreatedDate=2031-03-04T00%3A00%3A00"
	for spelling, want := range map[string]int{
		encoded: 200,
		"/payment-reporting/v1/refunds?conversationId=a%20b+c&minCreatedDate=2031-03-04T00:00:00": 200,
		"/payment-reporting/v1/refunds?conversationId=a b+c&minCreatedDate=2031-03-04T00:00:00":   200,
		"/payment-reporting/v1/refunds?conversationId=a b c&minCreatedDate=2031-03-04T00:00:00":   200,
		"/payment-reporting/v1/refunds?minCreatedDate=2031-03-04T00:00:00&conversationId=a b c":   401,
		"/payment-reporting/v1/refunds": 401,
	} {
		r := s.request(http.MethodGet, encoded, "")
		r.Header.Set("x-signature", signature(s.server.URL+"/craftgate"+spelling, "rnd-1", ""))
		if got, _ := s.get(r); got != want {
			t.Errorf("signed as %s: %d, want %d", spelling, got, want)
		}
	}
}

func TestCraftgatePaths(t *testing.T) {
	s := startShop(t, twoItems())
	for path, want := range map[string]int{"/payment/v1/refund": 404, "/payment/v1/refunds/mark-as-refunded": 405, wholePath + "/": 404} {
		if status, _, err := s.send(s.request(http.MethodPost, path, whole)); err != nil || status != want {
			t.Errorf("POST %s: %d, %v, want %d", path, status, err, want)
		}
	}
	if status, _, err := s.send(s.request(http.MethodGet, wholePath, "")); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, %v, want 405", status, err)
	}
	huge := strings.Repeat(" ", 64<<10) + whole
	if status, _, err := s.send(s.request(http.MethodPost, wholePath, huge)); err != nil || status != http.StatusRequestEntityTooLarge {
		t.Errorf("huge body: %d, %v, want 413", status, err)
	}
	s.movements()
}
