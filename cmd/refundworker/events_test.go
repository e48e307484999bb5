package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"refundworker/schemas"
)

func TestEvents(t *testing.T) {
	_, line := embeddedWorker(t, t.TempDir())
	url := "nats://" + line.NATS[0]
	js := connect(t, url)
	follow := invocation{}.background(t, "events", "--nats-url", url, "--from-start", "--kind", "succeeded,failed", "--count", "2")
	next := invocation{}.background(t, "events", "--nats-url", url)
	lines := commandLine(t, "ord-1:r1", "") + commandLine(t, "ord-2:r1", `{"script":["declined:account_closed"]}`)
	if code, _, errs := (invocation{stdin: lines}).invoke(t, "publish", "--nats-url", url); code != exitFine {
		t.Fatalf("publish ended with %d: %s", code, errs)
	}
	<-follow.ended
	if code, got := follow.stop(), follow.stdout.String(); code != exitFine || strings.Count(got, "\n") != 2 ||
		!strings.Contains(got, "failed") || !strings.Contains(got, "reason account_closed") || strings.Contains(got, "dispatched") {
		t.Errorf("followed with %d:\n%swant one succeeded and one failed", code, got)
	}
	eventually(t, "all is done", func() bool { return messagesIn(t, js, schemas.StreamCommands) == 0 })
	for _, row := range []struct {
		args []string
		want map[string]int
	}{
		{[]string{"--no-follow"}, map[string]int{"\n": 4, "dispatched": 2}},
		{[]string{"--no-follow", "--since", "1h", "--request-id", "ord-2:r1"}, map[string]int{"\n": 2, "  ord-2:r1": 2}},
		{[]string{"--no-follow", "--kind", "succeeded"}, map[string]int{"\n": 1, "succeeded": 1}},
		{[]string{"--no-follow", "--provider", "other"}, map[string]int{"\n": 0}},
		{[]string{"--from-start", "--count", "3"}, map[string]int{"\n": 3}},
		{[]string{"--no-follow", "--json"}, map[string]int{"\n": 4, `"kind":"failed"`: 1}},
	} {
		code, out, errs := invocation{}.invoke(t, append([]string{"events", "--nats-url", url}, row.args...)...)
		for text, want := range row.want {
			if got := strings.Count(out, text); code != exitFine || got != want {
				t.Errorf("%v ended with %d (%s) and has %q %d times, want %d:\n%s", row.args, code, errs, text, got, want, out)
			}
		}
	}
	// Following goes on until it is told to stop.
	select {
	case <-next.ended:
		t.Error("following ended by itself")
	default:
	}
	if code := next.stop(); code != exitFine {
		t.Errorf("following ended with %d, want %d", code, exitFine)
	}
}

func TestEventsWithoutStream(t *testing.T) {
	srv := natsAlone(t, server.Options{})
	code, _, errs := invocation{}.invoke(t, "events", "--nats-url", srv.ClientURL())
	if code != exitFailed || !strings.Contains(errs, "has a worker been started once?") {
		t.Errorf("ended with %d: %s, want %d and what to do", code, errs, exitFailed)
	}
}

func TestEventsRefusesWhatItCannotFilterBy(t *testing.T) {
	code, _, errs := invocation{}.invoke(t, "events", "--provider", "A", "--kind", "odd", "--request-id", "a b", "--since", "1h", "--from-start", "--count", "-1")
	for _, want := range []string{"--provider:", "--kind:", "--request-id:", "exclude each other", "must not be negative"} {
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("ended with %d: %s, want %d and %q", code, errs, exitUsage, want)
		}
	}
}

// Each kind has a line that says what matters about it.
func TestEventLines(t *testing.T) {
	const dir = "../../schemas/testdata/event/good"
	for name, want := range map[string]string{
		"dispatched": "attempt", "deferred": "not before", "failed": "reason", "succeeded": "by call", "parked": "reason",
		"rejected": "the requestId belongs to", "reversed": "came back", "resumed": "by \"", "stopped": "per",
	} {
		body, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := schemas.DecodeEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		got := eventLine(e)
		if !strings.Contains(got, want) || !strings.Contains(got, "  "+name) || strings.Contains(got, "\n") ||
			!strings.HasPrefix(got, e.OccurredAt.UTC().Format(time.DateOnly)) {
			t.Errorf("%s reads %q, want one line with %q", name, got, want)
		}
	}
}
