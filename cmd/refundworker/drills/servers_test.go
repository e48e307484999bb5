package drills

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"

	"refundworker/idempotency/servertest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// natsProcess is a nats-server that can be ended and started again on the same files and address.
type natsProcess struct {
	*process
	d    *drill
	addr string
	dir  string
	args []string
}

func (d *drill) nats(args ...string) *natsProcess {
	d.t.Helper()
	n := &natsProcess{d: d, addr: servertest.Address(d.t), dir: filepath.Join(d.dir, "nats"), args: args}
	n.start()
	return n
}

func (n *natsProcess) url() string { return "nats://" + n.addr }

func (n *natsProcess) start() {
	n.d.t.Helper()
	_, port, _ := net.SplitHostPort(n.addr)
	args := append([]string{"-a", "127.0.0.1", "-p", port, "-js", "-sd", n.dir}, n.args...)
	n.process = n.d.launch(exec.Command(buildOnce(n.d.t, natsServer), args...))
	n.d.until("nats-server listens", func() error { return listens(n.addr) })
}

func listens(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// redisProcess is a redis-server that can be ended and started again on the same files and address.
type redisProcess struct {
	*process
	d    *drill
	addr string
	dir  string
	env  []string
	// rdb is the test's own client.
	rdb *redis.Client
}

// redis starts a redis-server that saves nothing unless it is told to.
func (d *drill) redis(args ...string) *redisProcess {
	d.t.Helper()
	r := &redisProcess{d: d, addr: servertest.Address(d.t), dir: d.t.TempDir()}
	r.rdb = redis.NewClient(&redis.Options{Addr: r.addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	d.t.Cleanup(func() { r.rdb.Close() })
	r.start(args...)
	return r
}

func (r *redisProcess) url() string { return "redis://" + r.addr }

// start starts the server and waits until it answers.
func (r *redisProcess) start(args ...string) {
	r.d.t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	cmd := exec.Command(servertest.RedisServer(r.d.t), append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", r.dir}, args...)...)
	cmd.Env = environment(r.env...)
	r.process = r.d.launch(cmd)
	r.d.until("redis-server answers", func() error { return r.rdb.Ping(context.Background()).Err() })
}

// do runs a command on the server itself.
func (r *redisProcess) do(args ...any) any {
	r.d.t.Helper()
	answer, err := r.rdb.Do(context.Background(), args...).Result()
	if err != nil {
		r.d.t.Fatalf("redis %v: %v", args, err)
	}
	return answer
}

// client is a connection of an order service.
func (d *drill) client(url string) jetstream.JetStream {
	d.t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(512), jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		d.t.Fatal(err)
	}
	return js
}

// stateOf is what a stream holds.
func stateOf(js jetstream.JetStream, name string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, context.DeadlineExceeded) {
		return jetstream.StreamState{}, fmt.Errorf("stream %s does not answer", name)
	}
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return stream.CachedInfo().State, nil
}
