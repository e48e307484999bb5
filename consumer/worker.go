package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// Worker serves the configured provider instances from one process.
type Worker struct {
	cfg       Config
	js        jetstream.JetStream
	store     *idempotency.Store
	journal   *journal
	topology  *topology
	obs       *observer
	log       *slog.Logger
	fatal     chan error
	lanes     []*lane
	projector *idempotency.Projector
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
		journal:  &journal{js: js, subjects: subjects},
		topology: &topology{js: js, cfg: cfg, subjects: subjects},
	}
	w.obs = newObserver(t, store, w.Readiness)
	w.projector = store.NewProjector(w.journal, t.Log)
	for _, in := range cfg.Instances {
		in.Provider = providers.Observe(in.Name, in.Provider, t.providers())
		p := &processor{cfg: cfg, in: in, caps: in.Provider.Capabilities(), store: store, journal: w.journal, obs: w.obs,
			inHand: newInHand(), limit: limiter(in.PerSecond), fatal: w.stop}
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
	return w, nil
}

// limiter lets perSecond calls through, and a tenth of a second's worth at once, or one refund's two; 0 lets all through.
func limiter(perSecond int) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(2, perSecond/10))
}

// Setup creates missing streams and verifies the others. It returns a *TopologyError that names every
// difference that matters.
func (w *Worker) Setup(ctx context.Context) error { return w.topology.ensure(ctx) }

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

	var behind, lanes sync.WaitGroup
	behind.Go(func() { w.tellPauses(background) })
	behind.Go(func() { w.watchStreams(background) })
	behind.Go(func() { w.stop(w.store.Watch(background, w.journal)) })
	behind.Go(func() { w.stop(w.projector.Run(background)) })
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

// tellPauses logs when claims stop being answered, and when they are answered again.
func (w *Worker) tellPauses(ctx context.Context) {
	told := idempotency.Starting
	for {
		changed := w.store.Gate().Changed()
		switch now := w.store.Gate().Reason(); {
		case now == told:
		case now == idempotency.Ready:
			w.log.Info("ready: commands are worked on", "after", string(told))
			told = now
		default:
			w.log.Warn("paused: no command is worked on", "reason", string(now))
			told = now
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // some reasons come with the passing of time
		case <-ctx.Done():
			return
		}
	}
}

// watchStreams closes the gate while a setting of a stream is not what it must be: somebody may change one at any time.
func (w *Worker) watchStreams(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		var wrong *TopologyError
		err := w.topology.stillRight(ctx)
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
	if r := w.store.Gate().Reason(); r != idempotency.Ready {
		reasons = append(reasons, string(r))
	}
	if !w.journal.reachable() {
		reasons = append(reasons, reasonNATS)
	}
	for _, l := range w.lanes {
		if reason := l.trouble(); reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

const (
	fetchWait = time.Second
	// stallAfter is how long nothing may come, while messages are pending, before a consumer is made anew.
	stallAfter = 30 * time.Second
	lanePause  = 500 * time.Millisecond
	// streamsEvery is the time between two looks at the streams' settings.
	streamsEvery = 2 * time.Second
)

type laneConfig struct {
	stream, durable, subject string
	slots                    int
	handle                   func(context.Context, jetstream.Msg)
	// asks tells that deliveries may lead to calls of the provider.
	asks bool
}

// lane pulls from one durable consumer, never more than it has free slots.
type lane struct {
	laneConfig
	worker    *Worker
	processor *processor
	free      chan struct{}
	handlers  sync.WaitGroup

	mu     sync.Mutex
	broken string
}

func newLane(w *Worker, p *processor, cfg laneConfig) *lane {
	l := &lane{laneConfig: cfg, worker: w, processor: p, free: make(chan struct{}, cfg.slots)}
	for range cfg.slots {
		l.free <- struct{}{}
	}
	return l
}

func (l *lane) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

func (l *lane) setTrouble(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = reason
}

// run pulls until ctx ends, then waits for what is in hand.
func (l *lane) run(ctx context.Context) {
	defer l.handlers.Wait()
	var consumer jetstream.Consumer
	heard := time.Now()
	for ctx.Err() == nil {
		if !l.ready(ctx) {
			continue
		}
		if consumer == nil {
			if consumer = l.connect(ctx); consumer == nil {
				continue
			}
			heard = time.Now()
		}
		n, err := l.pull(ctx, consumer)
		switch {
		case n > 0:
			heard = time.Now()
		case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound),
			errors.Is(err, nats.ErrNoResponders): // which is what a pull on a consumer that is gone meets
			consumer = l.renew(ctx, "gone")
		case err != nil:
			_ = pause(ctx, lanePause)
		}
		if time.Since(heard) > stallAfter {
			if l.stalled(ctx, consumer) {
				consumer = l.renew(ctx, "stalled")
			}
			heard = time.Now()
		}
	}
}

// ready waits while claims are not answered or the provider is left alone; it reports false when the caller should look again.
func (l *lane) ready(ctx context.Context) bool {
	changed := l.worker.store.Gate().Changed()
	resting := l.asks && l.processor.account.resting(time.Now()) > 0
	if l.worker.store.Gate().Reason() == idempotency.Ready && !resting {
		return true
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (l *lane) connect(ctx context.Context) jetstream.Consumer {
	want := l.worker.topology.consumerConfig(l.processor.in, l.durable, l.subject)
	consumer, err := l.worker.topology.consumer(ctx, l.stream, want)
	if err != nil {
		l.setTrouble(reasonConsumer)
		l.worker.log.Warn("durable consumer not available", "consumer", l.durable, "error", err.Error())
		_ = pause(ctx, lanePause)
		return nil
	}
	l.setTrouble("")
	return consumer
}

// renew makes the durable consumer anew. Its absence costs time only: what it had delivered comes again.
func (l *lane) renew(ctx context.Context, why string) jetstream.Consumer {
	l.worker.log.Warn("durable consumer made anew", "consumer", l.durable, "reason", why)
	l.worker.obs.recreated.Add(ctx, 1)
	return l.connect(ctx)
}

// stalled tells whether messages wait although none came for long while slots were free.
func (l *lane) stalled(ctx context.Context, consumer jetstream.Consumer) bool {
	if consumer == nil || len(l.free) == 0 {
		return false
	}
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	info, err := consumer.Info(try)
	if err != nil {
		return errors.Is(err, jetstream.ErrConsumerNotFound)
	}
	return info.NumPending > 0 && info.NumAckPending < info.Config.MaxAckPending
}

// pull takes the free slots, fetches no more than that, and hands each message to its own goroutine. Slots that
// found no message are free again.
func (l *lane) pull(ctx context.Context, consumer jetstream.Consumer) (int, error) {
	slots := l.takeSlots(ctx)
	if slots == 0 {
		return 0, nil
	}
	used := 0
	defer func() {
		for range slots - used {
			l.free <- struct{}{}
		}
	}()
	// Not bound to ctx: a fetch that is broken off may leave deliveries behind until their ack wait.
	batch, err := consumer.Fetch(slots, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		if ctx.Err() != nil { // draining: somebody else may have it
			_ = msg.NakWithDelay(fetchWait) // not sooner, or this very fetch gets it again
			continue
		}
		used++
		l.handlers.Go(func() {
			defer func() { l.free <- struct{}{} }()
			l.handle(context.WithoutCancel(ctx), msg)
		})
	}
	return used, batch.Error()
}

// takeSlots waits for one free slot and takes all that are free then, or just the one where a probe is to go first.
func (l *lane) takeSlots(ctx context.Context) int {
	select {
	case <-l.free:
	case <-ctx.Done():
		return 0
	}
	n := 1
	for !l.asks || !l.processor.account.doubted() {
		select {
		case <-l.free:
			n++
		default:
			return n
		}
	}
	return n
}

// handle keeps a panic of our own code from ending the process: the delivery is left to its ack wait, and
// what may have been called is in the journal.
func (l *lane) handle(ctx context.Context, msg jetstream.Msg) {
	defer func() {
		if r := recover(); r != nil {
			l.worker.log.ErrorContext(ctx, "panic while handling a delivery", "consumer", l.durable,
				"panic", fmt.Sprintf("%T", r))
		}
	}()
	l.laneConfig.handle(ctx, msg)
}
