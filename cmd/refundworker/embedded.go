package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
)

const embeddedStart = 30 * time.Second

// embeddedNATS is a JetStream server in this process. Every write is on disk before it is acknowledged, because
// its event stream is the only place that knows what was paid.
type embeddedNATS struct {
	server *server.Server
	lock   *os.File
}

// startNATS starts a server whose files are in dir, and which listens on a loopback address.
func startNATS(dir, listen string, log *slog.Logger) (*embeddedNATS, error) {
	host, port, err := splitListen(listen)
	if err != nil {
		return nil, err
	}
	if err := portFree(listen); err != nil {
		return nil, fmt.Errorf("embedded nats cannot listen on %s: %w", listen, err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	e := &embeddedNATS{lock: lock}
	if e.server, err = server.NewServer(&server.Options{ServerName: "refundworker", Host: host, Port: port,
		JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, DisableJetStreamBanner: true}); err != nil {
		lock.Close()
		return nil, fmt.Errorf("embedded nats: %w", err)
	}
	e.server.SetLoggerV2(natsLog{log}, false, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(embeddedStart) || !e.server.JetStreamEnabled() {
		e.close()
		return nil, fmt.Errorf("embedded nats did not start on the files in %s; the log says why", dir)
	}
	return e, nil
}

func (e *embeddedNATS) close() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	e.lock.Close() // which also gives the lock back
}

func splitListen(listen string) (string, int, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("embedded nats: listen address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", 0, fmt.Errorf("embedded nats: listen address %s: the port must be a number", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// portFree asks first: the server itself would only log that it cannot listen.
func portFree(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return l.Close()
}

// lockDirectory keeps a second process from the same files. The system lets go of the lock when the process ends,
// however it ends.
func lockDirectory(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "refundworker.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another process is using it; stop that one, or name another with --data-dir")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	return f, nil
}

// natsLog passes on what the embedded server says above the everyday.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(string, ...any) {}
func (l natsLog) Debugf(string, ...any)  {}
func (l natsLog) Tracef(string, ...any)  {}

func (l natsLog) Warnf(format string, v ...any) {
	l.log.Warn("embedded nats", "detail", fmt.Sprintf(format, v...))
}

func (l natsLog) Errorf(format string, v ...any) {
	l.log.Error("embedded nats", "detail", fmt.Sprintf(format, v...))
}

func (l natsLog) Fatalf(format string, v ...any) {
	l.log.Error("embedded nats", "detail", strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// startRedis is a Redis in memory. It starts empty and is rebuilt from the journal. It has a port of its own on
// loopback, behind a password that nobody else knows: its in-process connection has no buffer, so that a long
// pipeline, which is written before its replies are read, would wait for itself.
func startRedis() (redis.UniversalClient, func(), error) {
	mini := miniredis.NewMiniRedis()
	mini.ClockTTL(true) // leases must run out by the real clock
	password := rand.Text()
	mini.RequireAuth(password)
	if err := mini.StartAddr("127.0.0.1:0"); err != nil {
		return nil, nil, fmt.Errorf("start the embedded redis: %w", err)
	}
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{mini.Addr()}, Password: password,
		ContextTimeoutEnabled: true})
	return rdb, func() {
		_ = rdb.Close()
		mini.Close()
	}, nil
}
