package craftgate

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

func TestMicros(t *testing.T) {
	tests := []struct {
		price text
		want  int64
		exact bool
		fails bool
	}{
		{"0", 0, true, false},
		{"0.00000000", 0, true, false},
		{"0E-8", 0, true, false}, // what Java makes of a zero with eight decimals
		{"100", 100_000_000, true, false},
		{"100.0", 100_000_000, true, false},
		{"1E+2", 100_000_000, true, false},
		{"1.5e1", 15_000_000, true, false},
		{"25.50000000", 25_500_000, true, false},
		{"0.000001", 1, true, false},
		{"0.0000019", 1, false, false},
		{"0.00000001", 0, false, false},
		{"33.33333333", 33_333_333, false, false},
		{"9007199254740.99300000", 9_007_199_254_740_993_000, true, false},
		{"9223372036854.775807", 9_223_372_036_854_775_807, true, false},
		{"9223372036854.775808", 0, false, true},
		{"1E31", 0, false, true},
		{"1E30", 0, false, true},
		{"0E99", 0, false, true},
		{"", 0, false, true},
		{"-1", 0, false, true},
		{"+1", 0, false, true},
		{".5", 0, false, true},
		{"5.", 0, false, true},
		{"1,5", 0, false, true},
		{"0x1", 0, false, true},
		{"1e", 0, false, true},
		{"NaN", 0, false, true},
	}
	for _, tt := range tests {
		got, exact, err := micros(tt.price)
		if got != tt.want || exact != tt.exact || (err != nil) != tt.fails {
			t.Errorf("%q: got %d, exact %v, %v, want %d, exact %v, fails %v", tt.price, got, exact, err, tt.want, tt.exact, tt.fails)
		}
	}
}

func TestStateOf(t *testing.T) {
	tests := []struct{ name, payment, want string }{
		{"price as text", `{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":"100.00000000","paidPrice":100.0,"currency":"TRY"}`,
			`{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","paidPrice":"100000000","refundablePrice":"100000000","currency":"TRY"}`},
		{"price as number", `{"paymentStatus":"SUCCESS","refundStatus":"PARTIAL_REFUNDED","refundablePrice":33.33333333,"currency":"TRY","new":{}}`,
			`{"paymentStatus":"SUCCESS","refundStatus":"PARTIAL_REFUNDED","refundablePrice":"33333333","currency":"TRY"}`},
		{"no rest", `{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":null,"currency":"TRY"}`, ""},
		{"negative rest", `{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":-1,"currency":"TRY"}`, ""},
		{"unreadable price", `{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":1,"paidPrice":"x","currency":"TRY"}`, ""},
		{"no currency", `{"paymentStatus":"SUCCESS","refundStatus":"NOT_REFUNDED","refundablePrice":1}`, ""},
		{"no status", `{"refundStatus":"NOT_REFUNDED","refundablePrice":1,"currency":"TRY"}`, ""},
		{"unknown status", `{"paymentStatus":"SUCCESS","refundStatus":"SLEEPING","refundablePrice":1,"currency":"TRY"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p payment
			if err := json.Unmarshal([]byte(tt.payment), &p); err != nil {
				t.Fatal(err)
			}
			s, err := stateOf(p)
			if tt.want == "" {
				if err == nil {
					t.Errorf("got %+v, want an error", s)
				}
				return
			}
			got, _ := json.Marshal(s)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
			back, err := readBaseline(got)
			if again, _ := json.Marshal(back); err != nil || string(again) != tt.want {
				t.Errorf("read back: got %s, %v, want %s", again, err, tt.want)
			}
		})
	}
}

// TestConversationIDs: two refunds never share one, and a webhook leads back to the requestId.
func TestConversationIDs(t *testing.T) {
	for id, want := range map[schemas.RequestID]string{
		"ord-1042:r1": "ord-1042_cr1", "a_b": "a__b", "a_c": "a__c", "a:c": "a_cc", "_:_": "___c__", ":": "_c", "A-z0": "A-z0",
		schemas.RequestID(strings.Repeat(":", 100)): strings.Repeat("_c", 100),
	} {
		got := conversationOf(string(id))
		if back, ours := RequestIDOf(got); got != want || back != id || !ours {
			t.Errorf("%s: got %s and back %s, %v, want %s", id, got, back, ours, want)
		}
	}
	for _, foreign := range []string{"", "_", "a_", "a_b", "a:b", "a b", "ğ", "a___", strings.Repeat("a", 101)} {
		if id, ours := RequestIDOf(foreign); ours {
			t.Errorf("%q: got %s, want it to be nobody's", foreign, id)
		}
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	err := Config{BaseURL: "http://api.craftgate.io", APIKey: "a\n", WebhookKey: "w w"}.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"baseURL: https is needed", "apiKey:", "secretKey:", "webhookKey:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to hold %q", err, want)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.HasPrefix(err.Error(), "craftgate settings: ") {
		t.Errorf("New: got %v", err)
	}
}

func TestCapabilities(t *testing.T) {
	p, err := New(Config{BaseURL: "https://host", APIKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Capabilities()
	_, offset := time.Date(2031, 3, 4, 0, 0, 0, 0, got.DayEnd).Zone()
	got.DayEnd = nil
	want := providers.Capabilities{Lookup: true, Prepares: true, LookupDelay: 30 * time.Second, PartialRefunds: true,
		Concurrent: providers.OneAtATime, CancelDecidedBy: providers.DecidedByProvider, Asynchronous: true}
	if got != want || offset != 3*60*60 {
		t.Errorf("got %+v and offset %d, want %+v and 3 hours", got, offset, want)
	}
}

// TestGroups: every row says something that an event can say, and nobody's change of the shared list changes the table.
func TestGroups(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range Groups() {
		kind := map[Class]schemas.Kind{Final: schemas.KindFailed, Later: schemas.KindDeferred}[g.Class]
		if fits := kind != "" && slices.Contains(schemas.ReasonsOf(kind), g.Reason) || kind == "" && g.Reason == ""; !fits || seen[g.Name] {
			t.Errorf("%s: class %v with reason %q, listed before: %v", g.Name, g.Class, g.Reason, seen[g.Name])
		}
		seen[g.Name] = true
	}
	Groups()[0].Name = "X"
	if len(seen) != 21 || Groups()[0].Name == "X" {
		t.Errorf("got %d groups, and the first named %s", len(seen), Groups()[0].Name)
	}
	if g := groupOf("SOMETHING_NEW"); g.Class != InDoubt || g.Class.String() != "in doubt" {
		t.Errorf("a group nobody listed: got %v", g.Class)
	}
}

func FuzzConversation(f *testing.F) {
	f.Add("ord-1:r_1")
	f.Add("_c__")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ours := RequestIDOf(s); ours && conversationOf(string(id)) != s {
			t.Errorf("%q: got %q, which is sent as %q", s, id, conversationOf(string(id)))
		}
		if id := schemas.RequestID(s); id.Valid() {
			if back, ours := RequestIDOf(conversationOf(s)); back != id || !ours {
				t.Errorf("%q: came back as %q, %v", s, back, ours)
			}
		}
	})
}

func FuzzMicros(f *testing.F) {
	for _, s := range []string{"1.5", "0E-8", "9007199254740.99300000", "1e400", "00.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, exact, err := micros(text(s))
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%q is no number, got %d", s, n)
		}
		got := big.NewRat(n, 1_000_000)
		next := new(big.Rat).Add(got, big.NewRat(1, 1_000_000))
		if got.Cmp(want) > 0 || next.Cmp(want) <= 0 || exact != (got.Cmp(want) == 0) {
			t.Errorf("%q: got %d, exact %v", s, n, exact)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"refund-payment-refund-mixed.json", "refund-payment-cancel-ok.json", "refund-transaction-ok.json",
		"error-with-provider-error.json", "lookup-payment-fully-refunded.json"} {
		f.Add(string(readVector[vector](f, name).Response.Body))
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := readReply([]byte(body))
		if err != nil {
			return
		}
		if r.refusal != nil {
			if raw := r.refusal.said(); len([]rune(raw.Message)) > 200 || len(raw.Code) > 64 || raw.Code == "" {
				t.Errorf("got %+v", raw)
			}
			return
		}
		for _, request := range []providers.Request{wholeRequest(t), itemRequest(t)} {
			a, err := check("refund", request)
			if err != nil {
				t.Fatal(err)
			}
			res, no, err := a.judge(r.data)
			if answers := (err != nil) != (no != nil) != (res.Status != providers.NoResult); !answers {
				t.Errorf("got %v, %v and %v", res.Status, no, err)
			}
		}
		var p payment
		if json.Unmarshal(r.data, &p) != nil {
			return
		}
		s, err := stateOf(p)
		if err != nil {
			return
		}
		baseline, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := readBaseline(baseline); err != nil || back.Rest != s.Rest || back.Rest < 0 {
			t.Errorf("baseline %s: got %+v, %v", baseline, back, err)
		}
	})
}
