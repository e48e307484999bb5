package simulator_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

func TestStatusDecides(t *testing.T) {
	for _, row := range []struct {
		status       simulator.BBMSLStatus
		refund, void string
		net          string
	}{
		{simulator.BBMSLOpen, "SIM302", "0000", "129.90"},
		{simulator.BBMSLSuccess, "SIM302", "0000", "129.90"},
		{simulator.BBMSLSettled, "0000", "SIM305", "129.90"},
		{simulator.BBMSLRefunded, "SIM301", "SIM305", "0.00"},
		{simulator.BBMSLVoided, "SIM302", "SIM305", "0.00"},
		{simulator.BBMSLClosed, "SIM302", "SIM305", "0.00"},
	} {
		t.Run(string(row.status), func(t *testing.T) {
			w := start(t)
			w.list(row.status)
			q := w.code("/hosted-checkout/query", `"orderId":4922`, "0000")
			if q.Order.Status != string(row.status) || q.Order.NetAmount.String() != row.net {
				t.Errorf("query shows %s, net %s, want %s, net %s", q.Order.Status, q.Order.NetAmount, row.status, row.net)
			}
			w.code("/hosted-checkout/refund", `"orderId":4922,"amount":10`, row.refund)
			if row.refund == "0000" {
				w.movements("4922 REFUND 10000000")
			} else {
				w.movements()
			}
			w = start(t)
			w.list(row.status)
			w.code("/direct/void", `"merchantReference":"m-1"`, row.void)
			if row.void == "0000" {
				w.movements("4922 CANCEL 129900000")
			} else {
				w.movements()
			}
		})
	}
}

func TestOneRefundForEver(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	first := w.code("/hosted-checkout/refund", `"orderId":"4922","amount":29.90`, "0000")
	if q := w.code("/direct/query", `"orderId":4922`, "0000"); q.Order.NetAmount != "100.00" {
		t.Errorf("query of the direct model shows net %q, want 100.00: only it tells how much went back", q.Order.NetAmount)
	}
	if first.Order.Status != "REFUNDED" || first.Order.NetAmount != "100.00" || first.Transaction.Amount != "29.90" {
		t.Errorf("partial refund answers %+v, want REFUNDED, net 100.00, transaction of 29.90", first)
	}
	w.code("/hosted-checkout/refund", `"orderId":4922,"amount":29.90`, "SIM301")
	w.code("/direct/refund", `"merchantReference":"m-1","amount":1`, "SIM301")
	w.code("/hosted-checkout/void", `"orderId":4922`, "SIM305")
	w.movements("4922 REFUND 29900000")
	if got := w.sim.Ledger()[0].ProviderRefundID; got != first.Transaction.ID.String() {
		t.Errorf("ledger has refund id %s, answer had %s", got, first.Transaction.ID)
	}
}

func TestVoidOnce(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSuccess)
	a := w.code("/hosted-checkout/void", `"orderId":4922`, "0000")
	if a.Order.Status != "VOIDED" || a.Order.NetAmount != "0.00" || a.Transaction.Type != "VOID" || a.Transaction.Amount != "129.90" {
		t.Errorf("void answers %+v, want VOIDED, net 0.00 and a VOID of 129.90", a)
	}
	w.code("/hosted-checkout/void", `"orderId":4922`, "SIM305")
	w.code("/hosted-checkout/refund", `"orderId":4922,"amount":1`, "SIM302")
	w.movements("4922 CANCEL 129900000")
}

func TestAmounts(t *testing.T) {
	for _, row := range []struct {
		amount, code string
	}{
		{"0.01", "0000"}, {"129.9", "0000"}, {"129.90", "0000"}, {"129", "0000"},
		{"129.91", "SIM303"}, {"130", "SIM303"}, {"9999999.99", "SIM303"},
		{"0", "SIM101"}, {"0.00", "SIM101"}, {"-1", "SIM101"}, {"-129.90", "SIM101"}, {"1e1", "SIM101"},
		{"1.000", "SIM101"}, {"0.001", "SIM101"}, {"10000000", "SIM101"}, {"99999999999999999999", "SIM101"},
		{`"10"`, "SIM101"}, {"null", "SIM101"}, {"true", "SIM101"}, {"[10]", "SIM101"}, {"{}", "SIM101"},
	} {
		t.Run(row.amount, func(t *testing.T) {
			w := start(t)
			w.list(simulator.BBMSLSettled)
			w.code("/hosted-checkout/refund", `"orderId":4922,"amount":`+row.amount, row.code)
			if want := map[bool]int{true: 1}[row.code == "0000"]; len(w.sim.Ledger()) != want {
				t.Errorf("ledger has %d lines, want %d", len(w.sim.Ledger()), want)
			}
		})
	}
}

func TestHandles(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{
		{Reference: "1", MerchantReference: "one", Amount: hkd(100)},
		{Reference: "2", Amount: hkd(200)},
		{Reference: "order-3", Amount: hkd(300)},
		{Reference: "4", MerchantReference: "42", Amount: hkd(400)},
	}))
	for _, row := range []struct{ members, code, amount string }{
		{`"orderId":1`, "0000", "1.00"},
		{`"orderId":"1"`, "0000", "1.00"},
		{`"merchantReference":"one"`, "0000", "1.00"},
		{`"orderId":1,"merchantReference":"one"`, "0000", "1.00"},
		{`"orderId":2`, "0000", "2.00"},
		{`"merchantReference":"order-3"`, "0000", "3.00"},
		{`"merchantReference":"42"`, "0000", "4.00"},
		{`"orderId":2,"merchantReference":""`, "0000", "2.00"},
		{`"orderId":2,"unheardOf":{"x":1}`, "0000", "2.00"},
		{`"orderId":2,"merchantReference":"one"`, "SIM202", ""},
		{`"orderId":1,"merchantReference":"nobody"`, "SIM202", ""},
		{`"orderId":77,"merchantReference":"one"`, "SIM202", ""},
		{`"orderId":42`, "SIM201", ""},
		{`"merchantReference":"2"`, "SIM201", ""},
		{`"merchantReference":"One"`, "SIM201", ""},
		{`"OrderId":1`, "SIM101", ""},
		{`"orderId":1.0`, "SIM101", ""},
		{`"orderId":"01"`, "SIM101", ""},
		{`"orderId":-1`, "SIM101", ""},
		{`"orderId":0`, "SIM101", ""},
		{`"orderId":99999999999999999999`, "SIM101", ""},
		{`"orderId":[1]`, "SIM101", ""},
		{`"merchantReference":1`, "SIM101", ""},
		{`"merchantReference":"` + strings.Repeat("é", 65) + `"`, "SIM101", ""},
		{`"merchantReference":"` + strings.Repeat("é", 64) + `"`, "SIM201", ""},
		{`"orderId":1,"orderId":2`, "SIM101", ""},
		{`"orderId":1,"amount":1`, "SIM101", ""},
	} {
		got := w.code("/hosted-checkout/query", row.members, row.code)
		if got.Order.Amount.String() != row.amount {
			t.Errorf("%s: order of %s, want %s", row.members, got.Order.Amount, row.amount)
		}
	}
	w.code("/direct/void", `"orderId":1,"amount":1`, "SIM101")
	w.code("/direct/refund", `"orderId":1`, "SIM101")
	w.movements()
}

func TestWhoMayAsk(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	request := `{"merchantId":"700123","orderId":4922,"amount":1}`
	var good struct{ Signature string }
	w.must(json.Unmarshal([]byte(sealed(request)), &good))
	for _, row := range []struct{ name, body, code string }{
		{"unknown merchant", sealed(`{"merchantId":"700124","orderId":4922,"amount":1}`), "SIM102"},
		{"no merchant", sealed(`{"orderId":4922,"amount":1}`), "SIM101"},
		{"other request", envelope(strings.Replace(request, "1}", "2}", 1), good.Signature), "SIM103"},
		{"one space more", envelope(strings.Replace(request, ",", ", ", 1), good.Signature), "SIM103"},
		{"no signature", envelope(request, ""), "SIM101"},
		{"not Base64", envelope(request, "***"), "SIM101"},
		{"Base64 without padding", envelope(request, strings.TrimRight(good.Signature, "=")), "SIM101"},
		{"Base64 on two lines", envelope(request, good.Signature[:76]+"\n"+good.Signature[76:]), "SIM101"},
		{"signature cut short", envelope(request, good.Signature[:64]), "SIM103"},
		{"no envelope", request, "SIM101"},
		{"request as an object", `{"request":` + request + `,"signature":"` + good.Signature + `"}`, "SIM101"},
		{"two requests", strings.Replace(envelope(request, good.Signature), "{", `{"request":"{}",`, 1), "SIM101"},
		{"text behind", envelope(request, good.Signature) + "x", "SIM101"},
		{"cut off", strings.TrimSpace(envelope(request, good.Signature))[:60], "SIM101"},
		{"list", "[]", "SIM101"},
		{"empty", "", "SIM101"},
		{"merchant as a number", sealed(`{"merchantId":700123,"orderId":4922,"amount":1}`), "0000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, text, err := w.post(t.Context(), "/hosted-checkout/refund", row.body)
			var got answer
			if err != nil || status != http.StatusOK || json.Unmarshal([]byte(text), &got) != nil {
				t.Fatalf("got %d %q %v, want 200 and JSON", status, text, err)
			}
			if got.ResponseCode != row.code {
				t.Errorf("response code %s (%s), want %s", got.ResponseCode, got.Message, row.code)
			}
		})
	}
	w.movements("4922 REFUND 1000000")
}

func TestSeveralKeysOfOneMerchant(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	old := simulator.BBMSLKey{MerchantID: merchant, PublicKey: publicPEM(&otherKey().PublicKey)}
	w.must(w.sim.BBMSL.SetKeys([]simulator.BBMSLKey{old}))
	w.code("/hosted-checkout/query", `"orderId":4922`, "SIM103")
	w.must(w.sim.BBMSL.SetKeys([]simulator.BBMSLKey{old, {MerchantID: merchant, PublicKey: merchantKeys().public}}))
	w.code("/hosted-checkout/query", `"orderId":4922`, "0000")
}

func TestBalance(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{
		{Reference: "1", Amount: hkd(100_00)}, {Reference: "2", Amount: hkd(100_00)}, {Reference: "3", Amount: hkd(100_00), Status: "SUCCESS"},
		{Reference: "4", Amount: schemas.Money{Micros: 1_000_000, Currency: "USD"}},
	}))
	w.must(w.sim.BBMSL.SetBalance(hkd(150_00)))
	w.code("/hosted-checkout/refund", `"orderId":1,"amount":100`, "0000")
	w.code("/hosted-checkout/refund", `"orderId":2,"amount":50.01`, "SIM304")
	w.code("/hosted-checkout/refund", `"orderId":4,"amount":1`, "SIM304")
	w.code("/hosted-checkout/void", `"orderId":3`, "0000")
	w.code("/hosted-checkout/refund", `"orderId":2,"amount":50`, "0000")
	w.movements("1 REFUND 100000000", "3 CANCEL 100000000", "2 REFUND 50000000")
}

func TestOpenPaymentsExistWhenAskedFor(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(50_00)}))
	w.code("/hosted-checkout/refund", `"orderId":7,"amount":20`, "0000")
	w.code("/hosted-checkout/refund", `"orderId":7,"amount":20`, "SIM301")
	w.code("/hosted-checkout/refund", `"merchantReference":"x-1","amount":50`, "0000")
	w.code("/hosted-checkout/refund", `"merchantReference":"x-1","amount":50`, "SIM301")
	w.code("/hosted-checkout/refund", `"orderId":8,"merchantReference":"x-8","amount":50.01`, "SIM303")
	both := w.code("/hosted-checkout/query", `"merchantReference":"x-8"`, "0000")
	if both.Order.ID != 8 {
		t.Errorf("x-8 is order %d, want 8", both.Order.ID)
	}
	w.code("/hosted-checkout/query", `"orderId":7,"merchantReference":"x-8"`, "SIM202")
	w.code("/hosted-checkout/query", `"orderId":1234567890123456`, "SIM201")
	w.movements("7 REFUND 20000000", "x-1 REFUND 50000000")
}

func TestListingAgainKeepsWhatMoved(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSuccess)
	w.code("/direct/refund", `"orderId":4922,"amount":1`, "SIM302")
	w.list(simulator.BBMSLSettled)
	w.code("/direct/refund", `"orderId":4922,"amount":1`, "0000")
	w.list(simulator.BBMSLSettled)
	w.code("/direct/refund", `"orderId":4922,"amount":1`, "SIM301")
	w.must(w.sim.BBMSL.SetPayments(nil))
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(50_00)}))
	w.code("/direct/refund", `"merchantReference":"m-1","amount":1`, "SIM301")
	if err := w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{{Reference: "5", MerchantReference: "m-1", Amount: hkd(1)}}); err == nil {
		t.Error("a moved payment's handle was taken for another payment")
	}
	w.movements("4922 REFUND 1000000")
}

func TestIDsAreNotGivenTwice(t *testing.T) {
	w := start(t)
	w.must(w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(50_00)}))
	first := w.code("/direct/refund", `"merchantReference":"x-1","amount":1`, "0000")
	w.must(w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{{Reference: "y-1", Amount: hkd(50_00)}}))
	second := w.code("/direct/refund", `"merchantReference":"y-1","amount":1`, "0000")
	if first.Order.ID == second.Order.ID {
		t.Errorf("x-1 and y-1 are both order %d", first.Order.ID)
	}
	if first.Transaction.ID == second.Transaction.ID {
		t.Errorf("two refunds have id %s", first.Transaction.ID)
	}
}

func TestPaths(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	for _, model := range []string{"/hosted-checkout", "/direct"} {
		for _, slash := range []string{"", "/"} {
			w.code(model+"/query"+slash, `"orderId":4922`, "0000")
			w.code(model+"/void"+slash, `"orderId":4922`, "SIM305")
			w.code(model+"/refund"+slash, `"orderId":4922,"amount":500`, "SIM303")
		}
	}
	for path, want := range map[string]int{"/hosted-checkout/sale": 404, "/refund": 404, "/direct/refund/x": 404} {
		if status, _, err := w.post(t.Context(), path, ""); err != nil || status != want {
			t.Errorf("POST %s: %d, %v, want %d", path, status, err, want)
		}
	}
	if status, _ := w.control(http.MethodGet, "/bbmsl/direct/refund", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, want 405", status)
	}
	if status, _, err := w.post(t.Context(), "/direct/refund", strings.Repeat(" ", 64<<10)+"{}"); err != nil || status != http.StatusRequestEntityTooLarge {
		t.Errorf("huge body: %d, %v, want 413", status, err)
	}
}

func TestAnswersHaveTheDocumentedShape(t *testing.T) {
	for vector, before := range map[string]simulator.BBMSLStatus{
		"refund-full-ok": "SETTLED", "refund-partial-ok-no-message": "SETTLED", "refund-direct-ok": "SETTLED",
		"void-ok": "SUCCESS", "query-closed": "CLOSED", "query-voided": "VOIDED", "query-not-yet-settled": "SUCCESS",
		"query-after-timeout-untouched": "SETTLED",
	} {
		t.Run(vector, func(t *testing.T) {
			var v struct {
				Request  struct{ Path, RequestString string }
				Response struct{ Body map[string]any }
			}
			readJSON(vector, &v)
			w := start(t)
			listed := v.Response.Body["order"].(map[string]any)
			amount, err := schemas.ParseDecimal(fmt.Sprint(listed["amount"]), "HKD")
			w.must(err)
			w.must(w.sim.BBMSL.SetPayments([]simulator.BBMSLPayment{{Reference: fmt.Sprint(listed["id"]),
				MerchantReference: listed["merchantReference"].(string), Amount: amount, Status: before}}))
			_, text, err := w.post(t.Context(), v.Request.Path, sealed(v.Request.RequestString))
			w.must(err)
			var got map[string]any
			w.must(json.Unmarshal([]byte(text), &got))
			v.Response.Body["message"] = "Success" // one published example leaves it out, the table requires it
			sameShape(t, "", got, v.Response.Body)
		})
	}
}

// sameShape compares two answers: the same members everywhere, and the same values in those that do not
// depend on card, clock and numbering.
func sameShape(t *testing.T, at string, got, want map[string]any) {
	t.Helper()
	gotNames, wantNames := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))
	if !slices.Equal(gotNames, wantNames) {
		t.Errorf("%s has members %v, want %v", at, gotNames, wantNames)
	}
	free := []string{"/transaction/id", "/transaction/stan", "/order/createTime", "/order/updateTime"}
	for name, wanted := range want {
		if inner, ok := wanted.(map[string]any); ok {
			value, _ := got[name].(map[string]any)
			sameShape(t, at+"/"+name, value, inner)
		} else if !slices.Contains(free, at+"/"+name) && got[name] != wanted {
			t.Errorf("%s/%s is %v, want %v", at, name, got[name], wanted)
		} else if fmt.Sprintf("%T", got[name]) != fmt.Sprintf("%T", wanted) {
			t.Errorf("%s/%s is a %T, want a %T", at, name, got[name], wanted)
		}
	}
}

func TestAnswerBytes(t *testing.T) {
	w := start(t)
	w.list(simulator.BBMSLSettled)
	_, hosted, err := w.post(t.Context(), "/hosted-checkout/query", sealed(`{"merchantId":"700123","orderId":4922}`))
	w.must(err)
	_, direct, err := w.post(t.Context(), "/direct/refund", sealed(`{"merchantId":"700123","orderId":4922,"amount":100.5}`))
	w.must(err)
	_, refused, err := w.post(t.Context(), "/direct/refund", sealed(`{"merchantId":"700123","orderId":4922,"amount":1}`))
	w.must(err)
	const at = `"createTime":"2031-03-04T05:06:07.000+00:00","updateTime":"2031-03-04T05:06:07.000+00:00"`
	for _, row := range []struct{ got, want string }{
		{hosted, `{"responseCode":"0000","message":"Success","order":{"id":4922,"merchantId":700123,"merchantReference":"m-1","currency":"HKD","amount":129.90,"netAmount":129.90,"cardType":"VISA","email":"","recurring":false,` + at + `,"status":"SETTLED"}}`},
		{direct, `{"responseCode":"0000","message":"Success","order":{"id":4922,"merchantReference":"m-1","currency":"HKD","amount":129.90,` + at + `,"status":"REFUNDED"},"transaction":{"id":9000000001,"merchantId":700123,"type":"REFUND","amount":100.50,"status":"SUCCESS","stan":"S1"}}`},
		{refused, `{"responseCode":"SIM301","message":"order has been refunded before"}`},
	} {
		if row.got != row.want {
			t.Errorf("got  %s\nwant %s", row.got, row.want)
		}
	}
}
