package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// measured reads what workers measure.
func (f *fixture) measured() func(name string, labels ...string) float64 {
	reader := metric.NewManualReader()
	f.meters = metric.NewMeterProvider(metric.WithReader(reader))
	return func(name string, labels ...string) (sum float64) {
		f.t.Helper()
		var collected metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &collected); err != nil {
			f.t.Fatal(err)
		}
		for _, scope := range collected.ScopeMetrics {
			for _, m := range scope.Metrics {
				if m.Name == name {
					sum += sumOf(m.Data, labels)
				}
			}
		}
		return sum
	}
}

// sumOf sums the points that have these labels: name and value in turn.
func sumOf(data metricdata.Aggregation, labels []string) float64 {
	switch data := data.(type) {
	case metricdata.Gauge[int64]:
		return sumPoints(data.DataPoints, labels)
	case metricdata.Gauge[float64]:
		return sumPoints(data.DataPoints, labels)
	case metricdata.Sum[int64]:
		return sumPoints(data.DataPoints, labels)
	}
	return 0
}

func sumPoints[N int64 | float64](points []metricdata.DataPoint[N], labels []string) (sum float64) {
	for _, p := range points {
		has := true
		for i := 0; i < len(labels); i += 2 {
			value, _ := p.Attributes.Value(attribute.Key(labels[i]))
			has = has && value.AsString() == labels[i+1]
		}
		if has {
			sum += float64(p.Value)
		}
	}
	return sum
}

// Every message that carried a refund is lost. It is carried on from the journal, with all that its command said, and ends
// as if nothing had been. That its subject in the journal began with what no worker wrote changes nothing.
func TestOpenRefundWithoutAMessageIsCarriedOn(t *testing.T) {
	t.Parallel()
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprintf("foreign=%t", foreign), func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:10m", "succeeded"}}, func(f *fixture) {
				measured := f.measured()
				f.start()
				if foreign {
					if _, err := f.js.Publish(context.Background(), f.subjects.Journal("one"), []byte("{}")); err != nil {
						t.Fatal(err)
					}
				}
				f.publish(command("one", ""))
				f.eventually("it is open, and a schedule carries it", func() error {
					if err := f.was("one", schemas.KindDeferred); err != nil {
						return err
					}
					return f.left(0, 1)
				})
				f.purge(schemas.StreamRetries)
				f.eventually("it is carried on", func() error { return f.left(0, 1) })
				time.Sleep(10 * time.Minute) // it is not due before
				f.eventually("it ends", func() error { return f.was("one", schemas.KindSucceeded) })
				f.quiet()
				if !foreign {
					f.chained("one")
				}
				if n := measured("refund.journal.foreign"); (n > 0) != foreign {
					t.Errorf("%v foreign entries are counted", n)
				}
				if n := measured("refund.carriers.restored", "reason", "missing"); n != 1 {
					t.Errorf("%v were carried on from the journal, want 1", n)
				}
			})
		})
	}
}

// A schedule falls due while its stream takes nothing, and never fires: it is fired when there is room again.
func TestScheduleThatNeverFired(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:1m", "succeeded"}}, func(f *fixture) {
		measured := f.measured()
		f.start()
		f.publish(command("one", ""))
		f.eventually("a schedule carries it", func() error { return f.left(0, 1) })
		ctx := context.Background()
		if _, err := f.js.CreateStream(ctx, jetstream.StreamConfig{Name: "FILL", Subjects: []string{"fill"}}); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{512 << 10, 32 << 10, 1 << 10, 64, 1} {
			for full := false; !full; {
				_, err := f.js.Publish(ctx, "fill", make([]byte, size))
				full = err != nil
			}
		}
		time.Sleep(10 * time.Minute)
		if err := f.left(0, 1); err != nil {
			t.Fatalf("while nothing is stored: %v", err)
		}
		if err := f.js.DeleteStream(ctx, "FILL"); err != nil {
			t.Fatal(err)
		}
		f.eventually("it ends", func() error { return f.was("one", schemas.KindSucceeded) })
		f.quiet()
		if n := measured("refund.carriers.restored", "reason", "overdue"); n < 1 {
			t.Errorf("%v schedules were overdue, want 1", n)
		}
	})
}

// What waits in a queue, however long, is carried: nothing is stored for it.
func TestWhatWaitsInAQueueIsCarried(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"not_now:provider_busy:1m", "rate_limited:1h", "succeeded"}}, func(f *fixture) {
		measured := f.measured()
		f.cfg.Instances[0].RetryAfterMax = time.Hour // one call too many, and the provider is left alone
		f.start()
		for i := range 3 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(20 * time.Minute)
		if n := measured("refund.carriers.restored"); n != 0 {
			t.Errorf("%v were carried on, though messages carry them", n)
		}
		if n := measured("refund.open"); n != 3 {
			t.Errorf("%v are open, want 3", n)
		}
	})
}

// A refund that the journal knows, and whose command it does not, is told. Its command, published again, carries it on.
func TestRefundThatNothingCarries(t *testing.T) {
	t.Parallel()
	script := scripted.Config{Outcomes: []string{"succeeded"}, Capabilities: &providers.Capabilities{Lookup: true}}
	inFakeTime(t, script, func(f *fixture) {
		measured := f.measured()
		f.logTo = f.t.Output()
		f.start()
		one := command("one", "")
		e := schemas.NewEvent(schemas.KindDispatched, one, time.Now())
		until := time.Now().Add(time.Minute)
		e.Attempt, e.LeaseUntil, e.IdempotencyKey = 1, &until, "one"
		if _, err := stream.NewJournal(f.js, f.subjects).Append(context.Background(), ledger.Entry{Event: e, Owner: "gone"}, 0); err != nil {
			t.Fatal(err)
		}
		f.eventually("it is told", func() error {
			if n := measured("refund.uncarried"); n != 1 {
				return fmt.Errorf("%v are carried by nothing", n)
			}
			return nil
		})
		f.publish(one)
		f.eventually("it ends", func() error { return f.was("one", schemas.KindSucceeded) })
		f.eventually("it is told no more", func() error {
			if n := measured("refund.uncarried"); n != 0 {
				return fmt.Errorf("%v are carried by nothing", n)
			}
			return nil
		})
	})
}

// What is open, how old it is, and how much of it may have moved.
func TestOpenRefundsAreMeasured(t *testing.T) {
	t.Parallel()
	script := scripted.Config{Outcomes: []string{"unknown_lost"}, Capabilities: &providers.Capabilities{}}
	inFakeTime(t, script, func(f *fixture) {
		measured := f.measured()
		f.start()
		f.publish(command("lost", ""))
		f.publish(command("later", `{"script":["not_now:provider_busy:1h","succeeded"]}`))
		f.publish(command("made", `{"script":["succeeded"]}`))
		f.eventually("all were tried", func() error {
			for id, kind := range map[string]schemas.Kind{"lost": schemas.KindParked, "later": schemas.KindDeferred, "made": schemas.KindSucceeded} {
				if err := f.was(id, kind); err != nil {
					return err
				}
			}
			return nil
		})
		time.Sleep(5 * time.Minute)
		for _, want := range []struct {
			name   string
			labels []string
			most   float64
			least  float64
		}{
			{"refund.open", []string{"state", "parked"}, 1, 1},
			{"refund.open", []string{"state", "deferred"}, 1, 1},
			{"refund.open", nil, 2, 2},
			{"refund.open.oldest", []string{"state", "deferred"}, 400, 290},
			{"refund.open.oldest", []string{"state", "acknowledged"}, 0, 0},
			{"refund.at_risk", []string{"currency", "HKD"}, 10, 10},
		} {
			if got := measured(want.name, append(want.labels, "provider", string(provider))...); got < want.least || got > want.most {
				t.Errorf("%s of %v is %v, want %v to %v", want.name, want.labels, got, want.least, want.most)
			}
		}
	})
}

// purge has a stream lose everything.
func (f *fixture) purge(name string) {
	f.t.Helper()
	s, err := f.js.Stream(context.Background(), name)
	if err == nil {
		err = s.Purge(context.Background())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
