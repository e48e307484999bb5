package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// get asks a listener; code 0 means that it does not answer.
func get(t *testing.T, address, path string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func notReadyReasons(t *testing.T, address string) []string {
	t.Helper()
	code, body := get(t, address, "/readyz")
	var said struct {
		Ready   bool
		Reasons []string
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatalf("readyz said %d %s: %v", code, body, err)
	}
	if (code == http.StatusOK) != said.Ready || said.Ready == (len(said.Reasons) > 0) {
		t.Fatalf("readyz said %d %s", code, body)
	}
	return said.Reasons
}

func TestServeEmbedded(t *testing.T) {
	b, line := embeddedWorker(t, t.TempDir())
	if line.Mode != "embedded" || !slices.Equal(line.Providers, []string{"try"}) {
		t.Errorf("started as %+v, want embedded with provider try", line)
	}
	for path, want := range map[string]string{"/livez": `"alive":true`, "/readyz": `{"ready":true,"providers":{"try":"closed"}}`,
		"/metrics": `refund_ready{reason="ready"} 1`} {
		if code, body := get(t, line.Admin, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s said %d %s, want 200 with %s", path, code, body, want)
		}
	}
	if code, _ := get(t, line.Admin, "/nothing"); code != http.StatusNotFound {
		t.Errorf("/nothing said %d, want 404", code)
	}
	if code := b.stop(); code != exitFine {
		t.Errorf("exit code %d, want %d", code, exitFine)
	}
	if b.stdout.String() != "" {
		t.Errorf("printed %q, want only logs", b.stdout)
	}
}

// The in-memory Redis forgets everything with the process; the journal in the data directory does not.
func TestServeEmbeddedAgainOnTheSameData(t *testing.T) {
	dir := t.TempDir()
	input := invocation{stdin: commandLine(t, "ord-1:r1", "")}
	for round := range 2 {
		b, line := embeddedWorker(t, dir)
		url := "nats://" + line.NATS[0]
		if code, _, stderr := input.invoke(t, "publish", "--nats-url", url); code != exitFine {
			t.Fatalf("round %d: publish ended with %d: %s", round, code, stderr)
		}
		js := connect(t, url)
		eventually(t, "the command is dealt with", func() bool { return messagesIn(t, js, schemas.StreamCommands) == 0 })
		eventually(t, "its events are published", func() bool { return messagesIn(t, js, schemas.StreamEvents) == 2 })
		_, events, _ := invocation{}.invoke(t, "events", "--no-follow", "--nats-url", url)
		if got := strings.Count(events, "\n"); got != 2 || !strings.Contains(events, "succeeded") {
			t.Errorf("round %d: events are\n%swant dispatched and succeeded, once", round, events)
		}
		b.stop()
	}
}

func messagesIn(t *testing.T, js jetstream.JetStream, name string) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestDataDirectoryIsUsedByOneProcess(t *testing.T) {
	dir := t.TempDir()
	embeddedWorker(t, dir)
	code, _, stderr := invocation{}.invoke(t, "serve", "--config", writeFile(t, "settings.json", scriptedSettings),
		"--data-dir", dir, "--nats-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(stderr, "another process is using it") {
		t.Errorf("ended with %d: %s, want %d and who has it", code, stderr, exitFailed)
	}
}

// The embedded event stream is the only place that knows what was paid, so a write that is acknowledged is on disk.
func TestEmbeddedNATSWritesThrough(t *testing.T) {
	e, err := startNATS(t.TempDir(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if !e.server.JetStreamConfig().SyncAlways {
		t.Error("writes wait for a sync")
	}
}

func TestPortsInUseAreSaid(t *testing.T) {
	_, line := embeddedWorker(t, t.TempDir())
	config := writeFile(t, "settings.json", scriptedSettings)
	for _, taken := range [][]string{{"--nats-listen", line.NATS[0], "--admin-listen", "127.0.0.1:0"},
		{"--nats-listen", "127.0.0.1:0", "--admin-listen", line.Admin}} {
		args := append([]string{"serve", "--config", config, "--data-dir", t.TempDir()}, taken...)
		code, _, stderr := invocation{}.invoke(t, args...)
		if code != exitFailed || !strings.Contains(stderr, "address already in use") {
			t.Errorf("%v ended with %d: %s, want %d and the address in use", taken, code, stderr, exitFailed)
		}
	}
}

// NATS and Redis may come later than the worker: it waits and says for what.
func TestServeWaitsForItsServers(t *testing.T) {
	port := natsAlone(t, server.Options{})
	url, address := port.ClientURL(), port.Addr().String()
	port.Shutdown()
	port.WaitForShutdown()
	b := invocation{}.background(t, "serve", "--config", writeFile(t, "settings.json", scriptedSettings),
		"--nats-url", url, "--redis-url", "redis://127.0.0.1:1", "--admin-listen", "127.0.0.1:0")
	line := b.started(t)
	if line.Mode != "joined" || !slices.Equal(line.NATS, []string{address}) {
		t.Errorf("started as %+v, want joined to %s", line, address)
	}
	eventually(t, "NATS is missed", func() bool {
		reasons := notReadyReasons(t, line.Admin)
		return slices.Contains(reasons, "nats_unreachable") && slices.Contains(reasons, reasonStreams)
	})
	var number int
	if _, err := fmt.Sscanf(address[strings.LastIndex(address, ":")+1:], "%d", &number); err != nil {
		t.Fatal(err)
	}
	natsAlone(t, server.Options{Port: number})
	eventually(t, "only Redis is missed", func() bool {
		return slices.Equal(notReadyReasons(t, line.Admin), []string{"redis_unreachable"})
	})
	if code := b.stop(); code != exitFine {
		t.Errorf("exit code %d, want %d", code, exitFine)
	}
}

func TestServeRefusesWrongStreams(t *testing.T) {
	srv := natsAlone(t, server.Options{})
	js := connect(t, srv.ClientURL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: schemas.StreamCommands,
		Subjects: []string{"refunds.commands.try"}, MaxAge: 1e9}); err != nil {
		t.Fatal(err)
	}
	config := writeFile(t, "settings.json", scriptedSettings)
	code, _, stderr := invocation{}.invoke(t, "serve", "--config", config, "--nats-url", srv.ClientURL(),
		"--redis-url", "redis://127.0.0.1:1", "--admin-listen", "127.0.0.1:0")
	if code != exitUsage {
		t.Errorf("ended with %d, want %d", code, exitUsage)
	}
	for _, want := range []string{"retention", "discard policy", "max age", "duplicate window", "mend with: nats stream edit"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("said %s\nwant it to name %q", stderr, want)
		}
	}
}

func TestServeRefusesTooManyReplicas(t *testing.T) {
	srv := natsAlone(t, server.Options{})
	config := writeFile(t, "settings.json", strings.Replace(scriptedSettings, "{", `{"nats":{"replicas":3},`, 1))
	code, _, stderr := invocation{}.invoke(t, "serve", "--config", config, "--nats-url", srv.ClientURL(),
		"--redis-url", "redis://127.0.0.1:1", "--admin-listen", "127.0.0.1:0")
	if code != exitUsage || !strings.Contains(stderr, "replicas") {
		t.Errorf("ended with %d: %s, want %d and the replicas named", code, stderr, exitUsage)
	}
}

// Wrong settings and wrong streams are told in one go, and nothing is changed on the server.
func TestServeTellsSettingsAndStreamsTogether(t *testing.T) {
	srv := natsAlone(t, server.Options{})
	js := connect(t, srv.ClientURL())
	b := invocation{}.background(t, "serve", "--config", writeFile(t, "settings.json", scriptedSettings),
		"--nats-url", srv.ClientURL(), "--redis-url", "redis://127.0.0.1:1", "--admin-listen", "127.0.0.1:0")
	line := b.started(t)
	eventually(t, "the streams are made", func() bool { return !slices.Contains(notReadyReasons(t, line.Admin), reasonStreams) })
	b.stop()
	stream, err := js.Stream(t.Context(), schemas.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	wrong := stream.CachedInfo().Config
	wrong.MaxAge, wrong.Duplicates = 1e9, 1e9
	if _, err := js.UpdateStream(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(scriptedSettings, "{", `{"edge":{"listen":"nowhere"},"retian":"1h",`, 1)
	code, _, stderr := invocation{}.invoke(t, "serve", "--config", writeFile(t, "settings.json", bad),
		"--nats-url", srv.ClientURL(), "--redis-url", "redis://127.0.0.1:1")
	if code != exitUsage {
		t.Errorf("ended with %d, want %d", code, exitUsage)
	}
	for _, want := range []string{"edge.listen: must be host:port", "retian: unknown key", schemas.StreamDead, "max age"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("said %s\nwant it to name %q", stderr, want)
		}
	}
}

func TestNATSThatRefusesTheUserEndsTheWorker(t *testing.T) {
	srv := natsAlone(t, server.Options{Username: "somebody", Password: "s3cret-of-somebody"})
	i := invocation{env: map[string]string{"REFUND_NATS_URL": "nats://me:s3cret-of-mine@" + srv.Addr().String(),
		"REFUND_REDIS_URL": "redis://:s3cret-of-redis@127.0.0.1:1"}}
	b := i.background(t, "serve", "--config", writeFile(t, "settings.json", scriptedSettings), "--admin-listen", "127.0.0.1:0")
	<-b.ended
	if code := b.stop(); code != exitUsage || !strings.Contains(b.stderr.String(), errNATSLost.Error()) {
		t.Errorf("ended with %d: %s, want %d and the refusal", code, b.stderr, exitUsage)
	}
	if strings.Contains(b.stderr.String(), "s3cret") {
		t.Errorf("a secret is shown:\n%s", b.stderr)
	}
}
