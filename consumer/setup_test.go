package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"

	"refundworker/consumer"
	"refundworker/idempotency"
	"refundworker/idempotency/servertest"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// fixture is a JetStream server, a Redis and a scripted provider; workers are started on them at will.
type fixture struct {
	t        testing.TB
	nats     *server.Server
	nc       *nats.Conn
	js       jetstream.JetStream
	mini     *miniredis.Miniredis
	rdb      redis.UniversalClient
	provider *scripted.Provider
	subjects schemas.Subjects
	cfg      consumer.Config
	// wrap, when set, is put around the JetStream of workers started from then on.
	wrap func(jetstream.JetStream) jetstream.JetStream
	// logTo, when set, takes the whole log of workers started from then on.
	logTo io.Writer
	// inMemory connects without sockets.
	inMemory bool
	// meters is where workers measure; nil means nowhere.
	meters metric.MeterProvider
}

const provider schemas.ProviderName = "test"

// patience ends a wait for something that never comes.
const patience = 5 * time.Minute

func newFixture(t testing.TB, script scripted.Config, tune ...func(*consumer.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: servertest.Port(t), JetStream: true,
		StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats server did not start")
	}
	f.nats, f.mini = srv, miniredis.RunT(t)
	f.rdb = redis.NewClient(&redis.Options{Addr: f.mini.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { f.rdb.Close() })
	f.prepare(script, tune...)
	return f
}

// prepare completes a fixture that has its servers.
func (f *fixture) prepare(script scripted.Config, tune ...func(*consumer.Config)) {
	f.t.Helper()
	f.nc = f.dial()
	var err error
	if f.js, err = jetstream.New(f.nc); err != nil {
		f.t.Fatal(err)
	}
	if f.provider, err = scripted.New(script); err != nil {
		f.t.Fatal(err)
	}
	f.cfg = consumer.Config{LeaseMargin: 8 * time.Second, Inbox: true, Instances: []consumer.Instance{{Name: provider,
		Provider: f.provider, Concurrency: 16, Timeout: time.Second,
		Backoff: consumer.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Multiplier: 2, Jitter: 0.1}}}}
	for _, set := range tune {
		set(&f.cfg)
	}
}

func (f *fixture) dial() *nats.Conn {
	f.t.Helper()
	options := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}
	if f.inMemory {
		options = append(options, nats.InProcessServer(f.nats))
	}
	nc, err := nats.Connect(f.nats.ClientURL(), options...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	return nc
}

// running is one worker and how it ended.
type running struct {
	worker *consumer.Worker
	store  *idempotency.Store
	stop   func() error
}

// start runs a worker of its own connection and store, until the test ends or stop is called, and waits until it is ready.
func (f *fixture) start() *running {
	f.t.Helper()
	r := f.launch()
	f.eventually("the worker is ready", func() error {
		if reasons := r.worker.Readiness(); len(reasons) > 0 {
			return fmt.Errorf("not ready: %v", reasons)
		}
		return nil
	})
	return r
}

// launch is start without the wait.
func (f *fixture) launch() *running {
	f.t.Helper()
	js, err := jetstream.New(f.dial())
	if err != nil {
		f.t.Fatal(err)
	}
	if f.wrap != nil {
		js = f.wrap(js)
	}
	store, err := idempotency.New(f.rdb, idempotency.Config{Volatile: true})
	if err != nil {
		f.t.Fatal(err)
	}
	level := slog.LevelError
	if os.Getenv("TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	var logTo io.Writer = f.t.Output()
	if f.logTo != nil {
		logTo, level = f.logTo, slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: level}))
	w, err := consumer.New(f.cfg, js, store, consumer.Telemetry{Log: log, Meters: f.meters})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	r := &running{worker: w, store: store}
	r.stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		store.Close()
		return err
	})
	f.t.Cleanup(func() { _ = r.stop() })
	return r
}

// eventually waits until check returns nil.
func (f *fixture) eventually(what string, check func() error) {
	f.t.Helper()
	deadline, step := time.After(patience), 10*time.Millisecond
	if f.inMemory { // time is fake: each look costs work, and waiting nothing
		step = time.Second
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("%s: %v", what, err)
		}
	}
}

func command(id string, options string) schemas.Command {
	c := schemas.Command{RequestID: schemas.RequestID(id), Provider: provider,
		Payment: schemas.Payment{Reference: "pay-" + id}, Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"},
		RequestedAt: time.Now().UTC().Truncate(time.Second)}
	if options != "" {
		c.Options = json.RawMessage(options)
	}
	return c
}

func (f *fixture) publish(c schemas.Command) {
	f.t.Helper()
	body, err := c.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.publishRaw(body)
}

func (f *fixture) publishRaw(body []byte) {
	f.t.Helper()
	if _, err := f.js.Publish(context.Background(), f.subjects.Command(provider), body); err != nil {
		f.t.Fatal(err)
	}
}

// isEntry reports whether a message is an entry of the journal, of a kind.
func isEntry(m *nats.Msg, k schemas.Kind) bool { return m.Header.Get(schemas.HeaderKind) == string(k) }

// entryOf matches the entries of one kind, and under the messages of a subject.
func entryOf(k schemas.Kind) func(*nats.Msg) bool {
	return func(m *nats.Msg) bool { return isEntry(m, k) }
}

func under(subject string) func(*nats.Msg) bool {
	return func(m *nats.Msg) bool { return m.Subject == subject }
}

// events are all events of the journal, in stream order.
func (f *fixture) events() []schemas.Event {
	f.t.Helper()
	ctx := context.Background()
	stream, err := f.js.Stream(ctx, schemas.StreamJournal)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []schemas.Event
	for seq := uint64(1); ; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out
		}
		if err != nil {
			f.t.Fatal(err)
		}
		if msg.Header.Get(schemas.HeaderEventID) == "" { // no worker wrote it
			continue
		}
		e, err := schemas.DecodeEvent(msg.Data)
		if err != nil {
			f.t.Fatalf("event %d: %v", seq, err)
		}
		out = append(out, e)
	}
}

func (f *fixture) kindsOf(id string) []schemas.Kind {
	var out []schemas.Kind
	for _, e := range f.events() {
		if e.RequestID == schemas.RequestID(id) {
			out = append(out, e.Kind)
		}
	}
	return out
}

func (f *fixture) messages(stream string) uint64 {
	f.t.Helper()
	n, err := f.count(stream)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) count(stream string) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := f.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.Msgs, nil
}

// quiet waits until no command and no schedule is left.
func (f *fixture) quiet() {
	f.t.Helper()
	f.eventually("nothing is left to do", func() error { return f.left(0, 0) })
}

func (f *fixture) publishWith(body []byte, headers map[string]string) {
	f.t.Helper()
	msg := &nats.Msg{Subject: f.subjects.Command(provider), Data: body, Header: nats.Header{}}
	for name, value := range headers {
		msg.Header.Set(name, value)
	}
	if _, err := f.js.PublishMsg(context.Background(), msg); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) header(seq uint64) nats.Header {
	f.t.Helper()
	stream, err := f.js.Stream(context.Background(), schemas.StreamJournal)
	if err != nil {
		f.t.Fatal(err)
	}
	msg, err := stream.GetMsg(context.Background(), seq)
	if err != nil {
		f.t.Fatal(err)
	}
	return msg.Header
}

// reached tells whether the refund's last event is of a kind.
func (f *fixture) reached(id string, k schemas.Kind) error {
	kinds := f.kindsOf(id)
	if len(kinds) == 0 || kinds[len(kinds)-1] != k {
		return fmt.Errorf("events so far %v", kinds)
	}
	return nil
}

// was is reached, also for a refund that has gone on since.
func (f *fixture) was(id string, k schemas.Kind) error {
	kinds := f.kindsOf(id)
	if !slices.Contains(kinds, k) {
		return fmt.Errorf("events so far %v", kinds)
	}
	return nil
}

func (f *fixture) lastEvent(id string) schemas.Event {
	f.t.Helper()
	var last schemas.Event
	for _, e := range f.events() {
		if e.RequestID == schemas.RequestID(id) {
			last = e
		}
	}
	return last
}

func (f *fixture) left(commands, retries uint64) error {
	c, err := f.count(schemas.StreamCommands)
	if err != nil {
		return err
	}
	r, err := f.count(schemas.StreamRetries)
	if err != nil {
		return err
	}
	if c != commands || r != retries {
		return fmt.Errorf("%d commands and %d retries are left, want %d and %d", c, r, commands, retries)
	}
	return nil
}

// chained checks that each event of a refund names the one before it, and that ids are unique.
func (f *fixture) chained(id string) {
	f.t.Helper()
	var previous uint64
	ids := map[string]bool{}
	for i, e := range f.events() {
		seq := uint64(i + 1)
		h := f.header(seq)
		if ids[h.Get("ce-id")] || h.Get("ce-id") != h.Get(schemas.HeaderMsgID) {
			f.t.Errorf("event %d: ce-id %q is not unique or not the message id", seq, h.Get("ce-id"))
		}
		ids[h.Get("ce-id")] = true
		if e.RequestID != schemas.RequestID(id) || e.Kind == schemas.KindRejected {
			continue
		}
		want := ""
		if previous > 0 {
			want = fmt.Sprint(previous)
		}
		if got := h.Get(schemas.HeaderPrevious); got != want {
			f.t.Errorf("event %d (%s) names %q as the event before, want %q", seq, e.Kind, got, want)
		}
		previous = seq
	}
}
