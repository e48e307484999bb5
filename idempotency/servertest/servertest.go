// Package servertest gives tests real servers, and addresses for servers that they start themselves.
//
// Guarantee: while a server of theirs is away for a moment, nobody who calls for it in vain is given its port.
package servertest

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// Ports above these are what systems give to outgoing connections.
const lowest, highest = 10_000, 32_000

// apart is how far apart two processes begin whose ids follow each other.
const apart = 607

var given atomic.Int64

// patience ends a wait for something that never comes.
const patience = 5 * time.Minute

// fataler is what a testing.TB and a *rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(...any)
}

// Port is a port on 127.0.0.1 that nothing listens on now. This process gives it to nobody else.
func Port(t fataler) int {
	t.Helper()
	const tries = 1000
	for range tries {
		port := lowest + int((int64(os.Getpid())*apart+given.Add(1))%(highest-lowest))
		if l, err := net.Listen("tcp", local(port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is unused")
	return 0
}

// Address is an address that nothing listens on now.
func Address(t fataler) string {
	t.Helper()
	return local(Port(t))
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// RedisServer is the path of redis-server.
func RedisServer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("no redis-server on PATH: `make test` installs one on Debian as root; elsewhere install Redis 7.0 or newer")
	}
	return path
}

// Redis starts a redis-server that saves nothing, waits until it listens, and returns its address. It ends with the test.
func Redis(t testing.TB) string {
	t.Helper()
	port := Port(t)
	cmd := exec.Command(RedisServer(t), "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no",
		"--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	limit, tick := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", local(port))
		if err == nil {
			c.Close()
			return local(port)
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("redis-server does not listen: %v", err)
		}
	}
}
