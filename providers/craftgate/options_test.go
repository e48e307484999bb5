package craftgate

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"refundworker/providers"
	"refundworker/schemas"
)

func optionsSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile("options.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("options.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("options.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func allows(schema *jsonschema.Schema, body string) bool {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	return err == nil && schema.Validate(value) == nil
}

// TestOptions: the published schema and the decoder take and refuse the same options.
func TestOptions(t *testing.T) {
	schema := optionsSchema(t)
	tests := []struct {
		raw      string
		pointers []string
	}{
		{`{}`, nil},
		{`{"paymentTransactionId":"9001"}`, nil},
		{`{"paymentTransactionId":"999999999999999999","refundDestinationType":"WALLET","chargeFromMe":true}`, nil},
		{`{"refundDestinationType":"PROVIDER","chargeFromMe":false}`, nil},
		{`{"paymentTransactionId":9001}`, []string{"/options/paymentTransactionId"}},
		{`{"paymentTransactionId":""}`, []string{"/options/paymentTransactionId"}},
		{`{"paymentTransactionId":"09"}`, []string{"/options/paymentTransactionId"}},
		{`{"paymentTransactionId":"9001\n"}`, []string{"/options/paymentTransactionId"}},
		{`{"paymentTransactionId":"1000000000000000000"}`, []string{"/options/paymentTransactionId"}},
		{`{"paymentTransactionId":null}`, []string{"/options/paymentTransactionId"}},
		{`{"refundDestinationType":"CARD"}`, []string{"/options/refundDestinationType"}},
		{`{"refundDestinationType":null}`, []string{"/options/refundDestinationType"}},
		{`{"chargeFromMe":"true"}`, []string{"/options/chargeFromMe"}},
		{`{"chargeFromMe":null}`, []string{"/options/chargeFromMe"}},
		{`{"ChargeFromMe":true}`, []string{"/options/ChargeFromMe"}},
		{`{"a":1,"chargeFromMe":2,"4242 4242":3}`, []string{"/options/a", "/options/chargeFromMe", "/options"}},
		{`null`, []string{"/options"}},
		{`[]`, []string{"/options"}},
		{`"x"`, []string{"/options"}},
		{`{} {}`, []string{"/options"}},
		{`{`, []string{"/options"}},
	}
	for _, tt := range tests {
		_, problems := readOptions(json.RawMessage(tt.raw))
		var got []string
		for _, p := range problems {
			got = append(got, p.Pointer)
		}
		if !slices.Equal(got, tt.pointers) {
			t.Errorf("%s: got problems at %v, want %v", tt.raw, got, tt.pointers)
		}
		if want := len(tt.pointers) == 0; allows(schema, tt.raw) != want {
			t.Errorf("%s: the schema allows it: %v, want %v", tt.raw, !want, want)
		}
	}
	// A schema cannot see a member given twice.
	if _, problems := readOptions(json.RawMessage(`{"chargeFromMe":true,"chargeFromMe":false}`)); len(problems) != 1 || problems[0].Pointer != "/options/chargeFromMe" {
		t.Errorf("given twice: got %v", problems)
	}
}

// TestBody: what a command asks for is what is sent, to the byte, because those bytes are signed and repeated.
func TestBody(t *testing.T) {
	r := providers.Request{RequestID: "ord:1", Payment: schemas.Payment{Reference: "771"}, Amount: schemas.Money{Micros: 10_500_000, Currency: "TRY"}}
	tests := []struct{ options, want string }{
		{``, `{"paymentId":771,"conversationId":"ord_c1","refundDestinationType":"PROVIDER"}`},
		{`{"refundDestinationType":"WALLET","chargeFromMe":false}`, `{"paymentId":771,"conversationId":"ord_c1","refundDestinationType":"WALLET","chargeFromMe":false}`},
		{`{"paymentTransactionId":"9001","chargeFromMe":true}`,
			`{"paymentTransactionId":9001,"conversationId":"ord_c1","refundPrice":10.50,"refundDestinationType":"PROVIDER","chargeFromMe":true}`},
	}
	for _, tt := range tests {
		r.Options = json.RawMessage(tt.options)
		a, err := check("refund", r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.body(); err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.options, got, err, tt.want)
		}
	}
}

// TestPricesOnTheWire: a price is written with the currency's own decimals.
func TestPricesOnTheWire(t *testing.T) {
	for price, m := range map[string]schemas.Money{
		"9999999.99": {Micros: 9_999_999_990_000, Currency: "TRY"},
		"1000":       {Micros: 1_000_000_000, Currency: "JPY"},
		"1.005":      {Micros: 1_005_000, Currency: "KWD"},
	} {
		a := ask{amount: m, options: options{item: "1"}}
		if got, err := a.body(); err != nil || !strings.Contains(string(got), `"refundPrice":`+price+`,`) {
			t.Errorf("%v: got %s, %v, want %s", m, got, err, price)
		}
	}
}

func TestCheckReportsEveryProblem(t *testing.T) {
	r := providers.Request{Payment: schemas.Payment{Reference: "p-1"}, Amount: schemas.Money{Micros: 1, Currency: "TRY"},
		Options: json.RawMessage(`{"x":1}`)}
	_, err := check("prepare", r)
	var got []string
	if e, ok := err.(*providers.Error); ok && e.Kind == providers.Invalid {
		for _, p := range e.Problems {
			got = append(got, p.Pointer)
		}
	}
	if want := []string{"/options/x", "/payment/reference", "/amount/amountMicros"}; !slices.Equal(got, want) {
		t.Errorf("got %v from %v, want %v", got, err, want)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add(`{"paymentTransactionId":"9001","refundDestinationType":"WALLET","chargeFromMe":true}`)
	f.Add(`{"chargeFromMe":true,"chargeFromMe":{"x":[1]}}`)
	schema := optionsSchema(f)
	f.Fuzz(func(t *testing.T, raw string) {
		o, problems := readOptions(json.RawMessage(raw))
		for _, p := range problems {
			if !strings.HasPrefix(p.Pointer, "/options") || len(p.Pointer) > 60 {
				t.Errorf("got a problem at %q", p.Pointer)
			}
		}
		if raw == "" || len(problems) > 0 {
			return
		}
		if !allows(schema, raw) {
			t.Errorf("%q: taken as %+v, which the schema does not allow", raw, o)
		}
	})
}
