package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"refundworker/consumer/brakes"
	"refundworker/consumer/refund"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// Names of spans, metrics and attributes of this package.
const (
	telemetryScope = "refundworker/consumer"

	spanProcess = "process refunds.commands"
	spanSettle  = "settle refunds.notices"
	spanClaim   = "claim"
	spanSend    = "send refunds.events"

	metricCommands       = "refund.commands"
	metricNotices        = "refund.notices"
	metricEvents         = "refund.events"
	metricProcess        = "refund.process.duration"
	metricSettle         = "refund.settle.duration"
	metricClaims         = "refund.claims"
	metricInflight       = "refund.inflight"
	metricDead           = "refund.dead"
	metricLag            = "refund.projection.lag"
	metricRebuilds       = "refund.projection.rebuilds"
	metricForeign        = "refund.journal.foreign"
	metricPosition       = "refund.projection.position"
	metricReady          = "refund.ready"
	metricRecreated      = "refund.consumer.recreated"
	metricBreaker        = "refund.breaker.state"
	metricStopped        = "refund.velocity.stopped"
	metricPassed         = "refund.velocity.passed"
	metricGuardWait      = "refund.guard.wait"
	attrProvider         = "provider"
	attrDisposition      = "disposition"
	attrKind             = "kind"
	attrResult           = "result"
	attrReason           = "reason"
	attrMode             = "mode"
	attrState            = "state"
	attrRequestID        = "refund.request_id"
	attrPaymentReference = "refund.payment_reference"
	attrAttempt          = "refund.attempt"
	attrSystem           = "messaging.system"
	attrDestination      = "messaging.destination.name"

	noKind = "none"

	reasonReady    = "ready"
	reasonNATS     = "nats_unreachable"
	reasonConsumer = "consumer_missing"
)

var (
	callBuckets   = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	waitBuckets   = []float64{.001, .002, .003, .005, .0075, .01, .015, .025, .05, .1, .25, .5, 1, 5, 30}
	settleBuckets = []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400, 604800}
)

// Telemetry is where spans, metrics and logs go. Nil fields mean nowhere.
type Telemetry struct {
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider
	Log     *slog.Logger
}

func (t Telemetry) withDefaults() Telemetry {
	if t.Tracers == nil {
		t.Tracers = tracenoop.NewTracerProvider()
	}
	if t.Meters == nil {
		t.Meters = metricnoop.NewMeterProvider()
	}
	if t.Log == nil {
		t.Log = slog.New(slog.DiscardHandler)
	}
	return t
}

func (t Telemetry) providers() providers.Telemetry {
	return providers.Telemetry{Tracers: t.Tracers, Meters: t.Meters}
}

// observer turns what happens into spans, metrics and logs. It decides nothing.
type observer struct {
	log    *slog.Logger
	tracer trace.Tracer

	commands, notices, events, claims, dead, recreated metric.Int64Counter
	inflight                                           metric.Int64UpDownCounter
	processing, settling, guardWait                    metric.Float64Histogram
}

func newObserver(t Telemetry, store *idempotency.Store, readiness func() []string) *observer {
	meter := t.Meters.Meter(telemetryScope)
	o := &observer{log: t.Log, tracer: t.Tracers.Tracer(telemetryScope)}
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	histogram := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	o.commands = counter(metricCommands, "{delivery}", "Deliveries of commands, by what became of them.")
	o.notices = counter(metricNotices, "{delivery}", "Deliveries of notices, by what became of them.")
	o.events = counter(metricEvents, "{event}", "Events journalled.")
	o.claims = counter(metricClaims, "{claim}", "Claims, by answer.")
	o.dead = counter(metricDead, "{message}", "Dead letters stored.")
	o.recreated = counter(metricRecreated, "{consumer}", "Durable consumers made anew because they stalled or were gone.")
	o.processing = histogram(metricProcess, "From receive to the end of a delivery.", callBuckets)
	o.guardWait = histogram(metricGuardWait, "From an intent to the verdict of its payment's guard.", waitBuckets)
	o.settling = histogram(metricSettle, "From requestedAt to the outcome.", settleBuckets)
	var err error
	o.inflight, err = meter.Int64UpDownCounter(metricInflight, metric.WithUnit("{delivery}"),
		metric.WithDescription("Deliveries in hand."))
	errs = append(errs, err, watchProjection(meter, store, readiness))
	if err := errors.Join(errs...); err != nil {
		otel.Handle(err) // the instruments still work, measuring nothing
	}
	return o
}

// readinessReasons are all that a worker may wait for, besides "ready".
func readinessReasons() []string {
	reasons := []string{reasonNATS, reasonConsumer}
	for _, r := range idempotency.Reasons {
		reasons = append(reasons, string(r))
	}
	return reasons
}

func watchProjection(meter metric.Meter, store *idempotency.Store, readiness func() []string) error {
	lag, err1 := meter.Int64ObservableGauge(metricLag, metric.WithUnit("{event}"),
		metric.WithDescription("Events known and not yet projected."))
	rebuilds, err2 := meter.Int64ObservableCounter(metricRebuilds, metric.WithUnit("{rebuild}"),
		metric.WithDescription("Rebuilds of the projection from the journal by this process."))
	ready, err3 := meter.Int64ObservableGauge(metricReady,
		metric.WithDescription("1 for each reason that holds now; \"ready\" when there is none against."))
	position, err5 := meter.Int64ObservableGauge(metricPosition,
		metric.WithDescription("The journal's sequence up to which everything was projected, as this process last saw it."))
	foreign, err6 := meter.Int64ObservableCounter(metricForeign, metric.WithUnit("{entry}"),
		metric.WithDescription("Entries of the journal that no worker wrote, as this process projected them."))
	_, err4 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		at, behind := store.Gate().Progress()
		o.ObserveInt64(position, int64(min(at, 1<<62)))
		o.ObserveInt64(lag, int64(min(behind, 1<<62)))
		stats := store.Stats()
		o.ObserveInt64(rebuilds, int64(min(stats.Rebuilds, 1<<62)))
		o.ObserveInt64(foreign, int64(min(stats.Foreign, 1<<62)))
		now := readiness()
		if len(now) == 0 {
			now = []string{reasonReady}
		}
		for _, reason := range append(readinessReasons(), reasonReady) {
			value := int64(0)
			if slices.Contains(now, reason) {
				value = 1
			}
			o.ObserveInt64(ready, value, metric.WithAttributes(attribute.String(attrReason, reason)))
		}
		return nil
	}, lag, rebuilds, foreign, ready, position)
	return errors.Join(err1, err2, err3, err4, err5, err6)
}

// watchBreakers measures the state of each provider's breaker.
func watchBreakers(t Telemetry, states func() map[schemas.ProviderName]string) {
	_, err := t.Meters.Meter(telemetryScope).Int64ObservableGauge(metricBreaker,
		metric.WithDescription("1 for the state that each provider's circuit breaker is in."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for name, now := range states() {
				for _, state := range []string{brakes.StateClosed, brakes.StateHalfOpen, brakes.StateOpen} {
					value := int64(0)
					if state == now {
						value = 1
					}
					o.Observe(value, metric.WithAttributes(attribute.String(attrProvider, string(name)),
						attribute.String(attrState, state)))
				}
			}
			return nil
		}))
	if err != nil {
		otel.Handle(err) // the instrument still works, measuring nothing
	}
}

// begin opens the delivery's span, as a child of and linked to the publisher's, and counts it in hand. The
// function that it returns closes both.
func (o *observer) begin(d *delivery) func(refund.Ending) {
	start, provider := time.Now(), attribute.String(attrProvider, string(d.in.Name))
	span := o.receive(spanProcess, d, provider)
	ctx := d.ctx
	o.inflight.Add(ctx, 1, metric.WithAttributes(provider))
	return func(e refund.Ending) {
		decided, became, kind := e.Decision, e.Became, noKind
		if decided.Kind != "" {
			kind = string(decided.Kind)
		}
		span.SetAttributes(attribute.String(attrRequestID, string(d.requestID)),
			attribute.String(attrPaymentReference, d.command.Payment.Reference),
			attribute.Int(attrAttempt, d.attempt), attribute.String(attrDisposition, became.String()))
		span.End()
		o.inflight.Add(ctx, -1, metric.WithAttributes(provider))
		o.commands.Add(ctx, 1, metric.WithAttributes(provider, attribute.String(attrDisposition, became.String())))
		o.processing.Record(ctx, time.Since(start).Seconds(),
			metric.WithAttributes(provider, attribute.String(attrKind, kind)))
		o.warn(ctx, d, e)
		level := slog.LevelInfo
		if d.requestID == "" && became == refund.Ack { // one of many duplicates of a command in hand
			level = slog.LevelDebug
		}
		o.log.Log(ctx, level, "delivery ended", "requestId", string(d.requestID), "provider", string(d.in.Name),
			"answer", string(d.answer), "attempt", d.attempt, "event", kind, "reason", string(decided.Reason),
			"disposition", became.String(), "delay", decided.Delay.String(), "detail", decided.Detail)
	}
}

// receive opens a delivery's span and keeps the trace that its events carry on.
func (o *observer) receive(name string, d *delivery, provider attribute.KeyValue) trace.Span {
	ctx := stream.Extract(d.ctx, d.msg.Headers())
	ctx, span := o.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.LinkFromContext(ctx)),
		trace.WithAttributes(provider, attribute.String(attrSystem, "nats"),
			attribute.String(attrDestination, d.msg.Subject())))
	d.trace = nats.Header{}
	stream.Inject(ctx, d.trace)
	copyTrace(d.trace, onlyWhereAbsent(d.trace, d.msg.Headers()))
	d.ctx = ctx
	return span
}

// beginNotice opens a notice's span; the function that it returns closes it.
func (o *observer) beginNotice(d *delivery) func(schemas.Notice, refund.Ending) {
	provider := attribute.String(attrProvider, string(d.in.Name))
	span := o.receive(spanSettle, d, provider)
	ctx := d.ctx
	return func(n schemas.Notice, e refund.Ending) {
		decided, became := e.Decision, e.Became
		span.SetAttributes(attribute.String(attrRequestID, string(n.RefundRequestID)),
			attribute.String(attrDisposition, became.String()))
		span.End()
		o.notices.Add(ctx, 1, metric.WithAttributes(provider, attribute.String(attrDisposition, became.String())))
		o.warn(ctx, d, e)
		o.log.InfoContext(ctx, "notice ended", "requestId", string(n.RefundRequestID), "provider", string(d.in.Name),
			"type", string(n.Type), "event", string(decided.Kind), "reason", string(decided.Reason),
			"disposition", became.String(), "delay", decided.Delay.String(), "detail", decided.Detail)
	}
}

// warn tells what went wrong in a delivery.
func (o *observer) warn(ctx context.Context, d *delivery, e refund.Ending) {
	if e.Trouble != "" {
		o.log.WarnContext(ctx, "delivery given back", "requestId", string(d.requestID), "error", e.Trouble)
	}
	if e.Unreadable {
		o.log.ErrorContext(ctx, "a refund's events cannot be read: nothing happens to it until somebody has looked",
			"provider", string(d.in.Name), "requestId", string(d.requestID), "error", e.Decision.Detail)
	}
	if e.Contradicted {
		o.log.ErrorContext(ctx, "contradicting outcome, nothing overwritten", "provider", string(d.in.Name),
			"requestId", string(d.requestID), "detail", e.Decision.Detail)
	}
}

// resume links the delivery to the trace of the refund's first event, so that one refund is one story.
func (o *observer) resume(ctx context.Context, packed []byte) {
	if len(packed) != 25 {
		return
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(packed[:16]),
		SpanID: trace.SpanID(packed[16:24]), TraceFlags: trace.TraceFlags(packed[24]), Remote: true})
	if sc.IsValid() {
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: sc})
	}
}

// span opens an inner span; the function that it returns closes it.
func (o *observer) span(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, func(error)) {
	ctx, span := o.tracer.Start(ctx, name, opts...)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func (o *observer) sending(ctx context.Context, e schemas.Event) (context.Context, func(error)) {
	return o.span(ctx, spanSend, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String(attrSystem, "nats"), attribute.String(attrKind, string(e.Kind))))
}

func (o *observer) claimed(ctx context.Context, a idempotency.Answer, err error) {
	result := string(a)
	if err != nil {
		result = "error"
	}
	o.claims.Add(ctx, 1, metric.WithAttributes(attribute.String(attrResult, result)))
}

func (o *observer) published(ctx context.Context, e schemas.Event) {
	attrs := metric.WithAttributes(attribute.String(attrProvider, string(e.Provider)),
		attribute.String(attrKind, string(e.Kind)))
	o.events.Add(ctx, 1, attrs)
	if e.Kind.Outcome() && e.RequestedAt != nil {
		o.settling.Record(ctx, e.OccurredAt.Sub(*e.RequestedAt).Seconds(), attrs)
	}
}

func (o *observer) waited(ctx context.Context, in schemas.ProviderName, began time.Time) {
	o.guardWait.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(attribute.String(attrProvider, string(in))))
}

func (o *observer) buried(ctx context.Context, in schemas.ProviderName, reason schemas.Reason) {
	o.dead.Add(ctx, 1, metric.WithAttributes(attribute.String(attrProvider, string(in)),
		attribute.String(attrReason, string(reason))))
}

var traceHeaders = []string{schemas.HeaderTraceParent, schemas.HeaderTraceState, schemas.HeaderBaggage}

func copyTrace(to, from nats.Header) {
	for _, name := range traceHeaders {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}

// onlyWhereAbsent keeps a publisher's trace context when nothing here records spans.
func onlyWhereAbsent(have, from nats.Header) nats.Header {
	if have.Get(schemas.HeaderTraceParent) != "" {
		return nil
	}
	return from
}
