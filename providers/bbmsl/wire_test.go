package bbmsl

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

func TestStateOf(t *testing.T) {
	tests := []struct{ name, order, want string }{
		{"hosted", `{"currency":"HKD","amount":15.00,"netAmount":5.0,"status":"REFUNDED"}`, `{"status":"REFUNDED","amount":"15000000","netAmount":"5000000","currency":"HKD"}`},
		{"direct", `{"currency":"USD","amount":15,"status":"SETTLED"}`, `{"status":"SETTLED","amount":"15000000","currency":"USD"}`},
		{"text", `{"currency":"HKD","amount":"15.10","netAmount":"15.1","status":"SETTLED"}`, `{"status":"SETTLED","amount":"15100000","netAmount":"15100000","currency":"HKD"}`},
		{"refunded total", `{"currency":"HKD","amount":15,"totalRefundedAmount":10,"status":"REFUNDED"}`, `{"status":"REFUNDED","amount":"15000000","netAmount":"5000000","currency":"HKD"}`},
		{"the smaller rest", `{"currency":"HKD","amount":15,"netAmount":15,"totalRefundedAmount":10,"status":"SETTLED"}`, `{"status":"SETTLED","amount":"15000000","netAmount":"5000000","currency":"HKD"}`},
		{"nulls", `{"currency":"HKD","amount":15,"netAmount":null,"totalRefundedAmount":null,"status":"SETTLED"}`, `{"status":"SETTLED","amount":"15000000","currency":"HKD"}`},
		{"no status", `{"currency":"HKD","amount":15}`, ""},
		{"no currency", `{"amount":15,"status":"SETTLED"}`, ""},
		{"no amount", `{"currency":"HKD","status":"SETTLED"}`, ""},
		{"exponent", `{"currency":"HKD","amount":1.5e1,"status":"SETTLED"}`, ""},
		{"negative rest", `{"currency":"HKD","amount":15,"netAmount":-1,"status":"SETTLED"}`, ""},
		{"rest above", `{"currency":"HKD","amount":15,"netAmount":15.01,"status":"SETTLED"}`, ""},
		{"too much refunded", `{"currency":"HKD","amount":15,"totalRefundedAmount":15.01,"status":"SETTLED"}`, ""},
		{"a third decimal", `{"currency":"HKD","amount":15.001,"status":"SETTLED"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o order
			if err := json.Unmarshal([]byte(tt.order), &o); err != nil {
				t.Fatal(err)
			}
			s, err := stateOf(o)
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

func TestReadOptions(t *testing.T) {
	tests := []struct {
		raw, by  string
		pointers []string
	}{
		{``, "", nil},
		{`{}`, "", nil},
		{`{"by":"orderId"}`, "orderId", nil},
		{`{"by":"merchantReference"}`, "merchantReference", nil},
		{`{"by":"name"}`, "", []string{"/options/by"}},
		{`{"by":null}`, "", []string{"/options/by"}},
		{`{"By":"orderId"}`, "", []string{"/options/By"}},
		{`{"by":"orderId","by":"merchantReference"}`, "", []string{"/options/by"}},
		{`{"a":1,"by":2,"4242 4242":3}`, "", []string{"/options/a", "/options/by", "/options"}},
		{`null`, "", []string{"/options"}},
		{`[]`, "", []string{"/options"}},
		{`{"by":"orderId"} {}`, "", []string{"/options"}},
		{`{`, "", []string{"/options"}},
	}
	for _, tt := range tests {
		by, problems := readOptions(json.RawMessage(tt.raw))
		var got []string
		for _, p := range problems {
			got = append(got, p.Pointer)
		}
		if !slices.Equal(got, tt.pointers) || len(problems) == 0 && by != tt.by {
			t.Errorf("%s: got %q, problems at %v, want %q, %v", tt.raw, by, got, tt.by, tt.pointers)
		}
	}
}

func TestHandleOf(t *testing.T) {
	tests := []struct {
		reference, options string
		want               orderHandle
	}{
		{"4922", ``, orderHandle{id: "4922"}},
		{"4922", `{"by":"merchantReference"}`, orderHandle{reference: "4922"}},
		{"9223372036854775807", ``, orderHandle{id: "9223372036854775807"}},
		{"9223372036854775808", ``, orderHandle{reference: "9223372036854775808"}},
		{"0042", ``, orderHandle{reference: "0042"}},
		{"0", ``, orderHandle{reference: "0"}},
		{"+42", ``, orderHandle{reference: "+42"}},
		{"ord-1", `{"by":"merchantReference"}`, orderHandle{reference: "ord-1"}},
		{"ord-1", `{"by":"orderId"}`, orderHandle{}},
		{"0042", `{"by":"orderId"}`, orderHandle{}},
		{"", ``, orderHandle{}},
	}
	for _, tt := range tests {
		got, problems := handleOf(providers.Request{Payment: schemas.Payment{Reference: tt.reference}, Options: json.RawMessage(tt.options)})
		if got != tt.want || (len(problems) > 0) != (tt.want == orderHandle{}) {
			t.Errorf("%s %s: got %+v, %v, want %+v", tt.reference, tt.options, got, problems, tt.want)
		}
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	err := Config{BaseURL: "http://payapi.prod.bbmsl.com", MerchantID: "7 1", PrivateKey: "x", Model: "other"}.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"baseURL: https is needed", "merchantId:", "privateKey:", "model:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to hold %q", err, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	p, err := New(Config{BaseURL: "https://host", MerchantID: "1", PrivateKey: readVector[vectorKeys](t, "keys.json").Merchant.PrivateKey})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Capabilities()
	_, offset := time.Date(2031, 3, 4, 0, 0, 0, 0, got.DayEnd).Zone()
	got.DayEnd = nil
	want := providers.Capabilities{Lookup: true, Prepares: true, LookupDelay: 10 * time.Second, PartialRefunds: true,
		Concurrent: providers.OneEver, CancelDecidedBy: providers.DecidedByAdapter}
	if got != want || offset != 8*60*60 {
		t.Errorf("got %+v and offset %d, want %+v and 8 hours", got, offset, want)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"responseCode":"0000","order":{"id":1,"currency":"HKD","amount":15.00,"netAmount":5,"status":"REFUNDED"},"transaction":{"id":2,"type":"REFUND","amount":10,"status":"SUCCESS"}}`)
	f.Add(`{"responseCode":"E1","message":"4242424242424242 jane@example.com"}`)
	f.Fuzz(func(t *testing.T, body string) {
		a, err := readAnswer([]byte(body))
		if err != nil {
			return
		}
		if raw := said(a); len([]rune(raw.Message)) > 200 || len(raw.Code) > 32 || raw.Code == "" {
			t.Errorf("got %+v", raw)
		}
		if a.Order == nil {
			return
		}
		s, err := stateOf(*a.Order)
		if err != nil {
			return
		}
		if gone, known := s.refunded(); known && (gone < 0 || gone > s.Amount) {
			t.Errorf("refunded %d of %d", gone, s.Amount)
		}
		baseline, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := readBaseline(baseline); err != nil || back.Amount != s.Amount || back.Currency != s.Currency {
			t.Errorf("baseline %s: got %+v, %v", baseline, back, err)
		}
		if res, err := (attempt{request: providers.Request{Amount: part, Attempt: 1}, op: opRefund}).afterRefusal(s); err == nil && res.Status == providers.Succeeded {
			t.Errorf("a first attempt that was refused succeeded: %s", body)
		}
	})
}

func FuzzOptions(f *testing.F) {
	f.Add(`{"by":"orderId"}`)
	f.Add(`{"by":"orderId","by":{"x":[1]}}`)
	f.Fuzz(func(t *testing.T, raw string) {
		by, problems := readOptions(json.RawMessage(raw))
		if len(problems) == 0 && by != "" && by != byOrderID && by != byMerchantReference {
			t.Errorf("got %q without a problem", by)
		}
		for _, p := range problems {
			if !strings.HasPrefix(p.Pointer, "/options") || len(p.Pointer) > 60 {
				t.Errorf("got a problem at %q", p.Pointer)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add(readVector[vectorKeys](f, "keys.json").Merchant.PrivateKey.Reveal())
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey(providers.Secret(text))
		if err != nil {
			return
		}
		if _, err := sign(key, []byte("{}")); err != nil {
			t.Errorf("a key that was taken does not sign: %v", err)
		}
	})
}
