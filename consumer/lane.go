package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/brakes"
	"refundworker/idempotency"
)

const (
	fetchWait = time.Second
	// stallAfter is how long nothing may come, while messages are pending, before a consumer is made anew.
	stallAfter = 30 * time.Second
	lanePause  = 500 * time.Millisecond
)

type laneConfig struct {
	stream, durable, subject string
	slots                    int
	handle                   func(context.Context, jetstream.Msg, *brakes.Permit)
	// asks tells that deliveries may lead to calls of the provider. Only they have permits.
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
	if l.asks { // there is no room before it is known
		select {
		case <-l.processor.brakes.Known():
		case <-ctx.Done():
		}
	}
	heard := time.Now()
	for ctx.Err() == nil {
		if !l.ready(ctx) {
			heard = time.Now()
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

// room is how many deliveries may be begun now, and whether they are probes.
func (l *lane) room() (n int, probes bool) {
	if !l.asks {
		return brakes.Unbounded, false
	}
	return l.processor.brakes.Room()
}

// ready waits while nothing can be done for a delivery or the provider is left alone; it reports false when the caller should
// look again.
func (l *lane) ready(ctx context.Context) bool {
	gate := l.worker.store.Gate()
	changed, reason := gate.Changed(), gate.Closed()
	if l.asks && l.processor.judgesAll() { // what is pulled would only wait for its payment's verdict
		reason = gate.Reason()
	}
	if room, _ := l.room(); reason == idempotency.Ready && room > 0 {
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
	want := l.worker.cfg.consumerConfig(l.processor.in, l.durable, l.subject)
	consumer, err := l.worker.durable(ctx, l.stream, want)
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
	room, _ := l.room()
	if consumer == nil || len(l.free) == 0 || room == 0 {
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
	slots, few := l.takeSlots(ctx)
	if slots == 0 {
		return 0, nil
	}
	used := 0
	var begun sync.WaitGroup
	if few { // what these say decides how many come next
		defer begun.Wait()
	}
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
		begun.Add(1)
		var permit *brakes.Permit
		if l.asks {
			permit = l.processor.brakes.NewPermit()
		}
		l.handlers.Go(func() {
			defer begun.Done()
			defer func() { l.free <- struct{}{} }()
			l.handle(context.WithoutCancel(ctx), msg, permit)
		})
	}
	return used, batch.Error()
}

// takeSlots waits for one free slot and takes all that are free then, or few where probes are to go first.
func (l *lane) takeSlots(ctx context.Context) (n int, few bool) {
	select {
	case <-l.free:
	case <-ctx.Done():
		return 0, false
	}
	room, few := l.room() // asked only now: it may have taken long to get a slot
	if room == 0 {
		l.free <- struct{}{}
		return 0, false
	}
	for n = 1; n < room; n++ {
		select {
		case <-l.free:
		default:
			return n, few
		}
	}
	return n, few
}

// handle keeps a panic of our own code from ending the process: the delivery is left to its ack wait, and
// what may have been called is in the journal.
func (l *lane) handle(ctx context.Context, msg jetstream.Msg, permit *brakes.Permit) {
	defer func() {
		if r := recover(); r != nil {
			l.worker.log.ErrorContext(ctx, "panic while handling a delivery", "consumer", l.durable,
				"panic", fmt.Sprintf("%T", r))
		}
	}()
	l.laneConfig.handle(ctx, msg, permit)
}
