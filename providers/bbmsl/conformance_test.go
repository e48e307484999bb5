package bbmsl_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/providertest"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// world is a simulator with orders, and an adapter that talks to it.
type world struct {
	sim    *simulator.Server
	server *httptest.Server
	*bbmsl.Provider
}

func newWorld(t *testing.T, cfg bbmsl.Config, around func(http.Handler) http.Handler) *world {
	t.Helper()
	private, public := merchantKeys(t)
	w := &world{sim: simulator.New(simulator.Options{})}
	if err := w.sim.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: "700123", PublicKey: public}}); err != nil {
		t.Fatal(err)
	}
	if err := w.sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: hkd(t, "15.00"), Status: simulator.BBMSLSettled}); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = w.sim
	if around != nil {
		handler = around(handler)
	}
	w.server = httptest.NewServer(handler)
	t.Cleanup(w.server.Close)
	cfg.BaseURL, cfg.MerchantID, cfg.PrivateKey = w.server.URL+"/bbmsl/", "700123", private
	p, err := bbmsl.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w.Provider = p
	return w
}

func (w *world) orders(t *testing.T, list ...simulator.BBMSLPayment) {
	t.Helper()
	if err := w.sim.BBMSL.SetPayments(list); err != nil {
		t.Fatal(err)
	}
}

func merchantKeys(t *testing.T) (private providers.Secret, public string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Merchant struct {
			PrivateKey providers.Secret `json:"privateKeyPkcs8Pem"`
			PublicKey  string           `json:"publicKeyPem"`
		} `json:"merchant"`
	}
	if err := json.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	return keys.Merchant.PrivateKey, keys.Merchant.PublicKey
}

func hkd(t *testing.T, text string) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, "HKD")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func request(t *testing.T, reference, amount string) providers.Request {
	t.Helper()
	return providers.Request{RequestID: schemas.RequestID("r-" + reference), Payment: schemas.Payment{Reference: reference},
		Amount: hkd(t, amount)}
}

func TestConformance(t *testing.T) {
	for _, model := range []bbmsl.Model{bbmsl.Hosted, bbmsl.Direct} {
		t.Run(string(model), func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				New: func(t *testing.T, around func(http.Handler) http.Handler) providertest.World {
					return conformanceWorld(t, newWorld(t, bbmsl.Config{Model: model}, around))
				},
				Moves: func(r *http.Request) bool { return !strings.HasSuffix(r.URL.Path, "/query") },
				Odd:   oddAnswers,
			})
		})
	}
}

func conformanceWorld(t *testing.T, w *world) providertest.World {
	w.orders(t,
		simulator.BBMSLPayment{Reference: "900", Amount: hkd(t, "15.00"), Status: simulator.BBMSLClosed},
		simulator.BBMSLPayment{Reference: "901", Amount: hkd(t, "9999999.99")})
	declined := request(t, "900", "10.00")
	refused := map[string]providers.Request{
		"amount above the limit": request(t, "1", "10000000.00"),
		"amount of zero":         request(t, "1", "0.00"),
		"long reference":         request(t, strings.Repeat("r", 65), "10.00"),
	}
	r := request(t, "1", "10.00")
	r.Amount.Currency = "EUR"
	refused["currency"] = r
	r = request(t, "1", "10.00")
	r.Amount.Micros++
	refused["more digits than the currency has"] = r
	r = request(t, "1", "10.00")
	r.Options = json.RawMessage(`{"by":"name"}`)
	refused["unknown option value"] = r
	r = request(t, "ord-1", "10.00")
	r.Options = json.RawMessage(`{"by":"orderId"}`)
	refused["order id that is no number"] = r
	return providertest.World{
		Provider:   w.Provider,
		Refundable: func(n int) providers.Request { return request(t, strconv.Itoa(n+1), "10.00") },
		Declined:   &declined,
		Refused:    refused,
		Limits: map[string]providers.Request{
			"largest amount":    request(t, "901", "9999999.99"),
			"smallest amount":   request(t, "902", "0.01"),
			"longest reference": request(t, strings.Repeat("r", 64), "10.00"),
		},
		Movements: func() int { return len(w.sim.Ledger()) },
		Down: func() {
			w.server.Close()
			w.Close()
		},
	}
}

// oddAnswers are answers to a refund that moved nothing, none of which says so.
var oddAnswers = map[string]providertest.Answer{
	"no response code":        {Status: 200, ContentType: "application/json", Body: `{"message":"Success"}`},
	"null":                    {Status: 200, ContentType: "application/json", Body: `null`},
	"no transaction":          {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000"}`},
	"no transaction status":   {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"REFUND"}}`},
	"unknown status":          {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"REFUND","status":"PENDING"}}`},
	"unknown type":            {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"SALE","status":"SUCCESS"}}`},
	"other amount":            {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"REFUND","amount":9.99,"status":"SUCCESS"}}`},
	"other currency":          {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"REFUND","currency":"USD","status":"SUCCESS"}}`},
	"other order":             {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","order":{"id":99,"merchantReference":"x"},"transaction":{"id":1,"type":"REFUND","amount":10,"status":"SUCCESS"}}`},
	"amount of another shape": {Status: 200, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"amount":[10],"status":"SUCCESS"}}`},
	"success on a 404":        {Status: 404, ContentType: "application/json", Body: `{"responseCode":"0000","transaction":{"id":1,"type":"REFUND","amount":10,"status":"SUCCESS"}}`},
	"refusal on a 500":        {Status: 500, ContentType: "application/json", Body: `{"responseCode":"E1"}`},
	"page on a 404":           {Status: 404, ContentType: "text/html", Body: `<html><body>not here</body></html>`},
}
