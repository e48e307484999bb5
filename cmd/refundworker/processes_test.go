package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// processes starts real programs on loopback and ends them with the test: nats-server, redis-server, this
// program. The simulator runs in the test itself, so that its ledger outlives everything.
type processes struct {
	t         *testing.T
	dir       string
	simulator *simulator.Server
	baseURL   string
	key       string // the merchant's private key, PEM
}

var errNotYet = errors.New("not yet")

var built struct {
	sync.Mutex
	dir string
}

// buildOnce builds a program for all tests of this run.
func buildOnce(t *testing.T, name, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "refundworker-test-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	path := filepath.Join(built.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func newProcesses(t *testing.T) *processes {
	t.Helper()
	p := &processes{t: t, dir: t.TempDir(), simulator: simulator.New(simulator.Options{})}
	server := httptest.NewServer(p.simulator)
	t.Cleanup(server.Close)
	p.baseURL = server.URL + "/bbmsl"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	err = p.simulator.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: "700123",
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.simulator.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: schemas.Money{Micros: 15_000_000, Currency: "HKD"},
		Status: "SETTLED"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// unusedAddress is an address that nothing listens on now.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process is one started program.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	done   chan struct{}
	err    error
}

// launch starts a program; what it prints is shown when the test fails.
func (p *processes) launch(name string, args ...string) *process {
	p.t.Helper()
	proc := &process{cmd: exec.Command(name, args...), output: &bytes.Buffer{}, done: make(chan struct{})}
	proc.cmd.Stdout, proc.cmd.Stderr = proc.output, proc.output
	proc.cmd.Env = append(os.Environ(), "MERCHANT_KEY="+p.key)
	if err := proc.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { proc.err = proc.cmd.Wait(); close(proc.done) }()
	p.t.Cleanup(func() {
		proc.end(syscall.SIGKILL)
		if p.t.Failed() {
			out := proc.output.Bytes()
			p.t.Logf("%s printed, at the end:\n%s", filepath.Base(name), out[max(0, len(out)-4000):])
		}
	})
	return proc
}

// end sends a signal and waits for the process.
func (proc *process) end(sig syscall.Signal) error {
	_ = proc.cmd.Process.Signal(sig)
	<-proc.done
	return proc.err
}

func (p *processes) nats() string {
	p.t.Helper()
	addr := unusedAddress(p.t)
	_, port, _ := net.SplitHostPort(addr)
	binary := buildOnce(p.t, "nats-server", "github.com/nats-io/nats-server/v2")
	p.launch(binary, "-a", "127.0.0.1", "-p", port, "-js", "-sd", filepath.Join(p.dir, "nats"))
	return "nats://" + addr
}

func (p *processes) redis() string {
	p.t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		p.t.Fatal("no redis-server on PATH: `make test` installs one on Debian as root; elsewhere install Redis 7.0 or newer")
	}
	addr := unusedAddress(p.t)
	_, port, _ := net.SplitHostPort(addr)
	p.launch(binary, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", p.dir)
	return addr
}

// config writes a settings file for the simulator's BBMSL and returns its path.
func (p *processes) config(change func(map[string]any)) string {
	p.t.Helper()
	settings := map[string]any{"providers": []any{map[string]any{"name": "bbmsl-hk", "type": "bbmsl", "timeout": "5s",
		"concurrency": 64, "bbmsl": map[string]any{"baseURL": p.baseURL, "merchantId": "700123",
			"privateKey": "${MERCHANT_KEY}", "model": "hosted", "voidUnsettled": true}}},
		"log": map[string]any{"level": "warn"}}
	if change != nil {
		change(settings)
	}
	body, err := json.Marshal(settings)
	if err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(p.dir, fmt.Sprintf("settings-%d.json", time.Now().UnixNano()))
	if err := os.WriteFile(path, body, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// worker is one serve process and its admin listener.
type worker struct {
	*process
	admin string
}

func (p *processes) worker(args ...string) *worker {
	p.t.Helper()
	admin := unusedAddress(p.t)
	args = append([]string{"serve", "--admin-listen", admin}, args...)
	w := &worker{process: p.launch(buildOnce(p.t, "refundworker", "refundworker/cmd/refundworker"), args...), admin: admin}
	p.until("the worker is ready", 60*time.Second, func() error {
		select {
		case <-w.done:
			p.t.Fatalf("the worker ended: %v\n%s", w.err, w.output)
		default:
		}
		return w.ready()
	})
	return w
}

func (w *worker) ready() error {
	res, err := http.Get("http://" + w.admin + "/readyz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	return nil
}

// until waits for check to return nil.
func (p *processes) until(what string, limit time.Duration, check func() error) {
	p.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// client is a connection of an order service.
func (p *processes) client(url string) jetstream.JetStream {
	p.t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(512))
	if err != nil {
		p.t.Fatal(err)
	}
	return js
}

// refundOf is a command for the i-th open order of the simulator.
func refundOf(i int) schemas.Command {
	return schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("ord-%d:r1", i)), Provider: "bbmsl-hk",
		Payment: schemas.Payment{Reference: fmt.Sprint(100_000 + i)}, RequestedAt: time.Now().UTC().Truncate(time.Second),
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}}
}

// quiet waits until no command and no schedule is left.
func (p *processes) quiet(js jetstream.JetStream, limit time.Duration) {
	p.t.Helper()
	p.until("nothing is left to do", limit, func() error {
		for _, name := range []string{schemas.StreamCommands, schemas.StreamRetries} {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			stream, err := js.Stream(ctx, name)
			cancel()
			if err != nil {
				return err
			}
			if n := stream.CachedInfo().State.Msgs; n > 0 {
				return fmt.Errorf("%d messages in %s", n, name)
			}
		}
		return nil
	})
}

// story is what the journal tells about one refund.
type story struct {
	outcomes []schemas.Event
	events   int
}

// journalOf reads the whole journal.
func (p *processes) journalOf(js jetstream.JetStream) (map[schemas.RequestID]*story, int) {
	p.t.Helper()
	ctx := context.Background()
	stream, err := js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		p.t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		p.t.Fatal(err)
	}
	stories, ids := map[schemas.RequestID]*story{}, map[string]bool{}
	last := stream.CachedInfo().State.LastSeq
	for n := uint64(0); n < last; {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			p.t.Fatal(err)
		}
		for msg := range batch.Messages() {
			n++
			e, err := schemas.DecodeEvent(msg.Data())
			if err != nil {
				p.t.Fatal(err)
			}
			if id := msg.Headers().Get("ce-id"); ids[id] {
				p.t.Errorf("ce-id %s occurs twice", id)
			} else {
				ids[id] = true
			}
			s := stories[e.RequestID]
			if s == nil {
				s = &story{}
				stories[e.RequestID] = s
			}
			s.events++
			if e.Kind.Outcome() {
				s.outcomes = append(s.outcomes, e)
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			p.t.Fatal(err)
		}
	}
	return stories, int(last)
}

// agree holds the ledger against the journal: every refund was made once, for its amount, and says so.
func (p *processes) agree(js jetstream.JetStream, refunds int) {
	p.t.Helper()
	moved := map[string]int{}
	for _, m := range p.simulator.Ledger() {
		moved[m.Reference]++
		if m.Amount.Micros != 10_000_000 {
			p.t.Errorf("order %s: %s moved, want 10.00 HKD", m.Reference, m.Amount)
		}
	}
	stories, events := p.journalOf(js)
	outcomes := 0
	for i := range refunds {
		c := refundOf(i)
		s := stories[c.RequestID]
		if s == nil || len(s.outcomes) != 1 || s.outcomes[0].Kind != schemas.KindSucceeded {
			p.t.Errorf("%s: outcomes %+v, want one succeeded", c.RequestID, s)
			continue
		}
		outcomes++
		if moved[c.Payment.Reference] != 1 {
			p.t.Errorf("order %s: %d movements, want 1", c.Payment.Reference, moved[c.Payment.Reference])
		}
	}
	if len(moved) != refunds || len(stories) != refunds {
		p.t.Errorf("%d orders refunded and %d refunds journalled, want %d of each", len(moved), len(stories), refunds)
	}
	dead, err := js.Stream(context.Background(), schemas.StreamDead)
	if err != nil {
		p.t.Fatal(err)
	}
	if n := dead.CachedInfo().State.Msgs; n != 0 {
		p.t.Errorf("%d dead letters, want none", n)
	}
	p.t.Logf("%d movements, %d outcomes, %d events", len(p.simulator.Ledger()), outcomes, events)
}
