package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// The README's tables say what the code says. Each is written anew from the code and has to stand in the README as it is.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readmeTable is a table of the README.
type readmeTable struct{ text strings.Builder }

func newReadmeTable(columns ...string) *readmeTable {
	t := &readmeTable{}
	t.row(columns...)
	t.text.WriteString("|" + strings.Repeat("---|", len(columns)) + "\n")
	return t
}

func (t *readmeTable) row(cells ...string) {
	t.text.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// inREADME fails, with the right table, where the README has another one: fewer rows, more of them, or others.
func (tb *readmeTable) inREADME(t *testing.T) {
	t.Helper()
	if text := tb.text.String(); !strings.Contains(readme(t), "\n\n"+text+"\n") {
		t.Errorf("README.md does not have this table:\n\n%s", text)
	}
}

// readmeSays fails where the README lacks a text, however its lines are broken.
func readmeSays(t *testing.T, text string) {
	t.Helper()
	if flat := strings.Join(strings.Fields(readme(t)), " "); !strings.Contains(flat, text) {
		t.Errorf("README.md does not say: %s", text)
	}
}

func code[T ~string](text T) string { return "`" + string(text) + "`" }

// outcomeText is what becomes of a refund by a provider's answer.
func outcomeText(kind schemas.Kind, reason schemas.Reason) string {
	if reason == "" {
		return code(kind)
	}
	return fmt.Sprintf("`%s(%s)`", kind, reason)
}

// resultText is outcomeText for an answer as an adapter reads it.
func resultText(r providers.Result) string {
	switch r.Status {
	case providers.Succeeded:
		return outcomeText(schemas.KindSucceeded, "")
	case providers.Cancelled:
		return outcomeText(schemas.KindCancelled, "")
	case providers.Acknowledged:
		return outcomeText(schemas.KindAcknowledged, "")
	case providers.Declined:
		return outcomeText(schemas.KindFailed, r.Reason)
	case providers.NotNow:
		return outcomeText(schemas.KindDeferred, r.Reason)
	case providers.Partial:
		return outcomeText(schemas.KindParked, schemas.ReasonPartial)
	case providers.Conflicting:
		return outcomeText(schemas.KindParked, schemas.ReasonContradiction)
	}
	return "no answer"
}

// A reader learns from one table what each type of provider can do, and so what the worker does in doubt.
func TestReadmeCapabilitySheets(t *testing.T) {
	sheets := map[string]providers.Capabilities{}
	for _, in := range readmeSettings(t).worker.Instances {
		sheets[string(in.Name)] = in.Provider.Capabilities()
	}
	want := newReadmeTable("type", "idempotency key", "lookup", "partial refunds", "refunds of a payment", "void or refund decided by", "result", "day ends")
	for i, kind := range adapterTypes {
		c, ok := sheets[exampleNames[i]]
		if !ok {
			t.Fatalf("the example settings have no provider %s, of type %s", exampleNames[i], kind)
		}
		want.row(code(kind), keyCell(c), lookupCell(c), yesNo(c.PartialRefunds), concurrencyCell(c.Concurrent), string(c.CancelDecidedBy),
			resultCell(c), dayCell(c.DayEnd))
	}
	want.inREADME(t)
}

// exampleNames are the providers of the README's settings, in the order of adapterTypes.
var exampleNames = []string{"bbmsl-hk", "craftgate-tr", "wallet", "cards", "try"}

func keyCell(c providers.Capabilities) string {
	if c.KeyLife == 0 {
		return "none to rest on"
	}
	return fmt.Sprintf("for %d days", c.KeyLife/(24*time.Hour))
}

func lookupCell(c providers.Capabilities) string {
	if !c.Lookup {
		return "none"
	}
	return fmt.Sprintf("\"not found\" counts after %s", c.LookupDelay)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func concurrencyCell(c providers.Concurrency) string {
	return map[providers.Concurrency]string{providers.Unbounded: "any number", providers.OneAtATime: "one at a time",
		providers.OneEver: "one, ever"}[c]
}

func resultCell(c providers.Capabilities) string {
	if c.Asynchronous {
		return "at once or later"
	}
	return "at once"
}

func dayCell(zone *time.Location) string {
	if zone == nil {
		return "–"
	}
	_, offset := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Zone()
	return fmt.Sprintf("UTC%+d", offset/3600)
}

// Every reason that an event can give is in the README, and none that it cannot.
func TestReadmeReasons(t *testing.T) {
	for _, kind := range []schemas.Kind{schemas.KindFailed, schemas.KindDeferred, schemas.KindRejected, schemas.KindParked} {
		var names []string
		for _, reason := range schemas.ReasonsOf(kind) {
			names = append(names, string(reason))
		}
		readmeSays(t, fmt.Sprintf("%s: `%s`", kind, strings.Join(names, " ")))
	}
}
