package consumer_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/redis/go-redis/v9"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// smallStore is all that a server in fake time stores, in bytes.
const smallStore = 64 << 20

// inFakeTime runs a test on a JetStream server and a Redis for which hours pass in moments. They and the workers talk
// in memory: a socket would let no time pass.
func inFakeTime(t *testing.T, script scripted.Config, test func(f *fixture), tune ...func(*consumer.Config)) {
	t.Helper()
	dir := t.TempDir()
	ats.Register() // the server's own clock ticks outside
	defer ats.Unregister()
	synctest.Test(t, func(t *testing.T) {
		srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, JetStreamMaxStore: smallStore,
			StoreDir: dir, NoLog: true, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("nats server did not start")
		}
		mini := miniredis.NewMiniRedis()
		mini.ClockTTL(true)
		t.Cleanup(mini.Close)
		f := &fixture{t: t, nats: srv, mini: mini, rdb: redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true,
			Dialer: func(context.Context, string, string) (net.Conn, error) { return dialBuffered(mini) }})}
		t.Cleanup(func() { f.rdb.Close() })
		f.inMemory = true
		f.prepare(script, tune...)
		test(f)
	})
}

// within lets fake time pass until check returns nil, and no more of it than that: each second of it costs work.
func (f *fixture) within(most time.Duration, check func() error) {
	f.t.Helper()
	const step = 5 * time.Second
	for passed := time.Duration(0); ; passed += step {
		err := check()
		if err == nil {
			return
		}
		if passed >= most {
			f.t.Fatalf("after %s: %v", passed, err)
		}
		time.Sleep(step)
	}
}

// dialBuffered is an in-memory connection whose writes do not wait to be read: a long pipeline is written before its
// replies are read.
func dialBuffered(mini *miniredis.Miniredis) (net.Conn, error) {
	c, err := mini.Dial()
	if err != nil {
		return nil, err
	}
	b := &bufferedConn{Conn: c}
	b.grown = sync.NewCond(&b.mu)
	go b.pump()
	return b, nil
}

type bufferedConn struct {
	net.Conn
	mu     sync.Mutex
	grown  *sync.Cond
	buf    []byte
	closed bool
}

func (b *bufferedConn) pump() {
	for {
		b.mu.Lock()
		for len(b.buf) == 0 && !b.closed {
			b.grown.Wait()
		}
		data, closed := b.buf, b.closed
		b.buf = nil
		b.mu.Unlock()
		if closed {
			return
		}
		if _, err := b.Conn.Write(data); err != nil {
			return
		}
	}
}

// Write is part of net.Conn.
func (b *bufferedConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	b.buf = append(b.buf, p...)
	b.grown.Signal()
	return len(p), nil
}

// Close is part of net.Conn.
func (b *bufferedConn) Close() error {
	b.mu.Lock()
	b.closed = true
	b.grown.Signal()
	b.mu.Unlock()
	return b.Conn.Close()
}

// standing is a provider whose first answer reaches the worker only after a long time, as if the process had stood
// still between the call and its answer.
type standing struct {
	providers.Provider
	still time.Duration
	first sync.Once
	made  chan struct{}
}

func (s *standing) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	result, err := s.Provider.Refund(ctx, r)
	s.first.Do(func() {
		close(s.made)
		time.Sleep(s.still)
	})
	return result, err
}

// A worker stands still between a call and its answer while another one finds the refund made and says so. By then the
// server may have forgotten the outcome's id; the first worker asks before it writes.
func TestOutcomeAfterAStandstillIsWrittenOnce(t *testing.T) {
	t.Parallel()
	for _, still := range []time.Duration{6 * time.Minute, 11 * time.Minute} {
		t.Run(still.String(), func(t *testing.T) {
			slow := &standing{still: still, made: make(chan struct{})}
			inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: canLookUp}, func(f *fixture) {
				f.start()
				one := command("one", "")
				f.publish(one)
				<-slow.made
				f.start()
				f.publish(again(one))
				time.Sleep(still - time.Minute)
				if err := f.reached("one", schemas.KindSucceeded); err != nil {
					t.Fatalf("while the first worker stands still: %v", err)
				}
				time.Sleep(3 * time.Minute)
				f.quiet()
				f.chained("one")
				if got, want := len(f.kindsOf("one")), 2; got != want {
					t.Errorf("events %v, want dispatched and succeeded", f.kindsOf("one"))
				}
				if n := len(f.provider.Movements()); n != 1 {
					t.Errorf("%d movements of money, want 1", n)
				}
				if n := f.messages(schemas.StreamDead); n != 0 {
					t.Errorf("%d dead letters, want none", n)
				}
			}, func(c *consumer.Config) {
				slow.Provider = c.Instances[0].Provider
				c.Instances[0].Provider = slow
			})
		})
	}
}
