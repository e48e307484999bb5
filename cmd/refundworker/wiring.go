package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"refundworker/consumer"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/providers"
)

// backends are the servers that a worker stands on, its own or shared ones.
type backends struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	rdb redis.UniversalClient
	// lost is closed when the NATS connection is closed for good before close is called.
	lost chan struct{}
	// closers end what was started, the last one first.
	closers []func()
}

// openBackends starts the embedded servers or gets ready to reach the shared ones, which may come later.
func openBackends(s *settings, log *slog.Logger) (*backends, error) {
	b := &backends{lost: make(chan struct{})}
	redis.SetLogger(redisLog{log})
	target := s.nats
	if s.embedded() {
		e, err := startNATS(s.dataDir, s.natsListen, log)
		if err != nil {
			return nil, err
		}
		b.closers = append(b.closers, e.close)
		target = natsSettings{URL: providers.Secret(e.server.ClientURL())}
		rdb, stop, err := startRedis()
		if err != nil {
			b.close()
			return nil, err
		}
		b.rdb = rdb
		b.closers = append(b.closers, stop)
	} else {
		b.rdb = dialRedis(s.redis)
		b.closers = append(b.closers, func() { _ = b.rdb.Close() })
	}
	if err := b.dialNATS(target, log); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *backends) dialNATS(target natsSettings, log *slog.Logger) error {
	nc, err := dialNATS(target,
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // there is none when this side ends the connection
				log.Warn("nats disconnected", "error", err.Error())
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats connected again") }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.lost) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats reports an error", "error", err.Error())
		}))
	if err != nil {
		return err
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second)); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	return nil
}

// close gives everything back. What was acknowledged last is on its way before the connection ends.
func (b *backends) close() {
	if b.nc != nil {
		_ = b.nc.FlushTimeout(5 * time.Second)
		b.nc.Close()
	}
	for _, end := range slices.Backward(b.closers) {
		end()
	}
}

// dialNATS connects with what every client of this program shares. Its errors do not show the URL.
func dialNATS(n natsSettings, more ...nats.Option) (*nats.Conn, error) {
	// Without a buffer a publish fails at once while NATS is away, instead of being stored after its caller gave up.
	options := append([]nats.Option{nats.Name(serviceName), nats.ReconnectBufSize(-1)}, more...)
	if n.Credentials != "" {
		options = append(options, nats.UserCredentialBytes([]byte(n.Credentials.Reveal())))
	}
	if n.TLS != nil {
		options = append(options, nats.Secure(n.TLS))
	}
	nc, err := nats.Connect(n.URL.Reveal(), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats at %v: %w", n.hosts(), err)
	}
	return nc, nil
}

// reach connects a command to the NATS that its flags and settings name, and tells the prefix of its subjects. The caller
// closes the connection.
func (o overrides) reach(getenv func(string) string) (jetstream.JetStream, string, error) {
	s, err := o.loadClient(getenv)
	if err != nil {
		return nil, "", usageError{err}
	}
	nc, err := dialNATS(s.nats)
	if err != nil {
		return nil, "", err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, "", fmt.Errorf("jetstream: %w", err)
	}
	return js, s.worker.Prefix, nil
}

func dialRedis(r redisSettings) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: r.Addresses, MasterName: r.MasterName, DB: r.Database,
		Username: r.Username, Password: r.Password.Reveal(), TLSConfig: r.TLS,
		// Without it go-redis ignores deadlines.
		ContextTimeoutEnabled: true})
}

// redisLog takes in what go-redis would print by itself. It is for a close look only: what matters comes back as an
// error too.
type redisLog struct{ log *slog.Logger }

// Printf is called by go-redis.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
}

// service is a worker on its backends.
type service struct {
	worker *consumer.Worker
	store  *idempotency.Store
	log    *slog.Logger
	lost   <-chan struct{}
	// onSetUp is called once the streams are right.
	onSetUp func()
}

func newService(s *settings, b *backends, t *telemetry) (*service, error) {
	cfg := s.store
	cfg.Volatile = s.embedded()
	store, err := idempotency.New(b.rdb, cfg)
	if err != nil {
		return nil, usageError{err}
	}
	work := s.worker
	work.Inbox = len(s.reports) > 0
	w, err := consumer.New(work, b.js, store, consumer.Telemetry{Tracers: t.tracers, Meters: t.meters, Log: t.log})
	if err != nil {
		store.Close()
		return nil, usageError{err}
	}
	return &service{worker: w, store: store, log: t.log, lost: b.lost}, nil
}

// setupPause is the wait between two tries to set the streams up.
const setupPause = time.Second

// errNATSLost means that the client gave up on NATS: it was refused.
var errNATSLost = errors.New("nats refused the connection for good: check its users and permissions, and nats.credentials")

// run sets the streams up, as soon as NATS can be reached, and then works until ctx ends.
func (v *service) run(ctx context.Context) error {
	defer v.store.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-v.lost:
			cancel(errNATSLost)
		case <-ctx.Done():
		}
	})
	if err := v.setUp(ctx); err != nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errNATSLost) { // refused from the start
		return usageError{errNATSLost}
	}
	if ctx.Err() == nil {
		v.onSetUp()
		if err := v.worker.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("worker: %w", err)
		}
	}
	if errors.Is(context.Cause(ctx), errNATSLost) {
		return errNATSLost
	}
	return nil
}

// setUp tries until the streams are right, or surely wrong.
func (v *service) setUp(ctx context.Context) error {
	said := ""
	for {
		err := v.worker.Setup(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
			return nil
		case lasting(err):
			return usageError{&settingsError{servers: err}}
		}
		if text := err.Error(); text != said {
			v.log.Warn("streams not ready, trying on", "error", text)
			said = text
		}
		select {
		case <-time.After(setupPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// lasting tells problems that waiting does not cure: streams set up otherwise, and requests that the server
// understood and refused.
func lasting(err error) bool {
	var topology *stream.TopologyError
	var refused *jetstream.APIError
	return errors.As(err, &topology) ||
		errors.As(err, &refused) && (refused.Code == 400 || refused.ErrorCode == replicasNotSupported)
}

// replicasNotSupported is the server's code for more replicas than a single server has.
const replicasNotSupported jetstream.ErrorCode = 10074
