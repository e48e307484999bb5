package providers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"refundworker/providers"
	"refundworker/schemas"
)

var command = providers.Request{RequestID: "r1", Attempt: 1, Payment: schemas.Payment{Reference: "p1"},
	Amount: schemas.Money{Micros: 10_000_000, Currency: "HKD"}}

// results collects refund.provider.calls as operation/result.
func results(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				got[label(p.Attributes, "operation")+"/"+label(p.Attributes, "result")] += p.Value
			}
		case metricdata.Histogram[float64]:
			if m.Name != "refund.provider.duration" || m.Unit != "s" || len(d.DataPoints[0].Bounds) != 14 {
				t.Errorf("histogram: got %s in %s with %d bounds", m.Name, m.Unit, len(d.DataPoints[0].Bounds))
			}
		}
	}
	return got
}

func label(set attribute.Set, key attribute.Key) string {
	v, _ := set.Value(key)
	return v.AsString()
}

func TestObserve(t *testing.T) {
	tests := []struct{ outcome, want string }{
		{"succeeded", "succeeded"}, {"cancelled", "cancelled"}, {"acknowledged", "acknowledged"}, {"partial", "partial"},
		{"declined:declined", "declined"}, {"not_now:day_end", "not_now"},
		{"unknown_lost", "unknown"}, {"unavailable", "unavailable"}, {"rate_limited", "rate_limited"},
		{"invalid", "invalid"}, {"unauthorized", "unauthorized"}, {"panic", "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.outcome, func(t *testing.T) {
			spans, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
			p := providers.Observe("bbmsl-hk", newScripted(t, tt.outcome), providers.Telemetry{
				Tracers: trace.NewTracerProvider(trace.WithSpanProcessor(spans)),
				Meters:  metric.NewMeterProvider(metric.WithReader(reader))})
			_, err := p.Refund(t.Context(), command)
			if got := results(t, reader); got["refund/"+tt.want] != 1 || len(got) != 1 {
				t.Errorf("calls: got %v, want one refund/%s", got, tt.want)
			}
			span := spans.Ended()[0]
			if span.Name() != "refund bbmsl-hk" || span.SpanKind() != oteltrace.SpanKindClient {
				t.Errorf("span: got %s of kind %v", span.Name(), span.SpanKind())
			}
			if failed := span.Status().Code == codes.Error; failed != (err != nil) {
				t.Errorf("span failed: got %v with error %v", failed, err)
			}
		})
	}
}

func TestObserveOtherOperations(t *testing.T) {
	reader := metric.NewManualReader()
	p := providers.Observe("x", newScripted(t), providers.Telemetry{Meters: metric.NewMeterProvider(metric.WithReader(reader))})
	if _, _, err := p.Prepare(t.Context(), command); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Lookup(t.Context(), command); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Refund(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int64{"prepare/ready": 1, "lookup/not_found": 1, "lookup/found": 1, "refund/succeeded": 2}
	if got := results(t, reader); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}
	if got := p.Capabilities(); !got.Lookup {
		t.Errorf("Capabilities: got %+v, want those of the adapter", got)
	}
}

// broken breaks the contract in the ways that Observe mends.
type broken struct{ providers.Provider }

func (broken) Prepare(context.Context, providers.Request) (providers.Baseline, providers.Result, error) {
	panic("secret-key")
}
func (broken) Refund(context.Context, providers.Request) (providers.Result, error) {
	return providers.Result{}, nil
}
func (broken) Lookup(context.Context, providers.Request) (providers.Finding, error) {
	panic("secret-key")
}

func TestObserveHoldsTheContract(t *testing.T) {
	p := providers.Observe("x", broken{}, providers.Telemetry{})
	_, _, prepare := p.Prepare(t.Context(), command)
	_, refund := p.Refund(t.Context(), command)
	_, lookup := p.Lookup(t.Context(), command)
	for op, err := range map[string]error{"prepare": prepare, "refund": refund, "lookup": lookup} {
		if err == nil || providers.KindOf(err) != providers.Unknown || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want unknown and nothing of the panic's text", op, err)
		}
	}
}
