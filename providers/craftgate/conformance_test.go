package craftgate_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/craftgate"
	"refundworker/providers/providertest"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// world is a simulator with payments, and an adapter that talks to it.
type world struct {
	sim    *simulator.Server
	server *httptest.Server
	*craftgate.Provider
}

// newWorld serves payments that all look like the given one: 100.00 lira, with an item of the payment's own number.
func newWorld(t *testing.T, open simulator.CraftgatePayment, around func(http.Handler) http.Handler) *world {
	t.Helper()
	w := &world{sim: simulator.New(simulator.Options{})}
	if err := w.sim.Craftgate.SetKeys([]simulator.CraftgateKey{{APIKey: "api", SecretKey: "secret", WebhookKey: "hook"}}); err != nil {
		t.Fatal(err)
	}
	open.Amount = amount(t, "100.00", "TRY")
	if err := w.sim.Craftgate.SetOpen(open); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = w.sim
	if around != nil {
		handler = around(handler)
	}
	w.server = httptest.NewServer(handler)
	t.Cleanup(w.server.Close)
	p, err := craftgate.New(craftgate.Config{BaseURL: w.server.URL + "/craftgate/", APIKey: "api", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w.Provider = p
	return w
}

func (w *world) payments(t *testing.T, list ...simulator.CraftgatePayment) {
	t.Helper()
	if err := w.sim.Craftgate.SetPayments(list); err != nil {
		t.Fatal(err)
	}
}

func amount(t *testing.T, text string, c schemas.Currency) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// whole asks for all of a payment, item for a part of the payment's item of the same number.
func whole(t *testing.T, reference string) providers.Request {
	t.Helper()
	id := schemas.RequestID("ord:" + reference)
	return providers.Request{RequestID: id, IdempotencyKey: string(id), Payment: schemas.Payment{Reference: reference},
		Amount: amount(t, "100.00", "TRY")}
}

func item(t *testing.T, reference, price string) providers.Request {
	t.Helper()
	r := whole(t, reference)
	r.Amount = amount(t, price, "TRY")
	r.Options = json.RawMessage(`{"paymentTransactionId":"` + reference + `"}`)
	return r
}

func moves(r *http.Request) bool { return r.Method == http.MethodPost }

func TestConformance(t *testing.T) {
	for name, kind := range map[string]struct {
		open    simulator.CraftgatePayment
		request func(t *testing.T, reference string) providers.Request
		odd     map[string]providertest.Answer
	}{
		"whole":  {simulator.CraftgatePayment{}, whole, oddWhole},
		"cancel": {simulator.CraftgatePayment{SameDay: true}, whole, nil},
		"item":   {simulator.CraftgatePayment{}, func(t *testing.T, ref string) providers.Request { return item(t, ref, "10.00") }, oddItem},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Harness{
				New: func(t *testing.T, around func(http.Handler) http.Handler) providertest.World {
					w := newWorld(t, kind.open, around)
					return conformanceWorld(t, w, func(n int) providers.Request { return kind.request(t, strconv.Itoa(n+1)) })
				},
				Moves: moves,
				Odd:   kind.odd,
			})
		})
	}
}

func conformanceWorld(t *testing.T, w *world, refundable func(int) providers.Request) providertest.World {
	w.payments(t,
		simulator.CraftgatePayment{Reference: "900", Amount: amount(t, "100.00", "TRY"), Behaviour: "ARCHIVED_PAYMENT"},
		simulator.CraftgatePayment{Reference: "901", Amount: amount(t, "9999999.99", "TRY")},
		simulator.CraftgatePayment{Reference: "902", Amount: amount(t, "1000", "JPY")},
		simulator.CraftgatePayment{Reference: "903", Amount: amount(t, "10.005", "KWD")},
		simulator.CraftgatePayment{Reference: "904", Amount: amount(t, "9223372036854.77", "TRY")},
		simulator.CraftgatePayment{Reference: "999999999999999", Amount: amount(t, "100.00", "TRY")})
	declined := whole(t, "900")
	of := func(reference, price string, c schemas.Currency) providers.Request {
		r := item(t, reference, "1.00")
		r.Amount = amount(t, price, c)
		return r
	}
	return providertest.World{
		Provider:   w.Provider,
		Refundable: refundable,
		Declined:   &declined,
		Refused:    refusedEarly(t),
		Limits: map[string]providers.Request{
			"millions":        of("901", "9999999.99", "TRY"),
			"smallest amount": of("905", "0.01", "TRY"),
			"no decimals":     of("902", "999", "JPY"),
			"three decimals":  of("903", "10.005", "KWD"),
			"most of all":     of("904", "9223372036854.77", "TRY"),
			"long reference":  whole(t, "999999999999999"),
			"long request id": longID(t),
		},
		Movements: func() int { return len(w.sim.Ledger()) },
		Down: func() {
			w.server.Close()
			w.Close()
		},
	}
}

func longID(t *testing.T) providers.Request {
	r := item(t, "906", "1.00")
	r.RequestID = schemas.RequestID(strings.Repeat("_:", 50))
	r.IdempotencyKey = string(r.RequestID) + ":r1"
	return r
}

// refusedEarly are requests that no Craftgate merchant could ever have served.
func refusedEarly(t *testing.T) map[string]providers.Request {
	spoilt := func(spoil func(*providers.Request)) providers.Request {
		r := item(t, "1", "10.00")
		spoil(&r)
		return r
	}
	money := func(micros int64, c schemas.Currency) func(*providers.Request) {
		return func(r *providers.Request) { r.Amount = schemas.Money{Micros: micros, Currency: c} }
	}
	reference := func(text string) func(*providers.Request) {
		return func(r *providers.Request) { r.Payment.Reference = text }
	}
	return map[string]providers.Request{
		"zero":                     spoilt(money(0, "TRY")),
		"negative":                 spoilt(money(-10_000_000, "TRY")),
		"more digits than lira":    spoilt(money(10_001_000, "TRY")),
		"more digits than yen":     spoilt(money(10_500_000, "JPY")),
		"more digits than dinar":   spoilt(money(10_000_500, "KWD")),
		"currency not listed":      spoilt(money(10_000_000, "HKD")),
		"no currency":              spoilt(money(10_000_000, "")),
		"reference in letters":     spoilt(reference("ord-1")),
		"reference with a zero":    spoilt(reference("01")),
		"reference out of range":   spoilt(reference("1000000000000000000")),
		"reference with a path":    spoilt(reference("1/../2")),
		"option nobody knows":      spoilt(func(r *providers.Request) { r.Options = json.RawMessage(`{"by":"orderId"}`) }),
		"item that is no number":   spoilt(func(r *providers.Request) { r.Options = json.RawMessage(`{"paymentTransactionId":"x"}`) }),
		"destination nobody knows": spoilt(func(r *providers.Request) { r.Options = json.RawMessage(`{"refundDestinationType":"CARD"}`) }),
	}
}

func odd(status int, body string) providertest.Answer {
	return providertest.Answer{Status: status, ContentType: "application/json", Body: body}
}

// oddWhole and oddItem are answers to a refund that moved nothing, none of which says so.
var oddWhole = map[string]providertest.Answer{
	"null":                          odd(200, `null`),
	"no data":                       odd(200, `{}`),
	"null data":                     odd(200, `{"data":null}`),
	"data of another shape":         odd(200, `{"data":[1]}`),
	"empty data":                    odd(200, `{"data":{}}`),
	"errors on 200":                 odd(200, `{"errors":{"errorCode":"10999","errorGroup":"DECLINED"}}`),
	"data and errors":               odd(200, `{"data":{"id":1},"errors":{"errorCode":"10999","errorGroup":"DECLINED"}}`),
	"no refund type":                odd(200, `{"data":{"id":1,"status":"SUCCESS","refundPrice":100}}`),
	"unknown refund type":           odd(200, `{"data":{"id":1,"status":"SUCCESS","refundPrice":100,"refundType":"VOID"}}`),
	"refund without entries":        odd(200, `{"data":{"status":"SUCCESS","refundPrice":100,"refundType":"REFUND","paymentTransactionRefunds":[]}}`),
	"cancel of another amount":      odd(200, `{"data":{"id":1,"status":"SUCCESS","refundPrice":10,"refundType":"CANCEL"}}`),
	"cancel of another payment":     odd(200, `{"data":{"id":1,"status":"SUCCESS","refundPrice":100,"refundType":"CANCEL","paymentId":99}}`),
	"success on 404":                odd(404, `{"data":{"id":1,"status":"SUCCESS","refundPrice":100,"refundType":"CANCEL"}}`),
	"refusal on 500":                odd(500, `{"errors":{"errorCode":"10999","errorGroup":"DECLINED"}}`),
	"refusal without code":          odd(422, `{"errors":{"errorDescription":"no"}}`),
	"refusal of an unlisted group":  odd(422, `{"errors":{"errorCode":"10999","errorGroup":"SOMETHING_NEW"}}`),
	"refusal by the bank, no group": odd(422, `{"errors":{"errorCode":"10999"}}`),
	"refusal in words":              odd(422, `{"errors":{"errorCode":"NO"}}`),
	"refund still running":          odd(429, `{"errors":{"errorCode":"10999","errorGroup":"TOO_MANY_REQUESTS"}}`),
	"page on 404":                   {Status: 404, ContentType: "text/html", Body: `<html><body>not here</body></html>`},
}

var oddItem = map[string]providertest.Answer{
	"no status":          odd(200, `{"data":{"id":1,"refundPrice":10}}`),
	"unknown status":     odd(200, `{"data":{"id":1,"refundPrice":10,"status":"PENDING"}}`),
	"no amount":          odd(200, `{"data":{"id":1,"status":"SUCCESS"}}`),
	"no id":              odd(200, `{"data":{"refundPrice":10,"status":"SUCCESS"}}`),
	"amount as a list":   odd(200, `{"data":{"id":1,"refundPrice":[10],"status":"SUCCESS"}}`),
	"other amount":       odd(200, `{"data":{"id":1,"refundPrice":10.00000001,"status":"SUCCESS"}}`),
	"other currency":     odd(200, `{"data":{"id":1,"refundPrice":10,"currency":"EUR","status":"SUCCESS"}}`),
	"other item":         odd(200, `{"data":{"id":1,"refundPrice":10,"paymentTransactionId":99,"status":"SUCCESS"}}`),
	"other conversation": odd(200, `{"data":{"id":1,"refundPrice":10,"conversationId":"x","status":"SUCCESS"}}`),
}
