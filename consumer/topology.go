package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/schemas"
)

// topologyTry bounds one administrative call: without a leader the server does not answer at all.
const topologyTry = 2 * time.Second

// The durable consumers of a provider instance.
func durableCommands(p schemas.ProviderName) string { return "refund-commands-" + string(p) }
func durableRetries(p schemas.ProviderName) string  { return "refund-retries-" + string(p) }
func durableNotices(p schemas.ProviderName) string  { return "refund-notices-" + string(p) }

func durableLateNotices(p schemas.ProviderName) string { return "refund-late-notices-" + string(p) }

// topology is what the server must hold for this configuration.
func (c Config) topology() stream.Topology {
	t := stream.Topology{Subjects: schemas.Subjects{Prefix: c.Prefix}, Replicas: c.Replicas, Accept: c.Accept, Retain: c.Retain,
		Keep: c.EventsKeep, Inbox: c.Inbox}
	for _, in := range c.Instances {
		t.Providers = append(t.Providers, in.Name)
		t.Window = max(t.Window, 2*(c.lease(in)+30*time.Second))
	}
	return t
}

// Verify compares the streams that exist with what cfg needs and changes nothing. It returns a *stream.TopologyError that names
// every difference; a stream that is missing is none, because the worker creates it.
func Verify(ctx context.Context, js jetstream.JetStream, cfg Config) error {
	return cfg.WithDefaults().topology().Verify(ctx, js)
}

// consumerConfig is a durable consumer of one instance. AckWait outlives the lease, so that a redelivery never
// meets the lease of a worker that still runs.
func (c Config) consumerConfig(in Instance, durable, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: durable, FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.lease(in) + c.LeaseMargin,
		MaxDeliver: -1, MaxAckPending: 8 * in.Concurrency}
}

// durable creates the durable consumer or brings it up to date.
func (w *Worker) durable(ctx context.Context, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	c, err := w.js.CreateOrUpdateConsumer(try, stream, want)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of %s: %w", want.Durable, stream, err)
	}
	return c, nil
}
