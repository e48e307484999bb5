package fop

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// sent is a document as the integrator reads it, without its timestamp, and when it was made.
func (in *integrator) sent(t *testing.T, n int) (map[string]any, time.Time) {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	document, err := in.seal.Open([]byte(in.messages[n]))
	if err != nil {
		t.Fatalf("message %d: %v", n, err)
	}
	var d map[string]any
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	header := d["requestHeader"].(map[string]any)
	stamp := header["requestTimestamp"]
	if object, ok := stamp.(map[string]any); ok {
		stamp = object["epochMillis"]
	}
	delete(header, "requestTimestamp")
	var millis int64
	if _, err := fmt.Sscan(stamp.(string), &millis); err != nil {
		t.Fatal(err)
	}
	return d, time.UnixMilli(millis)
}

// A refund is asked for at its API's path, in its API's form, under the requestId and nothing else.
func TestRefundAsksInTheFormOfItsAPI(t *testing.T) {
	want := map[API]struct{ path, document string }{
		RedirectFOP: {"/base/v1/payment-integrator-redirect/asynchronousRefund",
			`{"requestHeader":{"protocolVersion":{"major":1},"requestId":"ord-1042:r1","paymentIntegratorAccountId":"LanternCards_CAD"},
			"captureRequestId":"cap_Q9xL-31","refundAmount":{"amountMicros":"64990000","currencyCode":"CAD"}}`},
		CardFOP: {"/base/v1/payment-integrator-card-fop-api/asynchronousRefund",
			`{"requestHeader":{"protocolVersion":{"major":1,"minor":0,"revision":0},"requestId":"ord-1042:r1"},
			"paymentIntegratorAccountId":"LanternCards_CAD","captureRequestId":"cap_Q9xL-31","refundAmount":"64990000"}`},
	}
	for _, api := range apis {
		t.Run(string(api), func(t *testing.T) {
			in := newIntegrator(t, api, reply{status: 200, text: acknowledges(api)})
			r := request(t)
			r.IdempotencyKey = "ord-1042:r1:r3"
			before := time.Now().Truncate(time.Millisecond)
			res, err := in.Refund(t.Context(), r)
			if err != nil || res != (providers.Result{Status: providers.Acknowledged}) {
				t.Fatalf("got %+v, %v, want acknowledged and no more", res, err)
			}
			got, at := in.sent(t, 0)
			var document map[string]any
			if err := json.Unmarshal([]byte(want[api].document), &document); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, document) || in.paths[0] != want[api].path {
				t.Errorf("got %v at %s, want %v at %s", got, in.paths[0], document, want[api].path)
			}
			if at.Before(before) || at.After(time.Now()) {
				t.Errorf("timestamp: got %v, want now", at)
			}
			if got := in.headers[0].Get("Content-Type"); got != in.seal.ContentType() {
				t.Errorf("content type: got %q, want %q", got, in.seal.ContentType())
			}
		})
	}
}

// Asking again asks for the very same thing, newly dated and newly sealed.
func TestRepeatHasTheSameContentAndAFreshSeal(t *testing.T) {
	for _, api := range apis {
		in := newIntegrator(t, api, reply{status: 503, text: "down", unsealed: true})
		r := request(t)
		for r.Attempt = 1; r.Attempt <= 2; r.Attempt++ {
			if _, err := in.Refund(t.Context(), r); providers.KindOf(err) != providers.Unknown {
				t.Fatalf("attempt %d: got %v, want unknown", r.Attempt, err)
			}
			for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; { // the next attempt is in another millisecond
			}
		}
		first, then := in.sent(t, 0)
		second, later := in.sent(t, 1)
		if !reflect.DeepEqual(first, second) || !later.After(then) {
			t.Errorf("%s: got %v made %v after %v, want the same made later", api, second, later.Sub(then), first)
		}
		if number := func(m string) string { n, _, _ := strings.Cut(m, "|"); return n }; number(in.messages[0]) == number(in.messages[1]) {
			t.Errorf("%s: the second attempt has the seal of the first", api)
		}
	}
}

// What no integrator could accept is refused before any call, all problems at once.
func TestPrepareRefusesWhatCannotBeServed(t *testing.T) {
	captured := money(t, "100.00", "EUR")
	cases := map[string]struct {
		change func(*providers.Request)
		want   []string
	}{
		"nothing":            {func(*providers.Request) {}, nil},
		"empty options":      {func(r *providers.Request) { r.Options = json.RawMessage(`{}`) }, nil},
		"longest id":         {func(r *providers.Request) { r.Payment.Reference = strings.Repeat("c", 100) }, nil},
		"too long an id":     {func(r *providers.Request) { r.Payment.Reference = strings.Repeat("c", 101) }, []string{"/payment/reference"}},
		"strange id":         {func(r *providers.Request) { r.Payment.Reference = "cap/1" }, []string{"/payment/reference"}},
		"option":             {func(r *providers.Request) { r.Options = json.RawMessage(`{"by":"x"}`) }, []string{"/options/by"}},
		"free text option":   {func(r *providers.Request) { r.Options = json.RawMessage(`{"my card":1}`) }, []string{"/options"}},
		"options as list":    {func(r *providers.Request) { r.Options = json.RawMessage(`[]`) }, []string{"/options"}},
		"options as null":    {func(r *providers.Request) { r.Options = json.RawMessage(`null`) }, []string{"/options"}},
		"fraction of a cent": {func(r *providers.Request) { r.Amount.Micros++ }, []string{"/amount/amountMicros"}},
		"fraction of a yen":  {func(r *providers.Request) { r.Amount = schemas.Money{Micros: 10_500_000, Currency: "JPY"} }, []string{"/amount/amountMicros"}},
		"zero":               {func(r *providers.Request) { r.Amount.Micros = 0 }, []string{"/amount/amountMicros"}},
		"negative":           {func(r *providers.Request) { r.Amount.Micros = -1_000_000 }, []string{"/amount/amountMicros"}},
		"unknown currency":   {func(r *providers.Request) { r.Amount.Currency = "XXX" }, []string{"/amount/amountMicros"}},
		"another currency":   {func(r *providers.Request) { r.Payment.Amount = &captured }, []string{"/amount/currencyCode"}},
		"two problems": {func(r *providers.Request) { r.Payment.Reference, r.Amount.Micros = "", 0 },
			[]string{"/payment/reference", "/amount/amountMicros"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newIntegrator(t, CardFOP, reply{status: 200, text: acknowledges(CardFOP)})
			r := request(t)
			c.change(&r)
			baseline, res, err := in.Prepare(t.Context(), r)
			if baseline != nil || res != (providers.Result{}) || (err == nil) != (c.want == nil) {
				t.Errorf("got %s, %v, %v, want no more than an error for %v", baseline, res.Status, err, c.want)
			}
			wantProblems(t, err, c.want)
			_, err = in.Refund(t.Context(), r)
			wantProblems(t, err, c.want)
			if got := in.calls(); c.want != nil && got != 0 {
				t.Errorf("calls: got %d, want none", got)
			}
		})
	}
}

func wantProblems(t *testing.T, err error, want []string) {
	t.Helper()
	var e *providers.Error
	if errors.As(err, &e); want == nil && err == nil {
		return
	}
	var got []string
	if e != nil {
		for _, p := range e.Problems {
			got = append(got, p.Pointer)
		}
	}
	if e == nil || e.Kind != providers.Invalid || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v with problems at %v, want invalid at %v", err, got, want)
	}
}

// The sheet promises a key for as long as any doubt lasts, and nothing that the protocol lacks.
func TestCapabilities(t *testing.T) {
	in := newIntegrator(t, RedirectFOP, reply{})
	want := providers.Capabilities{KeyLife: 8760 * time.Hour, PartialRefunds: true, CancelDecidedBy: "never", Asynchronous: true,
		FailuresAreFinal: true, OneKey: true}
	if got := in.Capabilities(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if f, err := in.Lookup(t.Context(), request(t)); f.Kind != providers.NoFinding || providers.KindOf(err) != providers.Unavailable {
		t.Errorf("Lookup: got %v, %v, want no finding", f.Kind, err)
	}
}

// Settings are judged together, each problem by its name.
func TestSettingsAreJudged(t *testing.T) {
	good := Config{API: RedirectFOP, BaseURL: "https://pay.example.com/gsp/", Account: "NorthQuayRedirect_EUR", Seal: &stamped{}}
	cases := map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":           {func(*Config) {}, ""},
		"api":            {func(c *Config) { c.API = "wallet" }, "api: "},
		"base url":       {func(c *Config) { c.BaseURL = "http://pay.example.com" }, "baseURL: "},
		"no account":     {func(c *Config) { c.Account = "" }, "account: "},
		"spaced account": {func(c *Config) { c.Account = "a b" }, "account: "},
		"long account":   {func(c *Config) { c.Account = strings.Repeat("a", 101) }, "account: "},
		"account path":   {func(c *Config) { c.Account = "a/b" }, "account: "},
		"no seal":        {func(c *Config) { c.Seal = nil }, "seal: "},
	}
	for name, c := range cases {
		cfg := good
		c.change(&cfg)
		_, err := New(cfg)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := New(Config{}); strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("no settings: got %v, want four problems", err)
	}
}
