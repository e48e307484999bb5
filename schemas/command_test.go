package schemas

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const goodCommand = `{"requestId":"ord-1042:r1","provider":"bbmsl-hk",` +
	`"payment":{"reference":"4922","amount":{"amountMicros":"15000000","currencyCode":"HKD"}},` +
	`"amount":{"amountMicros":"10000000","currencyCode":"HKD"},` +
	`"requestedAt":"2026-11-21T10:00:00Z","notAfter":"2026-11-28T10:00:00Z",` +
	`"reason":"customer returned the item","options":{},"metadata":{"orderId":"ord-1042"}}`

func TestDecodeCommand(t *testing.T) {
	notAfter := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	want := Command{
		RequestID:   "ord-1042:r1",
		Provider:    "bbmsl-hk",
		Payment:     Payment{Reference: "4922", Amount: &Money{15_000_000, "HKD"}},
		Amount:      Money{10_000_000, "HKD"},
		RequestedAt: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		NotAfter:    &notAfter,
		Reason:      "customer returned the item",
		Options:     []byte(`{}`),
		Metadata:    map[string]string{"orderId": "ord-1042"},
	}
	got, err := DecodeCommand([]byte(goodCommand), Arrival{Provider: "bbmsl-hk", Now: want.RequestedAt.Add(-MaxAhead)})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	body, err := got.Encode()
	if err != nil || string(body) != goodCommand {
		t.Errorf("encode: got %s, %v; want %s", body, err, goodCommand)
	}
}

// TestCommandProblems changes one thing of a good command and wants exactly one problem.
func TestCommandProblems(t *testing.T) {
	const micros = "must be a positive 64-bit integer in decimal digits, without sign or leading zeros"
	const units = "must be a whole number of the currency's minor units"
	const clock = "must be an RFC 3339 time with T and Z or offset, in the years 1 to 9999"
	for _, row := range []struct {
		name, from, to string
		reason         Reason
		pointer, rule  string
	}{
		{"negative", `"10000000"`, `"-10000000"`, ReasonInvalid, "/amount/amountMicros", micros},
		{"exponent", `"10000000"`, `"1e400"`, ReasonInvalid, "/amount/amountMicros", micros},
		{"beyond int64", `"10000000"`, `"9223372036854775808"`, ReasonInvalid, "/amount/amountMicros", micros},
		{"number", `"10000000"`, `10000000`, ReasonInvalid, "/amount/amountMicros", "must be a string"},
		{"huge number", `"10000000"`, `1e400`, ReasonInvalid, "/amount/amountMicros", "must be a string"},
		{"half a cent", `"10000000"`, `"10005000"`, ReasonInvalid, "/amount/amountMicros", units},
		{"half a captured cent", `"15000000"`, `"15005000"`, ReasonInvalid, "/payment/amount/amountMicros", units},
		{"currency", `"10000000","currencyCode":"HKD"`, `"10000000","currencyCode":"ZZZ"`, ReasonInvalid, "/amount/currencyCode", "must be a known ISO 4217 currency"},
		{"other currency", `"10000000","currencyCode":"HKD"`, `"10000000","currencyCode":"USD"`, ReasonInvalid, "/amount/currencyCode", "must be the currency of the payment's amount"},
		{"too much", `"10000000"`, `"15010000"`, ReasonInvalid, "/amount", "must not exceed the payment's amount"},
		{"request id", `"ord-1042:r1"`, `"ord.1042"`, ReasonInvalid, "/requestId", "must be 1 to 100 characters of a-z A-Z 0-9 : - _"},
		{"provider of another subject", `"bbmsl-hk"`, `"bbmsl-us"`, ReasonInvalid, "/provider", "must equal the subject's provider"},
		{"provider", `"bbmsl-hk"`, `"BBMSL"`, ReasonInvalid, "/provider", "must be 1 to 32 characters of a-z 0-9 -"},
		{"reference", `"4922"`, `" "`, ReasonInvalid, "/payment/reference", "must be 1 to 128 printable ASCII characters, not only spaces"},
		{"time", `"2026-11-21T10:00:00Z"`, `"yesterday"`, ReasonInvalid, "/requestedAt", clock},
		{"time ahead", `"2026-11-21T10:00:00Z"`, `"2026-11-21T10:00:00.000000001Z"`, ReasonInvalid, "/requestedAt", "must not be more than 5 minutes ahead"},
		{"end before start", `"2026-11-28T10:00:00Z"`, `"2026-11-21T10:00:00Z"`, ReasonInvalid, "/notAfter", "must be after requestedAt"},
		{"unknown field", `"reason"`, `"raeson"`, ReasonInvalid, "/raeson", "unknown field"},
		{"unknown field with a strange name", `"reason"`, `"4111 1111"`, ReasonInvalid, "", "unknown field"},
		{"unknown field in a payment", `"reference"`, `"x/y":1,"reference"`, ReasonInvalid, "/payment", "unknown field"},
		{"missing", `"requestedAt":"2026-11-21T10:00:00Z",`, ``, ReasonInvalid, "/requestedAt", "required"},
		{"missing inside", `"reference":"4922",`, ``, ReasonInvalid, "/payment/reference", "required"},
		{"null", `"customer returned the item"`, `null`, ReasonInvalid, "/reason", "must be a string"},
		{"metadata value", `"ord-1042"}`, `1}`, ReasonInvalid, "/metadata/orderId", "must be a string"},
		{"metadata key is escaped", `"orderId":"ord-1042"`, `"a/b~c":1`, ReasonInvalid, "/metadata/a~1b~0c", "must be a string"},
		{"metadata key with a strange name", `"orderId":"ord-1042"`, `"a b":1`, ReasonInvalid, "/metadata", "must be a string"},
		{"metadata bytes", `"ord-1042"}`, `"` + strings.Repeat("x", 4096) + `"}`, ReasonInvalid, "/metadata", "must be at most 4096 bytes in all keys and values"},
		{"options", `{},`, `[],`, ReasonInvalid, "/options", "must be an object"},
		{"major version", `{"requestId"`, `{"schemaVersion":"2.0","requestId"`, ReasonInvalid, "/schemaVersion", `must be "1.0"`},
		{"version with leading zero", `{"requestId"`, `{"schemaVersion":"1.01","requestId"`, ReasonInvalid, "/schemaVersion", `must be "1.0"`},
		{"duplicate key", `"provider"`, `"reason":"x","provider"`, ReasonMalformed, "/reason", "duplicate key"},
		{"duplicate key in options", `{},`, `{"a":[1,{"b":1,"b":2}]},`, ReasonMalformed, "/options/a/1/b", "duplicate key"},
		{"duplicate strange key", `{},`, `{"a b":{"c":1,"c":2}},`, ReasonMalformed, "/options", "duplicate key"},
		{"too deep", `{},`, `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `},`, ReasonMalformed, "", "must not nest deeper than 32 levels"},
		{"half a surrogate", `customer`, `\ud83dx`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"half a surrogate before a pair", `customer`, `\ud83d\ud83d\ude00`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"two high surrogates", `customer`, `\ud83d\ud83d`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"two low surrogates", `customer`, `\ude00\ude00`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"half a surrogate before a letter", `customer`, `\ud83d\u0041`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"half a surrogate before a noncharacter", `customer`, `\ud83d\uffff`, ReasonMalformed, "", "must not escape half of a surrogate pair"},
		{"not UTF-8", `customer`, "\xff", ReasonMalformed, "", "must be UTF-8"},
		{"not JSON", `}}`, `}`, ReasonMalformed, "", "must be JSON"},
		{"trailing text", `"ord-1042"}}`, `"ord-1042"}}{}`, ReasonMalformed, "", "must be JSON"},
		{"too large", `customer`, strings.Repeat("x", MaxCommandBytes), ReasonMalformed, "", "must be at most 65536 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := strings.Replace(goodCommand, row.from, row.to, 1)
			if body == goodCommand {
				t.Fatal("the row changes nothing")
			}
			assertProblem(t, body, row.reason, Problem{row.pointer, row.rule})
		})
	}
}

// assertProblem decodes a body as of 09:55 on the day of the good command.
func assertProblem(t *testing.T, body string, reason Reason, want Problem) {
	t.Helper()
	at := Arrival{Provider: "bbmsl-hk", Now: time.Date(2026, 11, 21, 9, 55, 0, 0, time.UTC)}
	_, err := DecodeCommand([]byte(body), at)
	var got *Rejection
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a *Rejection", err)
	}
	if got.Reason != reason || !slices.Equal(got.Problems, []Problem{want}) {
		t.Errorf("got %s %v, want %s %v", got.Reason, got.Problems, reason, want)
	}
}

func TestCommandAllProblemsAtOnce(t *testing.T) {
	_, err := DecodeCommand([]byte(`{"provider":"A","payment":{},"amount":{"amountMicros":"1"},"extra":1}`), Arrival{})
	want := "command is invalid: /requestId required; /provider must be 1 to 32 characters of a-z 0-9 -; " +
		"/payment/reference required; /amount/currencyCode required; /requestedAt required; /extra unknown field"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestCommandProblemsAreBounded(t *testing.T) {
	var fields []string
	for i := range 1000 {
		fields = append(fields, `"f`+strconv.Itoa(i)+`":1`)
	}
	_, err := DecodeCommand([]byte("{"+strings.Join(fields, ",")+"}"), Arrival{})
	var got *Rejection
	if !errors.As(err, &got) || len(got.Problems) != MaxProblems {
		t.Fatalf("got %v, want %d problems", err, MaxProblems)
	}
	if last := got.Problems[MaxProblems-1]; last.Rule != "has more problems than are listed" {
		t.Errorf("got last problem %v", last)
	}
}

// TestCommandInFullReader holds that a full list of problems does not let later bad values through.
func TestCommandInFullReader(t *testing.T) {
	var entries []string
	for i := range 40 {
		entries = append(entries, `"m`+strconv.Itoa(i)+`":1`)
	}
	body := strings.Replace(goodCommand, `"orderId":"ord-1042"`, strings.Join(entries, ","), 1)
	body = strings.Replace(body, `"10000000",`, `"10000000","x":1,`, 1)
	c, err := DecodeCommand([]byte(body), Arrival{})
	if err == nil || c.Metadata != nil || c.Amount != (Money{}) {
		t.Errorf("got %+v, %v; want neither metadata nor amount", c, err)
	}
}

func TestCommandReadBesideAnError(t *testing.T) {
	for _, row := range []struct {
		name, from, to string
		want           RequestID
		amount         int64
	}{
		{"invalid elsewhere", `"4922"`, `""`, "ord-1042:r1", 10_000_000},
		{"invalid amount", `"10000000"`, `"1"`, "ord-1042:r1", 0},
		{"invalid id", `"ord-1042:r1"`, `"?"`, "", 10_000_000},
		{"duplicate key elsewhere", `"reason"`, `"reason":"","reason"`, "ord-1042:r1", 0},
		{"duplicate id", `"reason"`, `"requestId":"ord-1042:r1","reason"`, "", 0},
		{"too deep", `{},`, strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + ",", "ord-1042:r1", 0},
		{"newer version", `"reason"`, `"schemaVersion":"1.1","reason"`, "ord-1042:r1", 0},
		{"not JSON", `}}`, `}`, "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := strings.Replace(goodCommand, row.from, row.to, 1)
			c, err := DecodeCommand([]byte(body), Arrival{Provider: "other"})
			if err == nil || c.RequestID != row.want || c.Amount.Micros != row.amount || c.Provider != "other" {
				t.Errorf("got %+v, %v; want requestId %q, amount %d, the subject's provider", c, err, row.want, row.amount)
			}
		})
	}
}

func TestCommandNewerVersion(t *testing.T) {
	for _, row := range []struct {
		version string
		want    int
	}{{"1.1", 1}, {"1.999999", 999999}, {"1.0", 0}, {"2.1", 0}, {"1.01", 0}, {"1.", 0}, {"1.x", 0}, {"1.1000000", 0}} {
		body := strings.Replace(goodCommand, `"reason"`, `"schemaVersion":"`+row.version+`","later":1,"reason"`, 1)
		_, err := DecodeCommand([]byte(body), Arrival{})
		var newer *NewerVersionError
		if got := errors.As(err, &newer); got != (row.want > 0) || got && newer.Minor != row.want {
			t.Errorf("%s: got %v, want newer minor %d", row.version, err, row.want)
		}
	}
}

func TestCommandEncodeRefuses(t *testing.T) {
	good, err := DecodeCommand([]byte(goodCommand), Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Command){
		"zero command":      func(c *Command) { *c = Command{} },
		"zero time":         func(c *Command) { c.RequestedAt = time.Time{} },
		"five-digit year":   func(c *Command) { c.RequestedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"fraction":          func(c *Command) { c.Amount.Micros = 1 },
		"options not JSON":  func(c *Command) { c.Options = []byte(`{4111`) },
		"duplicate options": func(c *Command) { c.Options = []byte(`{"a":1,"a":1}`) },
	} {
		c := good
		spoil(&c)
		body, err := c.Encode()
		if err == nil || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: got %s, %v; want an error without values", name, body, err)
		}
	}
}

func TestCommandMsgID(t *testing.T) {
	got := CommandMsgID(Command{RequestID: "ord-1:r1"}, []byte("abc"))
	if want := "ord-1:r1:ba7816bf8f01cfea414140de5dae2223"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
