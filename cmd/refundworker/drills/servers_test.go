package drills

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"refundworker/idempotency/servertest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// members is how many servers the NATS of a drill consists of. Drills about the files of one server run on one alone.
var members = flag.Int("servers", 1, "how many servers the NATS of each drill consists of: 1 or 3")

// natsServers is NATS, one server or a cluster, that can be ended and started again on the same files and addresses.
type natsServers struct {
	d       *drill
	servers []*natsServer
	// dir has the files of all of them.
	dir string
}

type natsServer struct {
	*process
	name, addr, dir string
	args            []string
}

// aboutOneServer skips a drill about the files of one server where there are to be more.
func aboutOneServer(t *testing.T) {
	if *members > 1 {
		t.Skip("is about the files of one server")
	}
}

// nats starts NATS.
func (d *drill) nats(args ...string) *natsServers {
	d.t.Helper()
	n := d.natsLater(*members, args...)
	n.start()
	return n
}

// natsLater is NATS that is not there yet.
func (d *drill) natsLater(count int, args ...string) *natsServers {
	d.t.Helper()
	n := &natsServers{d: d, dir: filepath.Join(d.dir, "nats")}
	if count == 1 {
		n.servers = []*natsServer{{addr: servertest.Address(d.t), dir: n.dir, args: args}}
		return n
	}
	var routes []string
	for range count {
		routes = append(routes, "nats://"+servertest.Address(d.t))
	}
	for i, route := range routes {
		name := string(rune('a' + i))
		// Clients know the servers that they are given, and no others: some are led over a link.
		n.servers = append(n.servers, &natsServer{name: name, addr: servertest.Address(d.t), dir: filepath.Join(n.dir, name),
			args: append([]string{"--server_name", name, "--cluster_name", "drill", "--cluster", route, "--no_advertise",
				"--routes", strings.Join(routes, ",")}, args...)})
	}
	return n
}

// url names all servers.
func (n *natsServers) url() string {
	var urls []string
	for _, s := range n.servers {
		urls = append(urls, "nats://"+s.addr)
	}
	return strings.Join(urls, ",")
}

// addr is that of one server.
func (n *natsServers) addr() string { return n.servers[0].addr }

// start starts all servers, and waits until they work as one.
func (n *natsServers) start() {
	n.d.t.Helper()
	for _, s := range n.servers {
		s.start(n.d)
	}
	if len(n.servers) == 1 {
		return
	}
	js := n.d.client(n.url())
	n.d.until("the cluster has a leader", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := js.AccountInfo(ctx)
		return err
	})
}

// end ends all servers.
func (n *natsServers) end(sig syscall.Signal) {
	for _, s := range n.servers {
		_ = s.process.end(sig)
	}
}

func (s *natsServer) start(d *drill) {
	d.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"-a", "127.0.0.1", "-p", port, "-js", "-sd", s.dir}, s.args...)
	s.process = d.launch(exec.Command(buildOnce(d.t, natsProgram), args...))
	d.until("nats-server listens", func() error { return listens(s.addr) })
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
