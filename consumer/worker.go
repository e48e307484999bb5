package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/brakes"
	"refundworker/consumer/stream"
	"refundworker/consumer/sweep"
	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// Worker serves the configured provider instances from one process.
type Worker struct {
	cfg     Config
	js      jetstream.JetStream
	store   *idempotency.Store
	journal *stream.Journal
	sender  *stream.Sender
	obs     *observer
	log     *slog.Logger
	fatal   chan error
	lanes   []*lane
	// processors are one for each instance.
	processors []*processor
	projector  *idempotency.Projector
	sweep      *sweep.Sweep
}

// New returns a worker that has not started. It reports every problem of the settings at once.
func New(cfg Config, js jetstream.JetStream, store *idempotency.Store, t Telemetry) (*Worker, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("worker settings: %w", err)
	}
	t = t.withDefaults()
	subjects := schemas.Subjects{Prefix: cfg.Prefix}
	w := &Worker{cfg: cfg, js: js, store: store, log: t.Log, fatal: make(chan error, 1),
		journal: stream.NewJournal(js, subjects),
		sender:  stream.NewSender(js, subjects),
	}
	w.obs = newObserver(t, store, w.Readiness)
	w.projector = store.NewProjector(w.journal, t.Log)
	var names []schemas.ProviderName
	for _, in := range cfg.Instances {
		in.Provider = providers.Observe(in.Name, in.Provider, t.providers())
		p := &processor{cfg: cfg, in: in, caps: in.Provider.Capabilities(), store: store, journal: w.journal, sender: w.sender, obs: w.obs,
			inHand: newInHand(), fatal: w.stop}
		p.brakes = newBrakes(p, t.Log)
		w.processors, names = append(w.processors, p), append(names, in.Name)
		// Retries keep slots of their own: new commands cannot starve them, nor they new commands.
		retries := max(1, in.Concurrency/4)
		w.lanes = append(w.lanes,
			newLane(w, p, laneConfig{stream: schemas.StreamCommands, durable: durableCommands(in.Name),
				subject: subjects.Command(in.Name), slots: in.Concurrency - retries, handle: p.process, asks: true}),
			newLane(w, p, laneConfig{stream: schemas.StreamRetries, durable: durableRetries(in.Name),
				subject: subjects.Retry(in.Name), slots: retries, handle: p.process, asks: true}),
			newLane(w, p, laneConfig{stream: schemas.StreamNotices, durable: durableNotices(in.Name),
				subject: subjects.Notices(in.Name), slots: retries, handle: p.settle}),
			newLane(w, p, laneConfig{stream: schemas.StreamRetries, durable: durableLateNotices(in.Name),
				subject: subjects.RetryNotices(in.Name), slots: retries, handle: p.settle}))
	}
	w.sweep = sweep.New(sweep.Config{Store: store, Journal: w.journal, Sender: w.sender, Commands: stream.NewQueue(js, schemas.StreamCommands),
		Retries: stream.NewQueue(js, schemas.StreamRetries), Providers: names, Meter: t.Meters.Meter(telemetryScope), Log: t.Log})
	watchBreakers(t, w.breakers)
	measureVelocity(t, w.processors)
	return w, nil
}

// newBrakes returns the brakes of the instance. The fleet's calls are counted in Redis.
func newBrakes(p *processor, log *slog.Logger) *brakes.Brakes {
	in := p.in
	book := func(ctx context.Context, calls int, atMost time.Duration) (time.Duration, bool, error) {
		return p.store.TakeTurns(ctx, idempotency.Turns{Provider: in.Name, PerSecond: in.FleetPerSecond, Calls: calls, AtMost: atMost})
	}
	return brakes.New(brakes.Config{Provider: in.Name, Breaker: in.Breaker, RetryAfterMax: in.RetryAfterMax, Log: log,
		Rates: brakes.Rates{PerSecond: in.PerSecond, FleetPerSecond: in.FleetPerSecond, Book: book, Prepares: p.caps.Prepares}})
}

// Inbox takes in what providers report by HTTP; Config.Inbox must be set. It answers once the worker is set up and ready, and
// with errors before.
func (w *Worker) Inbox() *stream.Inbox { return stream.NewInbox(w.sender, w.journal, w.store.Gate()) }

// Setup creates missing streams and verifies the others. It returns a *stream.TopologyError that names every
// difference that matters.
func (w *Worker) Setup(ctx context.Context) error { return w.cfg.topology().Ensure(ctx, w.js) }

// Run serves until ctx ends, then drains: it stops pulling, finishes what is in hand and gives the rest back. It
// returns an error only when going on would be unsafe, such as an event stream that lost events.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.Setup(ctx); err != nil {
		return err
	}
	pulling, stopPulling := context.WithCancel(ctx)
	defer stopPulling()
	// The projection outlives pulling: what is in hand may wait for it.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()

	relay := stream.NewRelay(w.js, w.sender.Subjects(), w.cfg.EventKinds...)
	var behind, lanes sync.WaitGroup
	behind.Go(func() { w.tellPauses(background) })
	behind.Go(func() { w.watchStreams(background) })
	for _, p := range w.processors {
		behind.Go(func() { p.watchVelocity(background) })
	}
	behind.Go(func() { w.stop(w.store.Watch(background, w.journal)) })
	behind.Go(func() { w.stop(w.projector.Run(background)) })
	behind.Go(func() { relay.Run(background, w.journal, w.projector.Leads, w.log) })
	behind.Go(func() { w.sweep.Run(background, w.projector.Leads) })
	for _, l := range w.lanes {
		lanes.Go(func() { l.run(pulling) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-w.fatal:
	}
	stopPulling()
	lanes.Wait()
	stopBackground()
	behind.Wait()
	return err
}

// tellPauses logs when claims stop being answered, and when they are answered again, from the projection or from the journal.
func (w *Worker) tellPauses(ctx context.Context) {
	told := idempotency.Starting
	for {
		changed := w.store.Gate().Changed()
		now, said := w.store.Gate().Why()
		switch {
		case now == told:
		case now == idempotency.Ready:
			w.log.Info("ready: commands are worked on", "after", string(told))
		case w.store.Gate().Closed() == idempotency.Ready:
			w.log.Warn("the projection cannot be relied on: work goes on from the journal, and refunds that something bounds wait",
				"reason", string(now))
		default:
			w.log.Warn("paused: no command is worked on", "reason", string(now), "error", said)
		}
		told = now
		select {
		case <-changed:
		case <-time.After(time.Second): // some reasons come with the passing of time
		case <-ctx.Done():
			return
		}
	}
}

// streamsEvery is the time between two looks at the streams' settings.
const streamsEvery = 2 * time.Second

// watchStreams closes the gate while a setting of a stream is not what it must be: somebody may change one at any time.
func (w *Worker) watchStreams(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		var wrong *stream.TopologyError
		err := w.cfg.topology().StillRight(ctx, w.js)
		switch {
		case errors.As(err, &wrong):
			w.store.Gate().TrustStreams(false)
			if told != err.Error() {
				told = err.Error()
				w.log.Error("streams were changed: no command is worked on until they are mended", "error", told)
			}
		case err == nil:
			w.store.Gate().TrustStreams(true)
			told = ""
		}
		_ = pause(ctx, streamsEvery)
	}
}

// stop ends the worker with the first fatal error. What is in hand makes no further call.
func (w *Worker) stop(err error) {
	if err == nil {
		return
	}
	w.store.Gate().Stop()
	select {
	case w.fatal <- err:
	default:
	}
}

// Readiness lists why the worker does not work now; an empty list means that it does.
func (w *Worker) Readiness() []string {
	var reasons []string
	switch r := w.store.Gate().Reason(); {
	case r != idempotency.Ready:
		reasons = append(reasons, string(r))
	case slices.ContainsFunc(w.processors, func(p *processor) bool { return p.relied.Load() == nil }):
		reasons = append(reasons, string(idempotency.Starting))
	}
	if !w.sender.IsReachable() {
		reasons = append(reasons, reasonNATS)
	}
	for _, l := range w.lanes {
		if reason := l.trouble(); reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

// Providers tells what holds each provider back: "closed" when nothing does, "open" or "half_open" while calls bring no
// answer, "resting" while the provider takes no calls of ours, "stopped" after too many refunds. None of them makes the
// worker unready: the others go on.
func (w *Worker) Providers() map[schemas.ProviderName]string { return w.states((*brakes.Brakes).State) }

// breakers are the states of the breakers by themselves.
func (w *Worker) breakers() map[schemas.ProviderName]string {
	return w.states((*brakes.Brakes).BreakerState)
}

func (w *Worker) states(of func(*brakes.Brakes) string) map[schemas.ProviderName]string {
	states := make(map[schemas.ProviderName]string, len(w.processors))
	for _, p := range w.processors {
		states[p.in.Name] = of(p.brakes)
	}
	return states
}
