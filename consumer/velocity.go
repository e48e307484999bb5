package consumer

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	// velocityEvery is the time between two looks at whether providers are stopped.
	velocityEvery = 500 * time.Millisecond
	// velocityFirst is that time until there was one that can be relied on. Before the first of all nothing is pulled.
	velocityFirst = 20 * time.Millisecond
	// stoppedAgain is how long a stop waits, at most, before it is journalled again: events age out.
	stoppedAgain = 7 * 24 * time.Hour
)

// lastVelocity is what was last seen of the provider's velocity; the zero value before anything was.
func (p *processor) lastVelocity() idempotency.VelocityLook {
	if seen := p.velocity.Load(); seen != nil {
		return *seen
	}
	return idempotency.VelocityLook{}
}

// pace is what the next intent says of the provider's bounds; nil where it has none. What waited when the provider was
// last started again has been looked at by a person: it is not counted any more. Nor is a refund that went ahead before.
func (p *payments) pace(look idempotency.PaymentLook) *ledger.Pace {
	if len(p.in.Velocity) == 0 {
		return nil
	}
	var pace ledger.Pace
	for _, v := range p.in.Velocity {
		if v.Currency == "" || v.Currency == p.command.Amount.Currency {
			pace.Bounds = append(pace.Bounds, ledger.Bound{Window: v.Window, Count: v.Count, Micros: v.Micros, DryRun: v.DryRun})
		}
	}
	counted := look.Holds(p.requestID)
	if counted || len(pace.Bounds) == 0 || p.arrived.Before(p.lastVelocity().Started) {
		return &ledger.Pace{Exempt: true}
	}
	return &pace
}

// watchVelocity keeps the instance's stop in view, until ctx ends.
func (p *processor) watchVelocity(ctx context.Context) {
	for ctx.Err() == nil {
		p.readVelocity(ctx)
		wait := velocityEvery
		if p.relied.Load() == nil {
			wait = velocityFirst
		}
		_ = pause(ctx, wait)
	}
}

// readVelocity takes in whether the provider is stopped. A stop that the journal's order has decided is journalled: whoever
// does so first, its number is the same.
func (p *processor) readVelocity(ctx context.Context) {
	reason := p.store.Gate().Reason()
	look, err := p.store.LookVelocity(ctx, p.in.Name)
	before := p.lastVelocity()
	if err != nil || look.At < before.At { // an older one says nothing
		return
	}
	if reason == idempotency.Ready {
		p.relied.Store(&look)
	}
	p.velocity.Store(&look)
	p.brakes.SetStopped(look.Stopped)
	switch {
	case look.Stopped && !before.Stopped:
		p.obs.log.ErrorContext(ctx, "the provider is stopped: its refunds came too fast. Nothing goes ahead until an operator "+
			"starts it again", "provider", string(p.in.Name), "currency", string(look.Currency), "window", look.Window.String(),
			"refunds", look.Passed().Count, "micros", look.Passed().Micros)
	case before.Stopped && !look.Stopped:
		p.obs.log.InfoContext(ctx, "the provider was started again", "provider", string(p.in.Name))
	}
	if look.Dry > before.Dry && before.At > 0 { // else it may be long ago
		p.obs.log.WarnContext(ctx, "refunds come faster than a bound that only reports", "provider", string(p.in.Name),
			"bound", look.DryPassed, "refunds", look.Dry-before.Dry)
	}
	if look.Stopped && time.Since(look.Said) > min(stoppedAgain, p.cfg.Retain/3) {
		p.sayStopped(ctx, look)
	}
}

// sayStopped journals the stop. What fails is tried again with the next look.
func (p *processor) sayStopped(ctx context.Context, look idempotency.VelocityLook) {
	if p.store.Gate().Closed() != idempotency.Ready || !p.sender.Connected(p.store.Gate()) { // the journal is not to be relied on now
		return
	}
	n := look.Stop
	if look.Said.IsZero() {
		n++
	}
	d := &delivery{processor: p, ctx: ctx}
	err := log{d}.Note(noted(schemas.Event{Kind: schemas.KindStopped, Provider: p.in.Name, OccurredAt: time.Now(),
		Reason: schemas.ReasonVelocityStop, N: n, CurrencyCode: look.Currency, Window: look.Window.String()}))
	if err != nil {
		p.obs.log.WarnContext(ctx, "stop not journalled, tried again", "provider", string(p.in.Name), "error", err.Error())
	}
}

// measureVelocity measures what the journal says of each provider's velocity: every worker tells the same.
func measureVelocity(t Telemetry, processors []*processor) {
	meter := t.Meters.Meter(telemetryScope)
	stopped, err1 := meter.Int64ObservableGauge(metricStopped,
		metric.WithDescription("1 while a provider is stopped because its refunds came too fast."))
	passed, err2 := meter.Int64ObservableCounter(metricPassed, metric.WithUnit("{time}"),
		metric.WithDescription("How often a bound on a provider's velocity was passed: stops, and intents in a dry run."))
	_, err3 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, p := range processors {
			look, provider := p.lastVelocity(), attribute.String(attrProvider, string(p.in.Name))
			value := int64(0)
			if look.Stopped {
				value = 1
			}
			o.ObserveInt64(stopped, value, metric.WithAttributes(provider))
			o.ObserveInt64(passed, int64(look.Stop), metric.WithAttributes(provider, attribute.String(attrMode, "stop")))
			o.ObserveInt64(passed, int64(look.Dry), metric.WithAttributes(provider, attribute.String(attrMode, "dry_run")))
		}
		return nil
	}, stopped, passed)
	if err := errors.Join(err1, err2, err3); err != nil {
		otel.Handle(err) // the instruments still work, measuring nothing
	}
}
