package fop_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/seal"
	"refundworker/providers/providertest"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const account = "NorthQuayRedirect_EUR"

// world is a simulator that plays the integrator, and an adapter that talks to it.
type world struct {
	sim    *simulator.Server
	server *httptest.Server
	*fop.Provider
}

func newWorld(t *testing.T, api fop.API, mode seal.Mode, around func(http.Handler) http.Handler) *world {
	t.Helper()
	ours, theirs := sealed(t, mode)
	w := &world{sim: simulator.New(simulator.Options{})}
	if err := w.sim.Google.SetKeys([]simulator.GoogleKeys{theirs}); err != nil {
		t.Fatal(err)
	}
	if err := w.sim.Google.SetOpen(simulator.GooglePayment{Amount: money(t, "15.00", "EUR")}); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = w.sim
	if around != nil {
		handler = around(handler)
	}
	w.server = httptest.NewServer(handler)
	t.Cleanup(w.server.Close)
	p, err := fop.New(fop.Config{API: api, BaseURL: w.server.URL + "/google", Account: account, Seal: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w.Provider = p
	return w
}

func money(t *testing.T, text, currency string) schemas.Money {
	t.Helper()
	m, err := schemas.ParseDecimal(text, schemas.Currency(currency))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func request(reference string, amount schemas.Money) providers.Request {
	id := "r-" + reference
	return providers.Request{RequestID: schemas.RequestID(id[:min(len(id), 100)]), Payment: schemas.Payment{Reference: reference},
		Amount: amount, RequestedAt: time.Now(), IdempotencyKey: id}
}

func moves(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/asynchronousRefund") }

func TestConformance(t *testing.T) {
	for _, api := range []fop.API{fop.RedirectFOP, fop.CardFOP} {
		for mode := range sides {
			t.Run(fmt.Sprintf("%s/%s", api, mode), func(t *testing.T) {
				t.Parallel() // most of the time goes into waiting for deadlines
				providertest.Run(t, providertest.Harness{
					New: func(t *testing.T, around func(http.Handler) http.Handler) providertest.World {
						return conformanceWorld(t, newWorld(t, api, mode, around))
					},
					Moves: moves,
					Odd:   oddAnswers(api),
				})
			})
		}
	}
}

func conformanceWorld(t *testing.T, w *world) providertest.World {
	t.Helper()
	yen, dinars, most := money(t, "1500", "JPY"), money(t, "10.005", "KWD"), money(t, "9999999.99", "EUR")
	longest := strings.Repeat("c", 100)
	if err := w.sim.Google.SetPayments([]simulator.GooglePayment{
		{Reference: "cap-little", Account: account, Amount: money(t, "9.99", "EUR")},
		{Reference: "cap-yen", Account: account, Amount: yen},
		{Reference: "cap-dinars", Account: account, Amount: dinars},
		{Reference: "cap-most", Account: account, Amount: most},
	}); err != nil {
		t.Fatal(err)
	}
	ten := money(t, "10.00", "EUR")
	declined := request("cap-little", ten)
	odd := func(amount schemas.Money, micros int64) providers.Request {
		amount.Micros += micros
		return request("cap-1", amount)
	}
	options := request("cap-1", ten)
	options.Options = json.RawMessage(`{"reason":"x"}`)
	return providertest.World{
		Provider:   w.Provider,
		Refundable: func(n int) providers.Request { return request(fmt.Sprintf("cap-%d", n+1), ten) },
		Declined:   &declined,
		Refused: map[string]providers.Request{
			"zero":                               odd(ten, -ten.Micros),
			"more digits than the euro has":      odd(ten, 1),
			"more digits than the yen has":       odd(yen, 500_000),
			"more digits than the dinar has":     odd(dinars, 100),
			"unknown currency":                   request("cap-1", schemas.Money{Micros: 1_000_000, Currency: "ABC"}),
			"reference too long":                 request(longest+"c", ten),
			"reference that is no request id":    request("cap 1", ten),
			"option, of which there are none":    options,
			"fraction at the top of the amounts": odd(most, 1),
		},
		Limits: map[string]providers.Request{
			"yen": request("cap-yen", yen), "dinars": request("cap-dinars", dinars), "largest amount": request("cap-most", most),
			"smallest amount": request("cap-2", money(t, "0.01", "EUR")), "longest reference": request(longest, ten),
		},
		Movements: func() int { return len(w.sim.Ledger()) },
		Down: func() {
			w.server.Close()
			w.Close()
		},
	}
}

// oddAnswers are answers to a refund that moved nothing, none of which says so. They are not sealed, so that in the plain
// mode, where nothing else stands before them, each is judged by what it says.
func oddAnswers(api fop.API) map[string]providertest.Answer {
	header := func(at string) string {
		return fmt.Sprintf(`"responseHeader":{"responseTimestamp":{"epochMillis":"%s"}}`, at)
	}
	yes, no, other := `{"acknowledged":{}}`, `"errorResponseResult":{"preconditionViolation":{}}`, `"ACKNOWLEDGED"`
	if api == fop.CardFOP {
		header = func(at string) string { return fmt.Sprintf(`"responseHeader":{"responseTimestamp":"%s"}`, at) }
		yes, no, other = other, `"errorResponseCode":"PRECONDITION_VIOLATION"`, yes
	}
	now := fmt.Sprint(time.Now().UnixMilli())
	odd := map[string]providertest.Answer{}
	for name, body := range map[string]string{
		"null":                       `null`,
		"no header":                  `{"result":` + yes + `}`,
		"no result":                  `{` + header(now) + `}`,
		"result of the other family": `{` + header(now) + `,"result":` + other + `}`,
		"unknown member":             `{` + header(now) + `,"result":{"later":{}}}`,
		"unspecified value":          `{` + header(now) + `,"result":"ASYNCHRONOUS_REFUND_RESULT_CODE_UNSPECIFIED"}`,
		"outcome before its time":    `{` + header(now) + `,"result":{"success":{}}}`,
		"stale":                      `{` + header("1780315200000") + `,"result":` + yes + `}`,
		"key twice":                  `{` + header(now) + `,"result":` + yes + `,"result":` + yes + `}`,
		"error under 200":            `{` + header(now) + `,` + no + `}`,
	} {
		odd[name] = providertest.Answer{Status: 200, ContentType: "application/json", Body: body}
	}
	odd["error under 503"] = providertest.Answer{Status: 503, ContentType: "application/json", Body: `{` + header(now) + `,` + no + `}`}
	odd["yes under 201"] = providertest.Answer{Status: 201, ContentType: "application/json", Body: `{` + header(now) + `,"result":` + yes + `}`}
	odd["yes of another type"] = providertest.Answer{Status: 200, ContentType: "text/plain", Body: `{` + header(now) + `,"result":` + yes + `}`}
	return odd
}
