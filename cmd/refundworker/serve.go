package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/consumer/stream"
)

// Reasons of /readyz that the program itself gives.
const (
	reasonStreams  = "streams_not_set_up"
	reasonStopping = "stopping"
)

// serve runs the worker until ctx ends.
func (p *program) serve(ctx context.Context, args []string) error {
	var o overrides
	set := p.flags("serve")
	o.bindServe(set)
	if _, err := p.parse(set, args, 0); err != nil {
		return err
	}
	s, err := o.load(p.getenv)
	if err != nil {
		return usageError{withServers(ctx, s, err)}
	}
	t, err := startTelemetry(ctx, p.getenv, p.stderr, s.logLevel)
	if err != nil {
		return err
	}
	defer t.stop()
	return serveWith(ctx, s, t, nil)
}

// running is a worker that serves, as seen from beside it.
type running struct {
	backends *backends
	admin    *listener
	// edge is where providers report; empty when none of them does.
	edge string
	// waitsFor is what /readyz says.
	waitsFor func() []string
}

// serveWith runs the worker with finished settings until ctx ends. Once everything is started, and before the
// worker is ready, started is told.
func serveWith(ctx context.Context, s *settings, t *telemetry, started func(running)) error {
	b, err := openBackends(s, t.log)
	if err != nil {
		return err
	}
	defer b.close()
	v, err := newService(s, b, t)
	if err != nil {
		return err
	}
	var set atomic.Bool
	v.onSetUp = func() { set.Store(true) }
	waitsFor := func() []string { return readiness(ctx, v, set.Load()) }
	ready := func() readyAnswer {
		reasons := waitsFor()
		return readyAnswer{Ready: len(reasons) == 0, Reasons: reasons, Providers: v.worker.Providers()}
	}
	admin, err := listen(s.adminListen, adminHandler(ready, t.registry))
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	defer admin.close()
	edge, err := openEdge(s, v.worker.Inbox(), t)
	if err != nil {
		return err
	}
	r := running{backends: b, admin: admin, waitsFor: waitsFor}
	if edge != nil {
		defer edge.close()
		r.edge = edge.address
	}
	t.log.Info("worker started", "version", ownVersion(), "mode", mode(s), "providers", s.names(), "nats", natsHosts(s, b),
		"redis", s.redis.Addresses, "admin", admin.address, "edge", r.edge)
	if started != nil {
		started(r)
	}
	err = v.run(ctx)
	t.log.Info("worker stopped")
	return err
}

// readiness is why no refund is worked on now.
func readiness(ctx context.Context, v *service, setUp bool) []string {
	reasons := v.worker.Readiness()
	if !setUp {
		reasons = append(reasons, reasonStreams)
	}
	if ctx.Err() != nil {
		reasons = append(reasons, reasonStopping)
	}
	return reasons
}

func mode(s *settings) string {
	if s.embedded() {
		return "embedded"
	}
	return "joined"
}

func natsHosts(s *settings, b *backends) []string {
	if s.embedded() {
		return []string{b.nc.ConnectedAddr()}
	}
	return s.nats.hosts()
}

func (s *settings) names() []string {
	var names []string
	for _, in := range s.worker.Instances {
		names = append(names, string(in.Name))
	}
	slices.Sort(names)
	return names
}

// inspectTimeout bounds the look at a NATS that will not be used anyway.
const inspectTimeout = 5 * time.Second

// withServers adds to a list of wrong settings what is wrong with the streams, where that can be seen, so that
// both are mended in one go. It changes nothing on the server.
func withServers(ctx context.Context, s *settings, err error) error {
	var list *settingsError
	if !errors.As(err, &list) || s.nats.URL == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	nc, dialErr := dialNATS(s.nats)
	if dialErr != nil {
		return err
	}
	defer nc.Close()
	js, dialErr := jetstream.New(nc)
	if dialErr != nil {
		return err
	}
	var topology *stream.TopologyError
	if errors.As(consumer.Verify(ctx, js, s.worker), &topology) {
		list.servers = topology
	}
	return err
}
