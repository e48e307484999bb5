package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/craftgate"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// What an order or a payment looks like decides more than any code. These tables are made by asking: an adapter asks the
// simulator for refunds of payments in every state.

// stand is one adapter before a simulator of its own.
type stand struct {
	t        *testing.T
	sim      *simulator.Server
	provider providers.Provider
}

func newStand(t *testing.T, build func(sim *simulator.Server, baseURL string) (providers.Provider, error)) *stand {
	t.Helper()
	sim := simulator.New(simulator.Options{})
	side := httptest.NewServer(sim)
	t.Cleanup(func() { side.Close(); sim.Close() })
	p, err := build(sim, side.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &stand{t, sim, p}
}

// asked is what becomes of a first call for a refund.
func (s *stand) asked(r providers.Request) string {
	s.t.Helper()
	baseline, res, err := s.provider.Prepare(s.t.Context(), r)
	if err == nil && res.Status == providers.NoResult {
		r.Attempt, r.Baseline = 1, baseline
		res, err = s.provider.Refund(s.t.Context(), r)
	}
	return s.resultOrError(res, err)
}

func (s *stand) resultOrError(r providers.Result, err error) string {
	if err == nil {
		return resultText(r)
	}
	var e *providers.Error
	if !errors.As(err, &e) {
		s.t.Errorf("the error is %v, want a *providers.Error", err)
		return ""
	}
	if len(e.Problems) > 0 {
		return outcomeText(schemas.KindRejected, schemas.ReasonUnsupported)
	}
	return kindText(e.Kind)
}

// lookedUp is what a lookup of a refund in doubt finds.
func (s *stand) lookedUp(r providers.Request, before providers.Baseline) string {
	s.t.Helper()
	r.Attempt, r.Baseline = 1, before
	f, err := s.provider.Lookup(s.t.Context(), r)
	switch {
	case err != nil:
		return s.resultOrError(providers.Result{}, err)
	case f.Kind == providers.Found:
		return s.resultOrError(f.Result, nil)
	case f.Kind == providers.NotFound:
		return "the next attempt"
	case f.Kind == providers.Contradiction:
		return outcomeText(schemas.KindParked, schemas.ReasonContradiction)
	}
	return "looked up again"
}

func askFor(reference string, units int64, currency schemas.Currency) providers.Request {
	return providers.Request{RequestID: "readme:r1", IdempotencyKey: "readme:r1", Payment: schemas.Payment{Reference: reference},
		Amount: schemas.Money{Micros: units * 1_000_000, Currency: currency}, RequestedAt: time.Now()}
}

func TestReadmeBBMSLOrders(t *testing.T) {
	want := newReadmeTable("order status", "whole order", "part of it", "whole order in doubt")
	for _, status := range bbmsl.OrderStatuses() {
		want.row(code(status), bbmslStand(t, status).asked(askFor("4922", 15, "HKD")), bbmslStand(t, status).asked(askFor("4922", 10, "HKD")),
			bbmslInDoubt(t, status))
	}
	want.inREADME(t)
}

// bbmslStand has one order of 15.00 HKD.
func bbmslStand(t *testing.T, status string) *stand {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return newStand(t, func(sim *simulator.Server, baseURL string) (providers.Provider, error) {
		err := sim.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: "700123", PublicKey: encodePEM("PUBLIC KEY", public)}})
		if err := errors.Join(err, listOrder(sim, status)); err != nil {
			return nil, err
		}
		return bbmsl.New(bbmsl.Config{BaseURL: baseURL + "/bbmsl", MerchantID: "700123", VoidUnsettled: true,
			PrivateKey: providers.Secret(encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))})
	})
}

func listOrder(sim *simulator.Server, status string) error {
	return sim.BBMSL.SetPayments([]simulator.BBMSLPayment{{Reference: "4922", Status: simulator.BBMSLStatus(status),
		Amount: schemas.Money{Micros: 15_000_000, Currency: "HKD"}}})
}

// bbmslInDoubt looks at an order that was settled and whole before the attempt in doubt.
func bbmslInDoubt(t *testing.T, status string) string {
	t.Helper()
	s := bbmslStand(t, string(simulator.BBMSLSettled))
	r := askFor("4922", 15, "HKD")
	before, _, err := s.provider.Prepare(t.Context(), r)
	if err := errors.Join(err, listOrder(s.sim, status)); err != nil {
		t.Fatal(err)
	}
	return s.lookedUp(r, before)
}

func TestReadmeCraftgateAnswers(t *testing.T) {
	want := newReadmeTable("answer", "whole payment", "an item, or a part of it")
	for _, row := range []struct {
		answer  string
		payment simulator.CraftgatePayment
	}{
		{"`refundType` `CANCEL`, `SUCCESS`", simulator.CraftgatePayment{SameDay: true}},
		{"`refundType` `REFUND`, `SUCCESS`", simulator.CraftgatePayment{}},
		{"`WAITING`", simulator.CraftgatePayment{Behaviour: simulator.CraftgateWaiting}},
		{"`FAILURE` without a group, HTTP 200", simulator.CraftgatePayment{Behaviour: simulator.CraftgateFailure}},
		{"`REFUND` with entries that disagree", simulator.CraftgatePayment{Behaviour: simulator.CraftgateMixed}},
	} {
		whole := craftgateStand(t, row.payment).asked(askFor("771", 20, "TRY"))
		item := askFor("771", 5, "TRY")
		item.Options = []byte(`{"paymentTransactionId":"9001"}`)
		want.row(row.answer, whole, craftgateStand(t, row.payment).asked(item))
	}
	part := craftgateStand(t, simulator.CraftgatePayment{}).asked(askFor("771", 5, "TRY"))
	want.row("none: the amount is not what is left", part, "–")
	want.inREADME(t)
}

// craftgateStand has one payment of two items of 10.00 TRY each.
func craftgateStand(t *testing.T, p simulator.CraftgatePayment) *stand {
	t.Helper()
	ten := schemas.Money{Micros: 10_000_000, Currency: "TRY"}
	p.Reference, p.Amount = "771", schemas.Money{Micros: 20_000_000, Currency: "TRY"}
	p.Transactions = []simulator.CraftgateTransaction{{Reference: "9001", Amount: ten}, {Reference: "9002", Amount: ten}}
	return newStand(t, func(sim *simulator.Server, baseURL string) (providers.Provider, error) {
		err := errors.Join(sim.Craftgate.SetKeys([]simulator.CraftgateKey{{APIKey: "key", SecretKey: "secret"}}),
			sim.Craftgate.SetPayments([]simulator.CraftgatePayment{p}))
		if err != nil {
			return nil, err
		}
		return craftgate.New(craftgate.Config{BaseURL: baseURL + "/craftgate", APIKey: "key", SecretKey: "secret"})
	})
}
