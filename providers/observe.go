package providers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"refundworker/schemas"
)

// Names of the telemetry of this package.
const (
	scope          = "refundworker/providers"
	metricCalls    = "refund.provider.calls"
	metricDuration = "refund.provider.duration"
	opPrepare      = "prepare"
	opRefund       = "refund"
	opLookup       = "lookup"
)

var durationBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

// Telemetry is where spans and metrics go; nil fields mean nowhere.
type Telemetry struct {
	Tracers trace.TracerProvider
	Meters  metric.MeterProvider
}

// Observe returns p with a client span and metrics around each call. It also holds p to the contract: a
// panic becomes an Error of kind Unknown, and so does a Refund that returns neither a result nor an error.
func Observe(name schemas.ProviderName, p Provider, t Telemetry) Provider {
	if t.Tracers == nil {
		t.Tracers = tracenoop.NewTracerProvider()
	}
	if t.Meters == nil {
		t.Meters = metricnoop.NewMeterProvider()
	}
	meter := t.Meters.Meter(scope)
	calls, err := meter.Int64Counter(metricCalls, metric.WithUnit("{call}"),
		metric.WithDescription("Calls of providers by operation and result."))
	duration, err2 := meter.Float64Histogram(metricDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of calls of providers."), metric.WithExplicitBucketBoundaries(durationBuckets...))
	if err := errors.Join(err, err2); err != nil {
		otel.Handle(err) // The instruments still work, measuring nothing.
	}
	return &observed{name: name, next: p, tracer: t.Tracers.Tracer(scope), calls: calls, duration: duration}
}

type observed struct {
	name     schemas.ProviderName
	next     Provider
	tracer   trace.Tracer
	calls    metric.Int64Counter
	duration metric.Float64Histogram
}

func (o *observed) Capabilities() Capabilities { return o.next.Capabilities() }

func (o *observed) Prepare(ctx context.Context, r Request) (b Baseline, res Result, err error) {
	ctx, end := o.begin(ctx, opPrepare, r)
	defer func() { end(resultLabel(res), err) }()
	defer recovered(opPrepare, &err)
	return o.next.Prepare(ctx, r)
}

func (o *observed) Refund(ctx context.Context, r Request) (res Result, err error) {
	ctx, end := o.begin(ctx, opRefund, r)
	defer func() { end(resultLabel(res), err) }()
	defer recovered(opRefund, &err)
	res, err = o.next.Refund(ctx, r)
	if err == nil && res.Status == NoResult {
		err = &Error{Kind: Unknown, Op: opRefund, Err: errors.New("the adapter gave no answer")}
	}
	return res, err
}

func (o *observed) Lookup(ctx context.Context, r Request) (f Finding, err error) {
	ctx, end := o.begin(ctx, opLookup, r)
	defer func() { end(findingLabel(f), err) }()
	defer recovered(opLookup, &err)
	return o.next.Lookup(ctx, r)
}

// recovered turns a panic into an error. The panic's value may quote a body or a key: only its type is told.
func recovered(op string, err *error) {
	if v := recover(); v != nil {
		*err = &Error{Kind: Unknown, Op: op, Err: fmt.Errorf("the adapter panicked with a %T", v)}
	}
}

// begin starts the span of one call and returns what ends it with the call's result.
func (o *observed) begin(ctx context.Context, op string, r Request) (context.Context, func(string, error)) {
	start := time.Now()
	ctx, span := o.tracer.Start(ctx, op+" "+string(o.name), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("refund.provider", string(o.name)),
			attribute.String("refund.operation", op),
			attribute.String("refund.request_id", string(r.RequestID)),
			attribute.Int("refund.attempt", r.Attempt)))
	return ctx, func(result string, err error) {
		if err != nil {
			result = KindOf(err).String()
			span.SetStatus(codes.Error, result)
			span.SetAttributes(attribute.String("error.type", result))
		}
		span.SetAttributes(attribute.String("refund.result", result))
		span.End()
		o.measure(ctx, op, result, time.Since(start))
	}
}

func (o *observed) measure(ctx context.Context, op, result string, d time.Duration) {
	labels := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("provider", string(o.name)),
		attribute.String("operation", op),
		attribute.String("result", result)))
	o.calls.Add(ctx, 1, labels)
	o.duration.Record(ctx, d.Seconds(), labels)
}

func resultLabel(r Result) string {
	switch r.Status {
	case NoResult:
		return "ready"
	case Succeeded:
		return "succeeded"
	case Cancelled:
		return "cancelled"
	case Acknowledged:
		return "acknowledged"
	case Declined:
		return "declined"
	case NotNow:
		return "not_now"
	case Partial:
		return "partial"
	case Conflicting:
		return "conflicting"
	}
	return "other"
}

func findingLabel(f Finding) string {
	switch f.Kind {
	case Found:
		return "found"
	case NotFound:
		return "not_found"
	case NoFinding, TooEarly:
		return "too_early"
	case Contradiction:
		return "contradiction"
	}
	return "other"
}
