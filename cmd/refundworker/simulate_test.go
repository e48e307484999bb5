package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestSimulate(t *testing.T) {
	seed := writeFile(t, "seed.json", `{"payments":{"bbmsl":[{"reference":"4922","amount":{"amountMicros":"15000000","currencyCode":"HKD"}}]}}`)
	b := invocation{}.background(t, "simulate", "--listen", "127.0.0.1:0", "--seed", seed)
	address := ""
	eventually(t, "the simulator listens", func() bool {
		if found := regexp.MustCompile(`http://(\S+)`).FindStringSubmatch(b.stderr.String()); found != nil {
			address = found[1]
		}
		return address != ""
	})
	if code, body := get(t, address, "/_control/ledger"); code != http.StatusOK || body != "" {
		t.Errorf("the ledger is %d %q, want empty", code, body)
	}
	if code := b.stop(); code != exitFine {
		t.Errorf("ended with %d, want %d", code, exitFine)
	}
}

func TestSimulateRefusesSeeds(t *testing.T) {
	for text, want := range map[string]string{`{"payment":[]}`: "unknown member", `{"faults":[{}]}`: "/faults/0"} {
		code, _, errs := invocation{}.invoke(t, "simulate", "--seed", writeFile(t, "seed.json", text))
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: ended with %d: %s, want %d and %q", text, code, errs, exitUsage, want)
		}
	}
	if code, _, errs := (invocation{}).invoke(t, "simulate", "--seed", "missing.json"); code != exitUsage || !strings.Contains(errs, "missing.json") {
		t.Errorf("ended with %d: %s, want %d and the file", code, errs, exitUsage)
	}
}
