package simulator_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"refundworker/providers/simulator"
)

// Each kind of refund is found by its own id, in the lists of its payment, and by searching.
func TestWhereRefundsAreFound(t *testing.T) {
	cancel := simulator.CraftgatePayment{Reference: "771", Amount: lira(50_00), SameDay: true}
	s := startShop(t, twoItems(), cancel)
	s.ok(http.MethodPost, itemPath, item25)
	s.ok(http.MethodPost, wholePath, `{"paymentId":771,"conversationId":"c-2"}`)
	for _, row := range []struct{ path, want string }{
		{payPath + "/refunds", ""},
		{"/payment-reporting/v1/payments/771/refunds", "4000000001"},
		{payPath + "/transactions/830001/refunds", "5000000001"},
		{payPath + "/transactions/830002/refunds", ""},
		{"/payment-reporting/v1/payments/771/transactions/771/refunds", ""},
		{wholeReports, "4000000001"},
		{partReports, "5000000001"},
		{wholeReports + "?conversationId=c-1", ""},
		{wholeReports + "?conversationId=c-2&paymentId=771&status=SUCCESS&currency=TRY", "4000000001"},
		{wholeReports + "?conversationId=c-2&paymentId=730001", ""},
		{partReports + "?conversationId=c-1&paymentId=730001&paymentTransactionId=830001&isAfterSettlement=false", "5000000001"},
		{partReports + "?conversationId=c-1&paymentTransactionId=830002", ""},
		{partReports + "?isAfterSettlement=true", ""},
		{partReports + "?status=WAITING", ""},
		{partReports + "?currency=USD", ""},
		{partReports + "?buyerMemberId=1", ""},
		{partReports + "?id=5000000001&status=", "5000000001"},
		{partReports + "?id=4000000001", ""},
		{partReports + "?minCreatedDate=2031-03-04T08:06:07", "5000000001"}, // 05:06:07 in London is 08:06:07 in Istanbul
		{partReports + "?minCreatedDate=2031-03-04T08:06:08", ""},
		{partReports + "?minCreatedDate=2031-03-04T05%3A06%3A07.000Z", "5000000001"},
		{partReports + "?maxCreatedDate=2031-03-04T08:06:07.5", "5000000001"},
		{partReports + "?maxCreatedDate=2031-03-04T08:06:06", ""},
	} {
		got := s.ok(http.MethodGet, row.path, "").Data
		var ids []string
		for _, p := range got.Items {
			ids = append(ids, p.ID.String())
		}
		if strings.Join(ids, " ") != row.want || got.TotalSize.String() != strconv.Itoa(len(ids)) {
			t.Errorf("%s finds %v of %s, want %q", row.path, ids, got.TotalSize, row.want)
		}
	}
	if got := s.ok(http.MethodGet, wholePath+"/4000000001", "").Data; got.RefundType != "CANCEL" || got.ConversationID != "c-2" {
		t.Errorf("retrieved %+v, want the CANCEL of c-2", got)
	}
	if got := s.ok(http.MethodGet, itemPath+"/5000000001", "").Data; got.RefundPrice != "25.50000000" || got.ConversationID != "c-1" {
		t.Errorf("retrieved %+v, want 25.5 of c-1", got)
	}
	if got := s.ok(http.MethodGet, payPath+"/transactions", "").Data.Items; len(got) != 2 || got[0].ID != "830001" || got[0].RefundablePrice != "34.50000000" {
		t.Errorf("items %+v, want 830001 with 34.50000000 left, and 830002", got)
	}
}

func TestWhatIsNotFound(t *testing.T) {
	s := startShop(t, twoItems(), simulator.CraftgatePayment{Reference: "771", Amount: lira(50_00)})
	for _, path := range []string{
		wholePath + "/4000000001", itemPath + "/5000000001", "/payment-reporting/v1/payments/1",
		"/payment-reporting/v1/payments/1/refunds", "/payment-reporting/v1/payments/1/transactions",
		payPath + "/transactions/771/refunds", payPath + "/transactions/1/refunds",
	} {
		s.refused(s.request(http.MethodGet, path, ""), "404 9101")
	}
}

func TestSearchesThatCannotBeRead(t *testing.T) {
	s := startShop(t, twoItems())
	for _, query := range []string{
		"?colour=red", "?minRefundPrice=1", "?paymentTransactionId=830001", "?page=-1", "?page=x", "?size=0", "?size=1.5",
		"?minCreatedDate=yesterday", "?id=1&id=2", "?id=%zz",
	} {
		r := s.request(http.MethodGet, wholeReports, "")
		r.URL.RawQuery = query[1:]
		r.Header.Set("x-signature", signature(r.URL.String(), "rnd-1", ""))
		s.refused(r, "422 9100")
	}
}

func TestPages(t *testing.T) {
	s := startShop(t, twoItems())
	for range 30 {
		s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":830001,"refundPrice":0.01}`)
	}
	for _, row := range []struct {
		query string
		size  json.Number
		n     int
		first json.Number
	}{
		{"", "25", 25, "5000000001"}, {"?page=1", "25", 5, "5000000026"}, {"?page=2", "25", 0, ""},
		{"?size=10&page=2", "10", 10, "5000000021"}, {"?size=1000", "100", 30, "5000000001"},
		{"?page=2147483647", "25", 0, ""},
	} {
		got := s.ok(http.MethodGet, partReports+row.query, "").Data
		var first json.Number
		if len(got.Items) > 0 {
			first = got.Items[0].ID
		}
		if got.TotalSize != "30" || got.Size != row.size || len(got.Items) != row.n || first != row.first {
			t.Errorf("%q: %d of %s from %s, size %s, want %d of 30 from %s, size %s",
				row.query, len(got.Items), got.TotalSize, first, got.Size, row.n, row.first, row.size)
		}
	}
}

// A refund waits for as many lookups as were listed. Its money is held meanwhile, and moves when it ends well.
func TestWaitingBecomesSuccess(t *testing.T) {
	for name, path := range map[string]string{
		"search": partReports + "?conversationId=c-1", "list": payPath + "/transactions/830001/refunds", "retrieve": itemPath + "/5000000001",
	} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, with(behaving(simulator.CraftgateWaiting), func(p *simulator.CraftgatePayment) { p.Lookups = 2 }))
			if got := s.ok(http.MethodPost, itemPath, item25).Data; got.Status != "WAITING" {
				t.Fatalf("answer %s, want WAITING", got.Status)
			}
			for _, want := range []string{"WAITING", "WAITING", "SUCCESS", "SUCCESS"} {
				s.ok(http.MethodGet, payPath, "") // the payment's report does not count
				got := s.ok(http.MethodGet, path, "").Data
				if status := got.Status; status != want && (len(got.Items) != 1 || got.Items[0].Status != want) {
					t.Errorf("lookup shows %s %+v, want %s", status, got.Items, want)
				}
				if want == "WAITING" {
					s.movements()
					s.refused(s.request(http.MethodPost, itemPath, `{"paymentTransactionId":830002}`), "422 TOO_MANY_REQUESTS")
				}
			}
			s.movements("730001 REFUND 25500000")
			s.ok(http.MethodPost, itemPath, `{"paymentTransactionId":830002}`)
		})
	}
}

func TestWaitingHoldsItsMoney(t *testing.T) {
	s := startShop(t, with(behaving(simulator.CraftgateWaiting), func(p *simulator.CraftgatePayment) { p.SameDay = true }))
	s.ok(http.MethodPost, wholePath, whole)
	if p := s.ok(http.MethodGet, payPath, "").Data; p.RefundStatus != "NOT_REFUNDED" || p.RefundablePrice != "0.00000000" {
		t.Errorf("payment is %s with %v left, want NOT_REFUNDED with nothing left", p.RefundStatus, p.RefundablePrice)
	}
	if got := s.ok(http.MethodGet, wholeReports+"?conversationId=c-1&status=SUCCESS", "").Data.Items; len(got) != 1 {
		t.Errorf("found %+v, want the refund that has just ended", got)
	}
	s.movements("730001 CANCEL 100000000")
	if p := s.ok(http.MethodGet, payPath, "").Data; p.RefundStatus != "FULLY_REFUNDED" || len(p.Refunds) != 1 {
		t.Errorf("payment %+v, want FULLY_REFUNDED by one refund", p)
	}
}

func TestWaitingBecomesFailure(t *testing.T) {
	s := startShop(t, behaving(simulator.CraftgateWaitingFailure))
	s.ok(http.MethodPost, wholePath, whole)
	s.list(twoItems()) // how the first one ends is decided
	found := s.ok(http.MethodGet, partReports+"?conversationId=c-1", "").Data.Items
	if want := "830001 60.00000000 FAILURE; 830002 40.00000000 FAILURE"; states(found) != want || found[1].Error == nil {
		t.Errorf("found %q with error %v, want %q with an error", states(found), found[1].Error, want)
	}
	s.movements()
	s.ok(http.MethodPost, wholePath, whole)
	s.movements("730001 REFUND 100000000")
}
