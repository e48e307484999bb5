package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// patience ends a wait for something that never comes.
const patience = 5 * time.Minute

const (
	provider schemas.ProviderName = "test"
	retain                        = 90 * 24 * time.Hour
)

var subjects schemas.Subjects

// fixture is one JetStream server or a cluster of three, with both streams.
type fixture struct {
	t       testing.TB
	servers []*server.Server
	options []*server.Options
	js      jetstream.JetStream
}

// eachSize runs a test on one server and on three.
func eachSize(t *testing.T, test func(t *testing.T, f *fixture)) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("servers=%d", size), func(t *testing.T) {
			test(t, newFixture(t, size))
		})
	}
}

func newFixture(t testing.TB, size int) *fixture {
	t.Helper()
	f := &fixture{t: t}
	var ports []int
	var routes []*url.URL
	for range size {
		ports = append(ports, servertest.Port(t))
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[len(ports)-1])})
	}
	for i := range size {
		o := &server.Options{ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: servertest.Port(t), JetStream: true,
			StoreDir: t.TempDir(), NoLog: true, NoSigs: true}
		if size > 1 {
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = routes
		}
		f.options = append(f.options, o)
		f.servers = append(f.servers, nil)
		f.boot(i)
	}
	t.Cleanup(func() {
		for _, s := range f.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	})
	f.js = f.dial()
	f.create(stream.JournalConfig(subjects, retain, size))
	f.create(stream.EventsConfig(subjects, 0, size))
	return f
}

// boot starts a server, or starts it again on its own files.
func (f *fixture) boot(i int) {
	f.t.Helper()
	o := *f.options[i]
	s, err := server.NewServer(&o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.servers[i] = s
	s.SetLogger(fatal{f.t}, false, false)
	s.Start()
}

// fatal hears of a server only why it does not serve.
type fatal struct{ t testing.TB }

func (f fatal) Fatalf(format string, args ...any) { f.t.Errorf("nats server: "+format, args...) }
func (f fatal) Errorf(string, ...any)             {}
func (f fatal) Warnf(string, ...any)              {}
func (f fatal) Noticef(string, ...any)            {}
func (f fatal) Debugf(string, ...any)             {}
func (f fatal) Tracef(string, ...any)             {}

func (f *fixture) kill(i int) {
	f.servers[i].Shutdown()
	f.servers[i].WaitForShutdown()
}

// dial is a connection of its own.
func (f *fixture) dial(options ...nats.Option) jetstream.JetStream {
	f.t.Helper()
	var urls string
	for _, o := range f.options {
		urls += fmt.Sprintf("nats://127.0.0.1:%d,", o.Port)
	}
	var nc *nats.Conn
	f.eventually("a connection", func() (err error) {
		nc, err = nats.Connect(urls[:len(urls)-1], append(options, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
			nats.ReconnectWait(20*time.Millisecond))...)
		return err
	})
	f.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		f.t.Fatal(err)
	}
	return js
}

func (f *fixture) create(c jetstream.StreamConfig) {
	f.t.Helper()
	f.eventually("stream "+c.Name, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := f.js.CreateOrUpdateStream(ctx, c)
		return err
	})
}

// recreate makes a stream anew with other settings.
func (f *fixture) recreate(c jetstream.StreamConfig) {
	f.t.Helper()
	// A stream that is made right after one of its name was deleted may still have what that one had.
	f.eventually("an empty stream", func() error {
		if err := f.js.DeleteStream(f.ctx(), c.Name); err != nil {
			return err
		}
		s, err := f.js.CreateStream(f.ctx(), c)
		if err == nil && s.CachedInfo().State.Msgs > 0 {
			err = errors.New("it has messages")
		}
		return err
	})
}

func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.t.Cleanup(cancel)
	return ctx
}

// eventually waits until check returns nil.
func (f *fixture) eventually(what string, check func() error) {
	f.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
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

// leaderOf is the number of the server that leads a stream.
func (f *fixture) leaderOf(name string) int {
	f.t.Helper()
	leader := -1
	f.eventually("a leader of "+name, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		s, err := f.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		if c := s.CachedInfo().Cluster; c != nil {
			if _, err := fmt.Sscanf(c.Leader, "s%d", &leader); err != nil {
				return fmt.Errorf("leader %q", c.Leader)
			}
		}
		return nil
	})
	return leader
}

func (f *fixture) stepDown(name string) {
	f.t.Helper()
	f.eventually("a leader that steps down", func() error {
		_, err := f.js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, nil, 2*time.Second)
		return err
	})
}

func (f *fixture) journal() *stream.Journal { return stream.NewJournal(f.dial(), subjects) }

// raw publishes a message that no worker writes.
func (f *fixture) raw(subject string, header nats.Header, body string) uint64 {
	f.t.Helper()
	ack, err := f.js.PublishMsg(f.ctx(), &nats.Msg{Subject: subject, Header: header, Data: []byte(body)})
	if err != nil {
		f.t.Fatal(err)
	}
	return ack.Sequence
}

// all are the messages of a stream, in its order.
func (f *fixture) all(name string) []*jetstream.RawStreamMsg {
	f.t.Helper()
	s, err := f.js.Stream(f.ctx(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []*jetstream.RawStreamMsg
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(f.ctx(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		f.t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		f.t.Fatal(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(f.ctx()))
		if err != nil {
			f.t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, &jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Header: m.Headers(),
			Data: m.Data()})
		if meta.Sequence.Stream >= last {
			return out
		}
	}
}

// append stores an entry that nobody competes with. A refusal may be the answer to a second sending of what is stored, or
// about to be: the client sends again where it found no leader.
func (f *fixture) append(j *stream.Journal, e ledger.Entry, after uint64) uint64 {
	f.t.Helper()
	ctx := f.ctx()
	for {
		s, err := j.Append(ctx, e, after)
		if err == nil && !s.Stale {
			return s.Seq
		}
		head, headErr := j.Head(ctx, e.Event.RequestID)
		switch {
		case headErr == nil && head.ID == e.Event.ID() && head.Owner == e.Owner && head.Previous == after:
			return head.Seq
		case headErr == nil && head.Seq != after, ctx.Err() != nil:
			f.t.Fatalf("got %+v, %v behind %d, with %+v, %v at the head; want it stored", s, err, after, head, headErr)
		}
	}
}

func (f *fixture) must(s stream.Stored, err error) uint64 {
	f.t.Helper()
	if err != nil || s.Stale || s.Seq == 0 {
		f.t.Fatalf("got %+v, %v; want it stored", s, err)
	}
	return s.Seq
}

// link is a connection whose answers can be held back.
type link struct{ deaf atomic.Bool }

func (l *link) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &linked{c, l}, err
}

type linked struct {
	net.Conn
	link *link
}

// Read loses everything that arrives while the link is deaf. The connection is of no use any more then.
func (c *linked) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.link.deaf.Load() {
			return n, err
		}
	}
}

// dispatched is an attempt of a refund.
func dispatched(id string, attempt int, owner string) ledger.Entry {
	c := schemas.Command{RequestID: schemas.RequestID(id), Provider: provider, Payment: schemas.Payment{Reference: "pay-" + id},
		Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}, RequestedAt: noon}
	e := schemas.NewEvent(schemas.KindDispatched, c, noon)
	lease := noon.Add(time.Hour)
	e.Attempt, e.LeaseUntil, e.IdempotencyKey, e.Baseline = attempt, &lease, id, []byte(`{"net":"15"}`)
	return ledger.Entry{Event: e, Owner: owner, Hold: &ledger.Hold{Kind: ledger.ShareHold, Rules: 1},
		Trace:      stream.PackTrace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		TraceState: "a=b", Baggage: "c=d", Command: []byte(`{"requestId":"é <\\u0000> ` + id + `"}`)}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// outcome is what ends a refund.
func outcome(id string) ledger.Entry {
	d := dispatched(id, 1, "")
	e := d.Event.After(schemas.KindSucceeded, noon.Add(time.Minute))
	e.RefundType, e.FoundBy, e.Attempt = schemas.RefundTypeRefund, schemas.FoundByCall, 1
	return ledger.Entry{Event: e}
}

// rejected is about a command that was not accepted.
func rejected(id string, hash byte) ledger.Entry {
	return ledger.Entry{Event: schemas.Event{Kind: schemas.KindRejected, RequestID: schemas.RequestID(id), Provider: provider,
		OccurredAt: noon, Reason: schemas.ReasonTooOld, BodyHash: [32]byte{hash}}}
}
