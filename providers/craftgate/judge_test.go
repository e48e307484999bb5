package craftgate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/schemas"
)

// wholeAsk and itemAsk are a refund of all of payment 771 and of a part of its item 9001, under the conversation id c.
func wholeAsk() ask {
	return ask{payment: "771", amount: schemas.Money{Micros: 100_000_000, Currency: "TRY"}, conversation: "c", attempts: 1,
		before: &state{Payment: "SUCCESS", Refund: notRefunded, Rest: 100_000_000, Currency: "TRY"}}
}

func itemAsk() ask {
	a := wholeAsk()
	a.item, a.amount.Micros = "9001", 60_000_000
	a.before.ItemRest = new(int64(60_000_000))
	return a
}

// one is a listed refund: its id, status and price, and the group of its failure.
func one(id, status, price string, group ...string) record {
	r := record{ID: text(id), Status: text(status), RefundPrice: text(price), ConversationID: "c", PaymentID: "771"}
	for _, g := range group {
		r.Error = &refusal{Code: "10999", Group: text(g)}
	}
	return r
}

// TestJudge: what an answer of 2xx means. No is a refund that is booked as failed; doubt is an error.
func TestJudge(t *testing.T) {
	const (
		doubt = providers.NoResult
		about = `"conversationId":"c","paymentId":771,"currency":"TRY",`
		all   = `"refundPrice":100.0,"refundType":"CANCEL"}`
	)
	part := func(id, status, price string) string {
		return `{"id":` + id + `,"conversationId":"c","paymentId":771,"status":"` + status + `","refundPrice":` + price + `}`
	}
	parts := func(status string, list ...string) string {
		return `{` + about + `"status":"` + status + `","refundPrice":100,"refundType":"REFUND","paymentTransactionRefunds":[` + strings.Join(list, ",") + `]}`
	}
	tests := []struct {
		name, data string
		item       bool
		want       providers.Status
		id, said   string
		no         bool
	}{
		{"cancel", `{"id":1,` + about + `"status":"SUCCESS","paymentTransactionRefunds":[],` + all, false, providers.Cancelled, "1", "", false},
		{"cancel waits", `{"id":1,` + about + `"status":"WAITING",` + all, false, providers.Acknowledged, "1", "", false},
		{"cancel failed", `{"id":1,` + about + `"status":"FAILURE",` + all, false, 0, "", "", true},
		{"cancel without id", `{` + about + `"status":"SUCCESS",` + all, false, doubt, "", "", false},
		{"cancel with parts", `{"id":1,"status":"SUCCESS","paymentTransactionRefunds":[` + part("5", "SUCCESS", "100") + `],` + all, false, doubt, "", "", false},
		{"one part", parts("SUCCESS", part("5", "SUCCESS", "100")), false, providers.Succeeded, "5", "", false},
		{"two parts", parts("SUCCESS", part("5500000001", "SUCCESS", "60"), part("5500000002", "SUCCESS", "40")), false,
			providers.Succeeded, "", "refund transactions 5500000001,5500000002", false},
		{"two parts wait", parts("WAITING", part("5", "WAITING", "60"), part("6", "WAITING", "40")), false,
			providers.Acknowledged, "", "refund transactions 5,6", false},
		{"two parts failed", parts("FAILURE", part("5", "FAILURE", "60"), part("6", "FAILURE", "40")), false, 0, "", "", true},
		{"mixed", parts("SUCCESS", part("5", "SUCCESS", "60"), part("6", "WAITING", "40")), false,
			providers.Partial, "", "5 SUCCESS 60.00, 6 WAITING 40.00", false},
		{"waiting and failed", parts("WAITING", part("5", "WAITING", "60"), part("6", "FAILURE", "40")), false,
			providers.Partial, "", "5 WAITING 60.00, 6 FAILURE 40.00", false},
		{"parts of another sum", parts("SUCCESS", part("5", "SUCCESS", "60"), part("6", "SUCCESS", "39.99")), false,
			providers.Partial, "", "5 SUCCESS 60.00, 6 SUCCESS 39.99", false},
		{"status over the parts differs", parts("FAILURE", part("5", "SUCCESS", "100")), false, doubt, "", "", false},
		{"yes over failed parts", parts("SUCCESS", part("5", "FAILURE", "100")), false, doubt, "", "", false},
		{"part of another payment", parts("SUCCESS", `{"id":5,"status":"SUCCESS","refundPrice":100,"paymentId":772}`), false, doubt, "", "", false},
		{"part under another conversation", parts("SUCCESS", `{"id":5,"status":"SUCCESS","refundPrice":100,"conversationId":"d"}`), false, doubt, "", "", false},
		{"part of an unknown status", parts("SUCCESS", part("5", "SLEEPING", "100")), false, doubt, "", "", false},
		{"refund without parts", parts("SUCCESS"), false, doubt, "", "", false},
		{"no type", `{"id":1,"status":"SUCCESS","refundPrice":100.0}`, false, doubt, "", "", false},
		{"less than asked", `{"id":1,"status":"SUCCESS","refundPrice":99.99,"refundType":"CANCEL"}`, false, doubt, "", "", false},
		{"item", `{"id":5,` + about + `"paymentTransactionId":9001,"status":"SUCCESS","refundPrice":60}`, true, providers.Succeeded, "5", "", false},
		{"item, little told", `{"id":5,"status":"SUCCESS","refundPrice":60}`, true, providers.Succeeded, "5", "", false},
		{"item waits", `{"id":5,` + about + `"status":"WAITING","refundPrice":60}`, true, providers.Acknowledged, "5", "", false},
		{"item failed", `{"id":5,` + about + `"status":"FAILURE","refundPrice":60}`, true, 0, "", "", true},
		{"other item", `{"id":5,"paymentTransactionId":9002,"status":"SUCCESS","refundPrice":60}`, true, doubt, "", "", false},
		{"other payment", `{"id":5,"paymentId":772,"status":"SUCCESS","refundPrice":60}`, true, doubt, "", "", false},
		{"other conversation", `{"id":5,"conversationId":"d","status":"SUCCESS","refundPrice":60}`, true, doubt, "", "", false},
		{"other currency", `{"id":5,"currency":"EUR","status":"SUCCESS","refundPrice":60}`, true, doubt, "", "", false},
		{"other amount", `{"id":5,"status":"SUCCESS","refundPrice":60.00000001}`, true, doubt, "", "", false},
		{"other amount failed", `{"id":5,"status":"FAILURE","refundPrice":61}`, true, doubt, "", "", false},
		{"no amount", `{"id":5,"status":"SUCCESS"}`, true, doubt, "", "", false},
		{"no id", `{"status":"SUCCESS","refundPrice":60}`, true, doubt, "", "", false},
		{"no status", `{"id":5,"refundPrice":60}`, true, doubt, "", "", false},
		{"list", `[]`, true, doubt, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := wholeAsk()
			if tt.item {
				a = itemAsk()
			}
			res, no, err := a.judge(json.RawMessage(tt.data))
			if res.Status != tt.want || (no != nil) != tt.no || (err != nil) != (tt.want == doubt && !tt.no) {
				t.Fatalf("got %v, no %v, %v, want %v, no %v", res.Status, no, err, tt.want, tt.no)
			}
			if res.ProviderRefundID != tt.id || tt.said != "" && res.Raw.Message != tt.said {
				t.Errorf("got id %q and %+v, want id %q and %q", res.ProviderRefundID, res.Raw, tt.id, tt.said)
			}
			if res.Status == providers.Acknowledged && res.Raw.Code != "WAITING" || granted(res.Status) && res.Raw.Code != "SUCCESS" {
				t.Errorf("%v: got code %s", res.Status, res.Raw.Code)
			}
		})
	}
}

func granted(s providers.Status) bool { return s == providers.Succeeded || s == providers.Cancelled }

// TestManyPartsAreAllCounted: a basket of hundreds fits an event, and says how much it leaves out.
func TestManyPartsAreAllCounted(t *testing.T) {
	parts := slices.Repeat([]record{one("5500000001", "SUCCESS", "1")}, 300)
	if got := wholeAsk().result(providers.Partial, parts).Raw.Message; len(got) > 2000 || !strings.HasSuffix(got, "and 260 more") {
		t.Errorf("got %d bytes ending in %q", len(got), got[len(got)-20:])
	}
}
