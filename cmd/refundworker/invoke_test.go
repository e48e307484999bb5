package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// invocation is one start of the program, the way main starts it.
type invocation struct {
	env   map[string]string
	stdin string
}

func (i invocation) getenv(name string) string { return i.env[name] }

// invoke runs a command to its end; one that does not end by itself is told to.
func (i invocation) invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, i.getenv, strings.NewReader(i.stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// background is a command that runs until it is stopped.
type background struct {
	stdout, stderr *output
	// stop ends it and returns its exit code.
	stop func() int
	// ended is closed when it has ended.
	ended <-chan struct{}
}

func (i invocation) background(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b, code, ended := &background{stdout: &output{}, stderr: &output{}}, 0, make(chan struct{})
	b.ended = ended
	go func() {
		defer close(ended)
		code = run(ctx, args, i.getenv, strings.NewReader(i.stdin), b.stdout, b.stderr)
	}()
	b.stop = sync.OnceValue(func() int {
		cancel()
		<-ended
		return code
	})
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Logf("stderr of %v:\n%s", args, b.stderr)
		}
	})
	return b
}

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// patience ends a wait for something that never comes.
const patience = 12 * time.Minute

// eventually looks until done reports true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if until(ctx, done) != nil {
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// started is the log line of a worker that was started.
type startedLine struct {
	Msg, Mode, Admin string
	Providers, NATS  []string
}

func (b *background) started(t *testing.T) startedLine {
	t.Helper()
	var found startedLine
	eventually(t, "the worker logs that it started", func() bool {
		for line := range strings.SplitSeq(b.stderr.String(), "\n") {
			if json.Unmarshal([]byte(line), &found) == nil && found.Msg == "worker started" {
				return true
			}
		}
		return false
	})
	return found
}

// writeFile writes a file of the test's own directory and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const scriptedSettings = `{"providers":[{"name":"try","type":"scripted","timeout":"1s","scripted":{"outcomes":["succeeded"]}}]}`

// embeddedWorker starts serve with embedded servers on free ports.
func embeddedWorker(t *testing.T, dir string) (*background, startedLine) {
	t.Helper()
	b := invocation{}.background(t, "serve", "--config", writeFile(t, "settings.json", scriptedSettings), "--data-dir", dir,
		"--nats-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	line := b.started(t)
	eventually(t, "the worker is ready", func() bool { code, _ := get(t, line.Admin, "/readyz"); return code == 200 })
	return b, line
}

// natsAlone starts a JetStream server without any stream.
func natsAlone(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.JetStream, options.NoLog, options.NoSigs = "127.0.0.1", true, true, true
	if options.StoreDir == "" {
		options.StoreDir = t.TempDir()
	}
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(5 * time.Minute) {
		t.Fatal("nats server did not start")
	}
	return srv
}

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// commandLine is a valid command of the scripted provider, as one line.
func commandLine(t *testing.T, id schemas.RequestID, options string) string {
	t.Helper()
	c := schemas.Command{RequestID: id, Provider: "try", Payment: schemas.Payment{Reference: "pay-" + string(id)},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: time.Now().UTC().Truncate(time.Second)}
	if options != "" {
		c.Options = json.RawMessage(options)
	}
	body, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(body) + "\n"
}
