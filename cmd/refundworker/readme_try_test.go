package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// Whoever follows the README from the seed to the events sees what it says: two refunds taken on, one settled after a
// webhook and one by a notification, of which a part comes back. Only addresses and times are other ones here.
func TestReadmeTryOut(t *testing.T) {
	sim := simulator.New(simulator.Options{})
	side := httptest.NewServer(sim)
	t.Cleanup(func() { side.Close(); sim.Close() })
	moved := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("the README's example has no %s", from)
		}
		return strings.ReplaceAll(text, from, to)
	}
	config := moved(blocks(t, "settings")[1], "http://127.0.0.1:9090", side.URL)
	config = moved(config, "127.0.0.1:8080", "127.0.0.1:0")
	worker := invocation{env: map[string]string{"CRAFTGATE_TRY": "try"}}.background(t, "serve", "--config", writeFile(t, "settings.json", config),
		"--data-dir", t.TempDir(), "--nats-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	line := worker.started(t)
	eventually(t, "the worker is ready", func() bool { code, _ := get(t, line.Admin, "/readyz"); return code == 200 })
	if err := sim.Seed(strings.NewReader(moved(blocks(t, "seed")[0], "http://127.0.0.1:8080", "http://"+edgeOf(t, worker)))); err != nil {
		t.Fatal(err)
	}
	url := "nats://" + line.NATS[0]
	commands := moved(blocks(t, "command")[2], "2026-11-21T10:00:00Z", time.Now().UTC().Format(time.RFC3339))
	if code, _, errs := (invocation{}).invoke(t, "publish", "--nats-url", url, writeFile(t, "commands.ndjson", commands)); code != exitFine {
		t.Fatalf("publish ended with %d: %s", code, errs)
	}
	js := connect(t, url)
	for subject, want := range map[string]string{
		schemas.Subjects{}.Event(schemas.KindAcknowledged, "craftgate-try"): "try-1:acknowledged:1",
		schemas.Subjects{}.Event(schemas.KindSucceeded, "craftgate-try"):    "try-1:outcome",
		schemas.Subjects{}.Event(schemas.KindAcknowledged, "cards-try"):     "try-2:acknowledged:1",
		schemas.Subjects{}.Event(schemas.KindSucceeded, "cards-try"):        "try-2:outcome",
		schemas.Subjects{}.Event(schemas.KindReversed, "cards-try"):         "try-2:reversed:",
	} {
		eventually(t, want, func() bool { return strings.HasPrefix(lastEventID(t, js, subject), want) })
	}
}

// edgeOf is where a started worker takes reports.
func edgeOf(t *testing.T, worker *background) string {
	t.Helper()
	for text := range strings.SplitSeq(worker.stderr.String(), "\n") {
		var line struct{ Msg, Edge string }
		if json.Unmarshal([]byte(text), &line) == nil && line.Msg == "worker started" && line.Edge != "" {
			return line.Edge
		}
	}
	t.Fatal("the worker opened no edge")
	return ""
}

// lastEventID is the id of the last event under a subject; empty while there is none.
func lastEventID(t *testing.T, js jetstream.JetStream, subject string) string {
	t.Helper()
	stream, err := js.Stream(t.Context(), schemas.StreamEvents)
	if err != nil {
		return ""
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		return ""
	}
	return msg.Header.Get(schemas.HeaderEventID)
}
