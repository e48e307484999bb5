package sweep

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"refundworker/idempotency"
	"refundworker/schemas"
)

// census is what the open refunds come to. It does not change once it is published.
type census struct {
	states map[openState]openCount
	// atRisk is the amount of which nobody knows whether it moved, in micros.
	atRisk map[openAmount]int64
	// uncarried counts the refunds that no message carries and that cannot be carried on from the journal, as they are found.
	uncarried map[schemas.ProviderName]int64
}

type openState struct {
	provider schemas.ProviderName
	state    schemas.Kind
}

type openCount struct {
	refunds int64
	oldest  time.Time
}

type openAmount struct {
	provider schemas.ProviderName
	currency schemas.Currency
}

// openStates are the states of an open refund.
var openStates = []schemas.Kind{schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked,
	schemas.KindResumed}

func newCensus() *census {
	return &census{states: map[openState]openCount{}, atRisk: map[openAmount]int64{}, uncarried: map[schemas.ProviderName]int64{}}
}

func (c *census) add(o idempotency.Open) {
	at := openState{o.Provider, o.State}
	n := c.states[at]
	if n.refunds++; n.oldest.IsZero() || o.Begun.Before(n.oldest) {
		n.oldest = o.Begun
	}
	c.states[at] = n
	if o.InDoubt() && !o.Leased {
		c.atRisk[openAmount{o.Provider, o.Amount.Currency}] += o.Amount.Micros
	}
}

// keep takes over from the count before what is not counted yet, and has amounts that were at risk reported as 0 instead of
// not at all.
func (c *census) keep(before *census) {
	if before == nil {
		return
	}
	for amount := range before.atRisk {
		c.atRisk[amount] += 0
	}
	c.uncarried = before.uncarried
}

// measure measures the open refunds, as they were last counted. Only the worker that sweeps says something.
func (s *Sweep) measure(meter metric.Meter) {
	refunds, err1 := meter.Int64ObservableGauge(metricOpen, metric.WithUnit("{refund}"),
		metric.WithDescription("Refunds that have begun and have no outcome."))
	oldest, err2 := meter.Float64ObservableGauge(metricOpenOldest, metric.WithUnit("s"),
		metric.WithDescription("How long ago the oldest open refund began; 0 when there is none."))
	atRisk, err3 := meter.Float64ObservableGauge(metricAtRisk,
		metric.WithDescription("The amount of which it is not known whether it moved, in units of its currency."))
	uncarried, err4 := meter.Int64ObservableGauge(metricUncarried, metric.WithUnit("{refund}"),
		metric.WithDescription("Open refunds that no message carries and that the journal cannot carry on."))
	_, err5 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		c := s.last.Load()
		if c == nil {
			return nil
		}
		for _, name := range s.cfg.Providers {
			provider := attribute.String(attrProvider, string(name))
			for _, state := range openStates {
				n, age := c.states[openState{name, state}], 0.0
				if n.refunds > 0 {
					age = time.Since(n.oldest).Seconds()
				}
				labels := metric.WithAttributes(provider, attribute.String(attrState, string(state)))
				o.ObserveInt64(refunds, n.refunds, labels)
				o.ObserveFloat64(oldest, age, labels)
			}
			o.ObserveInt64(uncarried, c.uncarried[name], metric.WithAttributes(provider))
		}
		for amount, micros := range c.atRisk {
			o.ObserveFloat64(atRisk, float64(micros)/1e6, metric.WithAttributes(attribute.String(attrProvider, string(amount.provider)),
				attribute.String(attrCurrency, string(amount.currency))))
		}
		return nil
	}, refunds, oldest, atRisk, uncarried)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		otel.Handle(err) // the instruments still work, measuring nothing
	}
}
