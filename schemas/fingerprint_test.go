package schemas

import (
	"os"
	"strings"
	"testing"
	"time"
)

// fingerprintOf is the fingerprint of the good command after a change.
func fingerprintOf(t *testing.T, change func(*Command)) string {
	t.Helper()
	c, err := DecodeCommand([]byte(goodCommand), Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	change(&c)
	f, err := c.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return f.String()
}

func TestFingerprintIsFrozen(t *testing.T) {
	want, err := os.ReadFile("testdata/fingerprint.golden")
	if err != nil {
		t.Fatal(err)
	}
	plain := fingerprintOf(t, func(*Command) {})
	withOptions := fingerprintOf(t, func(c *Command) {
		c.Options = []byte(`{ "b":[1.50,"é\u0001\"\\",null], "a":{"y":true,"x":1e2} }`)
	})
	if got := plain + "\n" + withOptions + "\n"; got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFingerprintLeavesOut(t *testing.T) {
	base := fingerprintOf(t, func(*Command) {})
	for name, change := range map[string]func(*Command){
		"reason":         func(c *Command) { c.Reason = "x" },
		"metadata":       func(c *Command) { c.Metadata = nil },
		"times":          func(c *Command) { c.RequestedAt, c.NotAfter = time.Time{}, nil },
		"version":        func(c *Command) { c.SchemaVersion = "1.0" },
		"no options":     func(c *Command) { c.Options = nil },
		"spaced options": func(c *Command) { c.Options = []byte(" { } ") },
		"payment amount": func(c *Command) { c.Payment.Amount = nil },
	} {
		if got := fingerprintOf(t, change); got != base {
			t.Errorf("%s changes the fingerprint", name)
		}
	}
}

func TestFingerprintTellsApart(t *testing.T) {
	seen := map[string]string{fingerprintOf(t, func(*Command) {}): "the base"}
	for name, change := range map[string]func(*Command){
		"provider":          func(c *Command) { c.Provider = "x" },
		"reference":         func(c *Command) { c.Payment.Reference = "x" },
		"amount":            func(c *Command) { c.Amount.Micros = 20_000 },
		"currency":          func(c *Command) { c.Amount.Currency = "USD" },
		"options":           func(c *Command) { c.Options = []byte(`{"a":1}`) },
		"number as written": func(c *Command) { c.Options = []byte(`{"a":1.0}`) },
		"number as text":    func(c *Command) { c.Options = []byte(`{"a":"1"}`) },
		"moved boundary":    func(c *Command) { c.Provider, c.Payment.Reference = "bbmsl-hk4", "922" },
	} {
		got := fingerprintOf(t, change)
		if before := seen[got]; before != "" {
			t.Errorf("%s has the fingerprint of %s", name, before)
		}
		seen[got] = name
	}
}

func TestFingerprintOfAmbiguousOptions(t *testing.T) {
	c := Command{Options: []byte(`{"a":1,"a":2}`)}
	if f, err := c.Fingerprint(); err == nil {
		t.Errorf("got %s, want an error", f)
	}
}

func TestParseFingerprint(t *testing.T) {
	const text = "0e1bb02ae6819cd25b77917e5a10d396"
	if f, err := ParseFingerprint(text); err != nil || f.String() != text {
		t.Errorf("got %s, %v; want %s", f, err, text)
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.ToUpper(text), "g" + text[1:]} {
		if f, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q: got %s, want an error", bad, f)
		}
	}
}
