package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// The demo is what a newcomer sees first: it plays every provider to its end and says that all promises held.
func TestDemo(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"demo"}, invocation{}.getenv, strings.NewReader(""), &out, &errs)
	if code != exitFine || !strings.Contains(out.String(), "Every promise held") || strings.Contains(out.String(), "BROKEN") {
		t.Errorf("ended with %d\n%s\n%s\nwant every promise held", code, &out, &errs)
	}
	for _, want := range []string{"failed exceeds_remaining", "failed not_refundable", "failed already_refunded", "failed window_exceeded",
		"failed account_closed", "cancelled", "rejected request_id_conflict",
		"/requestId duplicate key; /amount/amountMicros duplicate key", "came back 4.00 CAD, 4.00 CAD in all",
		"came back 6.00 CAD, 10.00 CAD in all", "by call", "by lookup", "by notice"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo did not show %q:\n%s", want, &out)
		}
	}
}

// played is a demo that has run with these cases, what it said and what it was judged by.
type played struct {
	*demonstration
	out   bytes.Buffer
	found evidence
	err   error
}

func playDemo(t *testing.T, inspect func(*evidence), pick func(demoCase) bool) *played {
	t.Helper()
	p := &played{}
	p.demonstration = newDemo(&program{getenv: invocation{}.getenv, stdout: &p.out, stderr: &p.out}, func(e *evidence) {
		inspect(e)
		p.found = *e
	})
	p.cases = slices.DeleteFunc(p.cases, func(c demoCase) bool { return !pick(c) })
	p.err = p.run(t.Context())
	return p
}

// A demo that cannot fail shows nothing: here the ledger has a movement too many.
func TestDemoFailsWhenMoneyMovedTwice(t *testing.T) {
	twice := func(e *evidence) {
		if len(e.ledger) > 0 {
			e.ledger = append(e.ledger, e.ledger[0])
		}
	}
	// One case is enough to have something to tamper with.
	p := playDemo(t, twice, func(c demoCase) bool { return c.reference == "4922" })
	if p.err == nil || !strings.Contains(p.err.Error(), "promises were broken") || !strings.Contains(p.out.String(), "BROKEN: REFUND of") {
		t.Errorf("ended with %v\n%s\nwant it to fail", p.err, &p.out)
	}
}

// What a real run leaves behind is spoiled in one place after the other, and each time a promise is broken: no line of
// the ledger can be dropped, doubled or changed, and no ending can be missing, whatever the provider.
func TestDemoMissesNothing(t *testing.T) {
	p := playDemo(t, func(*evidence) {}, func(demoCase) bool { return true })
	if p.err != nil {
		t.Fatalf("%v\n%s", p.err, &p.out)
	}
	want := []string{schemas.StreamCommands, schemas.StreamDead, schemas.StreamEvents, schemas.StreamNotices, schemas.StreamRetries}
	if got := sortedKeys(p.found.left); !slices.Equal(got, want) {
		t.Errorf("what is left was looked for in %q, want %q", got, want)
	}
	broken := func(what string, spoil func(*evidence)) {
		t.Helper()
		found := p.found
		found.ledger, found.events = slices.Clone(found.ledger), slices.Clone(found.events)
		spoil(&found)
		if p.judge(found) == nil {
			t.Errorf("%s: the demo says that every promise held", what)
		}
	}
	kinds := map[string]bool{}
	for i, m := range p.found.ledger {
		kinds[m.Type+" "+string(m.Kind)] = true
		what := string(m.Kind) + " of payment " + m.Reference
		broken("without the "+what, func(e *evidence) { e.ledger = slices.Delete(e.ledger, i, i+1) })
		broken("with two of the "+what, func(e *evidence) { e.ledger = append(e.ledger, m) })
		broken("with another amount of the "+what, func(e *evidence) { e.ledger[i].Amount.Micros += 10_000 })
		broken("with another payment of the "+what, func(e *evidence) { e.ledger[i].Reference = "another" })
		broken("with another type of the "+what, func(e *evidence) { e.ledger[i].Type = "another" })
		for _, kind := range []simulator.MovementKind{simulator.MovementRefund, simulator.MovementCancel, simulator.MovementReversal} {
			if kind != m.Kind {
				broken("with a "+string(kind)+" for the "+what, func(e *evidence) { e.ledger[i].Kind = kind })
			}
		}
	}
	wantKinds := []string{"bbmsl CANCEL", "bbmsl REFUND", "craftgate CANCEL", "craftgate REFUND", "google REFUND", "google REVERSAL"}
	if got := sortedKeys(kinds); !slices.Equal(got, wantKinds) {
		t.Errorf("movements are %q, want %q", got, wantKinds)
	}
	ended := map[schemas.ProviderName]bool{}
	for _, missing := range p.found.events {
		if ending(missing) == "" {
			continue
		}
		ended[missing.Provider] = true
		broken("without "+missing.ID(), func(e *evidence) {
			e.events = slices.DeleteFunc(e.events, func(e schemas.Event) bool { return e.ID() == missing.ID() })
		})
	}
	if len(ended) != len(demoSides) {
		t.Errorf("refunds ended at %v, want some at each of the %d providers", ended, len(demoSides))
	}
}
