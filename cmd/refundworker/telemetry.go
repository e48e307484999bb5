package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

const serviceName = "refundworker"

// telemetryFlush bounds how long an unreachable backend may hold up the end of the program.
const telemetryFlush = 5 * time.Second

// telemetry is where spans, metrics and logs go. Metrics are always there for /metrics; anything is sent out only
// where the standard OTEL_* variables ask for it.
type telemetry struct {
	log      *slog.Logger
	tracers  trace.TracerProvider
	meters   metric.MeterProvider
	registry *prometheus.Registry
	ends     []func(context.Context) error
}

// startTelemetry writes logs to out and reads OTEL_* from the environment.
func startTelemetry(ctx context.Context, getenv func(string) string, out io.Writer, level slog.Level) (*telemetry, error) {
	t := &telemetry{registry: prometheus.NewRegistry(), tracers: tracenoop.NewTracerProvider()}
	local := traced{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})}
	t.log = slog.New(local)
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
	who, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		semconv.ServiceName(serviceName), semconv.ServiceVersion(ownVersion())), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("telemetry resource: %w", err)
	}
	steps := []func(context.Context, func(string) string, *resource.Resource) error{t.startTraces, t.startMetrics,
		func(ctx context.Context, getenv func(string) string, who *resource.Resource) error {
			return t.startLogs(ctx, getenv, who, local)
		}}
	for _, start := range steps {
		if err := start(ctx, getenv, who); err != nil {
			t.stop()
			return nil, usageError{err}
		}
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		// Only to the local log: a broken exporter must not feed itself.
		slog.New(local).Warn("telemetry", "error", err.Error())
	}))
	return t, nil
}

// wanted tells whether the environment asks for a signal (TRACES, METRICS or LOGS) to be sent out.
func wanted(getenv func(string) string, signal string) bool {
	if getenv("OTEL_SDK_DISABLED") == "true" {
		return false
	}
	if exporter := getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

func (t *telemetry) startTraces(ctx context.Context, getenv func(string) string, who *resource.Resource) error {
	if !wanted(getenv, "TRACES") {
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("trace exporter: %w", err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithResource(who), sdktrace.WithBatcher(exporter))
	t.tracers, t.ends = p, append(t.ends, p.Shutdown)
	return nil
}

func (t *telemetry) startMetrics(ctx context.Context, getenv func(string) string, who *resource.Resource) error {
	scrape, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(who), sdkmetric.WithReader(scrape)}
	if wanted(getenv, "METRICS") {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("metric exporter: %w", err)
		}
		options = append(options, sdkmetric.WithReader(reader))
	}
	p := sdkmetric.NewMeterProvider(options...)
	t.meters, t.ends = p, append(t.ends, p.Shutdown)
	if err := runtime.Start(runtime.WithMeterProvider(p)); err != nil {
		return fmt.Errorf("runtime metrics: %w", err)
	}
	return nil
}

func (t *telemetry) startLogs(ctx context.Context, getenv func(string) string, who *resource.Resource, local slog.Handler) error {
	if !wanted(getenv, "LOGS") {
		return nil
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return fmt.Errorf("log exporter: %w", err)
	}
	p := sdklog.NewLoggerProvider(sdklog.WithResource(who), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
	t.ends = append(t.ends, p.Shutdown)
	sent := sameLevel{otelslog.NewHandler(serviceName, otelslog.WithLoggerProvider(p)), local}
	t.log = slog.New(slog.NewMultiHandler(local, sent))
	return nil
}

// stop sends what is left.
func (t *telemetry) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), telemetryFlush)
	defer cancel()
	var errs []error
	for _, end := range t.ends {
		errs = append(errs, end(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		t.log.Warn("telemetry not sent to its end", "error", err.Error())
	}
}

// traced adds the ids of the current span to each line, so that logs and traces find each other.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }

// sameLevel lets a handler have what another one has.
type sameLevel struct {
	slog.Handler
	as slog.Handler
}

func (h sameLevel) Enabled(ctx context.Context, level slog.Level) bool {
	return h.as.Enabled(ctx, level)
}
func (h sameLevel) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sameLevel{h.Handler.WithAttrs(attrs), h.as}
}
func (h sameLevel) WithGroup(name string) slog.Handler {
	return sameLevel{h.Handler.WithGroup(name), h.as}
}
