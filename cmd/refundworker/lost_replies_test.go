package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/idempotency/servertest"
	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/craftgate"
	"refundworker/providers/google/fop"
	"refundworker/providers/google/host"
	"refundworker/providers/google/seal"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// lossRefunds is how many refunds each side has made.
var lossRefunds = 150

const (
	// lossTimeout and lossLease are short, because what is in doubt waits for its lease to end.
	lossTimeout = 3 * time.Second
	lossLease   = 5 * time.Second
	lossLook    = time.Second
)

// side is one provider instance on its way through bad connections.
type side struct {
	name      schemas.ProviderName
	kind      string
	operation string
	// amount is each refund's. Every payment has three times the smallest, so that a refund made twice is paid twice.
	amount schemas.Money
	// first is the number of the first payment; those of the sides differ, where they share a book.
	first   int
	options func(reference string) json.RawMessage
	// open builds the adapter, and how its provider reports, against a simulator.
	open func(sim *simulator.Server, baseURL string) (adapted, error)
}

var lossSides = []side{
	{name: "bbmsl", kind: simulator.TypeBBMSL, operation: "refund", amount: lossMoney(10, "HKD"), first: 100_000, open: openBBMSL},
	{name: "craftgate-whole", kind: simulator.TypeCraftgate, operation: "refund", amount: lossMoney(30, "TRY"), first: 200_000,
		open: openCraftgate},
	{name: "craftgate-item", kind: simulator.TypeCraftgate, operation: "refund-transaction", amount: lossMoney(10, "TRY"), first: 300_000,
		options: func(reference string) json.RawMessage {
			return json.RawMessage(`{"paymentTransactionId":"` + reference + `"}`)
		}, open: openCraftgate},
	{name: "redirectfop", kind: simulator.TypeGoogle, operation: "refund", amount: lossMoney(10, "EUR"), first: 400_000,
		open: func(_ *simulator.Server, baseURL string) (adapted, error) {
			return openGoogle(fop.RedirectFOP, baseURL)
		}},
	{name: "cardfop", kind: simulator.TypeGoogle, operation: "refund", amount: lossMoney(10, "EUR"), first: 500_000,
		open: func(_ *simulator.Server, baseURL string) (adapted, error) { return openGoogle(fop.CardFOP, baseURL) }},
}

func lossMoney(units int64, c schemas.Currency) schemas.Money {
	return schemas.Money{Micros: units * 1_000_000, Currency: c}
}

var lossHTTP = providers.HTTPConfig{Timeout: lossTimeout, Concurrency: 16}

func openBBMSL(sim *simulator.Server, baseURL string) (adapted, error) {
	private, public, err := rsaPair()
	if err != nil {
		return adapted{}, err
	}
	if err := sim.BBMSL.SetKeys([]simulator.BBMSLKey{{MerchantID: "700123", PublicKey: public}}); err != nil {
		return adapted{}, err
	}
	p, err := bbmsl.New(bbmsl.Config{BaseURL: baseURL + "/bbmsl", MerchantID: "700123", PrivateKey: private,
		LookupDelay: lossLook, HTTP: lossHTTP})
	return adapted{provider: p}, err
}

func openCraftgate(_ *simulator.Server, baseURL string) (adapted, error) {
	p, err := craftgate.New(craftgate.Config{BaseURL: baseURL + "/craftgate", APIKey: "api", SecretKey: "secret",
		LookupDelay: lossLook, HTTP: lossHTTP})
	return adapted{provider: p}, err
}

func openGoogle(api fop.API, baseURL string) (adapted, error) {
	open, err := seal.New(seal.Config{Mode: seal.Plain})
	if err != nil {
		return adapted{}, err
	}
	p, err := fop.New(fop.Config{API: api, BaseURL: baseURL + "/google", Account: string(api), Seal: open, HTTP: lossHTTP})
	return adapted{provider: p, reports: reports{account: &host.Account{API: string(api), ID: string(api), Seal: open}}}, err
}

// lossBook is what the providers know, and how their connections fail: a quarter of the calls never arrives, and a quarter
// of the others is executed and not answered. Calls that never arrive end some time, so that the last refund does too.
func lossBook(sim *simulator.Server) error {
	var faults []simulator.Fault
	seen := map[string]bool{}
	for i, s := range lossSides {
		if seen[s.kind+s.operation] {
			continue
		}
		seen[s.kind+s.operation] = true
		times := lossRefunds / 3
		if s.kind == simulator.TypeGoogle { // one operation for both APIs
			times *= 2
		}
		faults = append(faults,
			simulator.Fault{Type: s.kind, Operation: s.operation, Probability: 0.25, Seed: uint64(i) + 1, Times: times, Effect: simulator.EffectDropBefore},
			simulator.Fault{Type: s.kind, Operation: s.operation, Probability: 0.25, Seed: uint64(i) + 101, Effect: simulator.EffectDropAfter})
	}
	return errors.Join(sim.SetFaults(faults),
		sim.BBMSL.SetOpen(simulator.BBMSLPayment{Amount: lossMoney(30, "HKD"), Status: "SETTLED"}),
		sim.Craftgate.SetKeys([]simulator.CraftgateKey{{APIKey: "api", SecretKey: "secret"}}),
		sim.Craftgate.SetOpen(simulator.CraftgatePayment{Amount: lossMoney(30, "TRY")}),
		sim.Google.SetKeys([]simulator.GoogleKeys{{Account: string(fop.RedirectFOP), Mode: simulator.GooglePlain},
			{Account: string(fop.CardFOP), Mode: simulator.GooglePlain}}),
		sim.Google.SetOpen(simulator.GooglePayment{Amount: lossMoney(30, "EUR")}))
}

// commands are the side's refunds, each of a payment of its own.
func (s side) commands() []schemas.Command {
	var list []schemas.Command
	for i := range lossRefunds {
		reference := fmt.Sprint(s.first + i)
		c := schemas.Command{RequestID: schemas.RequestID(string(s.name) + ":" + reference), Provider: s.name,
			Payment: schemas.Payment{Reference: reference}, RequestedAt: time.Now().UTC().Truncate(time.Second),
			Amount: s.amount}
		if s.options != nil {
			c.Options = s.options(reference)
		}
		list = append(list, c)
	}
	return list
}

// lossWorker is a worker for all sides, on servers of its own, with the simulator that it calls.
type lossWorker struct {
	*testing.T
	sim *simulator.Server
	js  jetstream.JetStream
}

func startLossWorker(t *testing.T) *lossWorker {
	t.Helper()
	w := &lossWorker{T: t, sim: simulator.New(simulator.Options{})}
	t.Cleanup(w.sim.Close)
	if err := lossBook(w.sim); err != nil {
		t.Fatal(err)
	}
	far := httptest.NewServer(w.sim)
	t.Cleanup(far.Close)
	s := &settings{adminListen: "127.0.0.1:0", edge: edgeSettings{listen: "127.0.0.1:0"},
		nats:   natsSettings{URL: providers.Secret(natsAlone(t, server.Options{}).ClientURL())},
		redis:  redisSettings{Addresses: []string{servertest.Redis(t)}},
		worker: consumer.Config{LeaseMargin: lossLease}}
	for _, side := range lossSides {
		a, err := side.open(w.sim, far.URL)
		if err != nil {
			t.Fatal(err)
		}
		s.worker.Instances = append(s.worker.Instances, consumer.Instance{Name: side.name, Provider: a.provider, Concurrency: 32,
			Timeout: lossTimeout, MaxAttempts: 60, Backoff: consumer.Backoff{Initial: time.Second, Max: 3 * time.Second, Multiplier: 2}})
		if r := a.reports.named(side.name); r != (reports{}) {
			s.reports = append(s.reports, r)
		}
	}
	w.serve(s)
	return w
}

// serve runs the worker until the test ends, and waits until it is ready.
func (w *lossWorker) serve(s *settings) {
	w.Helper()
	telemetry, err := startTelemetry(w.Context(), func(string) string { return "" }, io.Discard, slog.LevelError)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan running, 1), make(chan struct{})
	go func() {
		defer close(ended)
		if err := serveWith(ctx, s, telemetry, func(r running) { started <- r }); err != nil {
			w.Errorf("worker: %v", err)
		}
	}()
	w.Cleanup(func() { cancel(); <-ended; telemetry.stop() })
	select {
	case r := <-started:
		w.js = r.backends.js
		eventually(w.T, "the worker is ready", func() bool { return len(r.waitsFor()) == 0 })
		// Half a second later: a result seldom overtakes the answer to its call, and none in vain.
		err = w.sim.SetNotices([]simulator.Notice{{Type: simulator.TypeGoogle, Target: "http://" + r.edge, Delay: 500 * time.Millisecond}})
		if err != nil {
			w.Fatal(err)
		}
	case <-ended:
		w.FailNow()
	}
}

// publish publishes every side's refunds.
func (w *lossWorker) publish() {
	w.Helper()
	var publishing sync.WaitGroup
	for _, s := range lossSides {
		publishing.Go(func() {
			for _, c := range s.commands() {
				body, err := c.Encode()
				if err == nil {
					_, err = w.js.Publish(w.Context(), schemas.Subjects{}.Command(s.name), body)
				}
				if err != nil {
					w.Errorf("publish %s: %v", c.RequestID, err)
					return
				}
			}
		})
	}
	publishing.Wait()
}

// quiet waits until no message is left to work on. The streams are looked at in the order in which messages move on.
func (w *lossWorker) quiet() {
	w.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		left := map[string]uint64{}
		for _, name := range []string{schemas.StreamCommands, schemas.StreamNotices, schemas.StreamRetries} {
			if n := messagesIn(w.T, w.js, name); n > 0 {
				left[name] = n
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.Fatalf("messages left after %s: %v", patience, left)
		}
	}
}

// events are the journal's, by refund and in order.
func (w *lossWorker) events() map[schemas.RequestID][]schemas.Event {
	w.Helper()
	stream, err := w.js.OrderedConsumer(w.Context(), schemas.StreamEvents, jetstream.OrderedConsumerConfig{})
	if err != nil {
		w.Fatal(err)
	}
	found := map[schemas.RequestID][]schemas.Event{}
	for left := int(messagesIn(w.T, w.js, schemas.StreamEvents)); left > 0; {
		batch, err := stream.Fetch(min(500, left))
		if err != nil {
			w.Fatal(err)
		}
		for msg := range batch.Messages() {
			left--
			e, err := schemas.DecodeEvent(msg.Data())
			if err != nil {
				w.Fatal(err)
			}
			found[e.RequestID] = append(found[e.RequestID], e)
		}
		if err := batch.Error(); err != nil {
			w.Fatal(err)
		}
	}
	return found
}

// A thousand refunds with each provider, while connections break before and after the call is executed: in the end each
// refund has moved money once, in the right amount, and says so once. Nothing is left for a person.
func TestLostRepliesEndInOneMovementEach(t *testing.T) {
	t.Parallel()
	lostReplies(t)
}

func lostReplies(t *testing.T) {
	w := startLossWorker(t)
	w.publish()
	w.quiet()
	events, moved := w.events(), map[string][]simulator.Movement{}
	for _, m := range w.sim.Ledger() {
		moved[m.Reference] = append(moved[m.Reference], m)
	}
	for _, s := range lossSides {
		attempts := 0
		for _, c := range s.commands() {
			attempts += w.judge(c, events[c.RequestID], moved[c.Payment.Reference])
			delete(events, c.RequestID)
			delete(moved, c.Payment.Reference)
		}
		t.Logf("%s: %d attempts", s.name, attempts)
		if lost := attempts - lossRefunds; lost < lossRefunds/5 {
			t.Errorf("%s: %d attempts were made again, want at least %d: calls were hardly lost", s.name, lost, lossRefunds/5)
		}
	}
	if len(events) > 0 || len(moved) > 0 {
		t.Errorf("events of %d refunds and movements of %d payments that nobody asked for", len(events), len(moved))
	}
	if n := messagesIn(t, w.js, schemas.StreamDead); n > 0 {
		t.Errorf("%d dead letters", n)
	}
}

// judge holds a refund's events against its movements and returns how many attempts it took.
func (w *lossWorker) judge(c schemas.Command, events []schemas.Event, moved []simulator.Movement) (attempts int) {
	w.Helper()
	var outcomes []schemas.Event
	for _, e := range events {
		switch {
		case e.Kind.Outcome():
			outcomes = append(outcomes, e)
		case e.Kind == schemas.KindDispatched:
			attempts++
		case !slices.Contains([]schemas.Kind{schemas.KindAcknowledged, schemas.KindDeferred}, e.Kind):
			w.Errorf("%s: %s(%s), want no such event", c.RequestID, e.Kind, e.Reason)
		}
	}
	if len(outcomes) != 1 || len(moved) != 1 {
		w.Errorf("%s: %d outcomes and %d movements, want 1 each", c.RequestID, len(outcomes), len(moved))
		return attempts
	}
	o, m := outcomes[0], moved[0]
	sameID := o.ProviderRefundID == m.ProviderRefundID || o.FoundBy == schemas.FoundByLookup && o.ProviderRefundID == "" // not every lookup tells it
	if o.Kind != schemas.KindSucceeded || !o.Amount.Equal(c.Amount) || !m.Amount.Equal(c.Amount) || !sameID {
		w.Errorf("%s: %s of %s as %q, and %s of %s as %q moved, want a success of %s", c.RequestID, o.Kind, o.Amount,
			o.ProviderRefundID, m.Kind, m.Amount, m.ProviderRefundID, c.Amount)
	}
	return attempts
}
