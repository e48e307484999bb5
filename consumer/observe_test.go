package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"refundworker/consumer/brakes"
	"refundworker/schemas"
)

// The metric is 1 for the state that holds and 0 for the others.
func TestBreakerStateIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings, reader := brakes.Breaker{}.WithDefaults(), metric.NewManualReader()
		b := brakes.New(brakes.Config{Provider: "test", Breaker: settings, Log: slog.New(slog.DiscardHandler)})
		b.SetStopped(false)
		watchBreakers(Telemetry{Meters: metric.NewMeterProvider(metric.WithReader(reader))},
			func() map[schemas.ProviderName]string {
				return map[schemas.ProviderName]string{"test": b.BreakerState()}
			})
		holds := func(want string) {
			t.Helper()
			var collected metricdata.ResourceMetrics
			if err := reader.Collect(context.Background(), &collected); err != nil {
				t.Fatal(err)
			}
			measured := collected.ScopeMetrics[0].Metrics[0]
			points := measured.Data.(metricdata.Gauge[int64]).DataPoints
			if measured.Name != "refund.breaker.state" || len(points) != 3 {
				t.Fatalf("%s has %d points, want refund.breaker.state with 3", measured.Name, len(points))
			}
			for _, p := range points {
				name, _ := p.Attributes.Value("provider")
				state, _ := p.Attributes.Value("state")
				if name.AsString() != "test" || (p.Value == 1) != (state.AsString() == want) {
					t.Errorf("%s of %s is %d while the breaker is %s", state.AsString(), name.AsString(), p.Value, want)
				}
			}
		}
		holds(brakes.StateClosed)
		for range 20 {
			permit := b.NewPermit()
			if err := permit.Admit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			permit.Report(t.Context(), errors.New("no answer"))
			permit.Release()
		}
		holds(brakes.StateOpen)
		time.Sleep(settings.Open + time.Nanosecond)
		holds(brakes.StateHalfOpen)
	})
}
