package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/bbmsl"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

const (
	demoProvider = schemas.ProviderName("bbmsl-demo")
	demoMerchant = "700123"
	// demoPatience is how long the cases may take until they count as broken.
	demoPatience = 45 * time.Second
	demoLook     = 50 * time.Millisecond
)

// demo plays sample refunds against simulated providers and fails when a promise was broken.
func (p *program) demo(ctx context.Context, args []string) error {
	if _, err := p.parse(p.flags("demo"), args, 0); err != nil {
		return err
	}
	return newDemo(p, nil).run(ctx)
}

// demonstration is one run of the demo.
type demonstration struct {
	*program
	cases []demoCase
	// inspect sees, and may change, the evidence before it is judged.
	inspect func(*evidence)
}

func newDemo(p *program, inspect func(*evidence)) *demonstration {
	if inspect == nil {
		inspect = func(*evidence) {}
	}
	return &demonstration{program: p, cases: demoCases(time.Now().UTC()), inspect: inspect}
}

func (d *demonstration) run(ctx context.Context) error {
	fmt.Fprintln(d.stdout, "A worker with embedded NATS and Redis, and a simulated BBMSL. Events as they happen:")
	sim := simulator.New(simulator.Options{})
	side, err := listen("127.0.0.1:0", sim)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer side.close()
	dir, err := os.MkdirTemp("", "refundworker-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	s, err := d.settings(sim, "http://"+side.address+"/bbmsl", dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	t, err := startTelemetry(ctx, d.getenv, d.stderr, slog.LevelError)
	if err != nil {
		return err
	}
	defer t.stop()
	found, err := d.withWorker(ctx, s, t)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if ctx.Err() != nil {
		return errors.New("demo: interrupted")
	}
	found.ledger = sim.Ledger()
	d.inspect(&found)
	return d.judge(found)
}

// settings are the worker's, and what the simulator has to know of them. The merchant's key is made up on the spot.
func (d *demonstration) settings(sim *simulator.Server, baseURL, dir string) (*settings, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	var payments []simulator.BBMSLPayment
	var faults []simulator.Fault
	for _, c := range d.cases {
		if c.payment.Reference != "" {
			payments = append(payments, c.payment)
		}
		faults = append(faults, c.faults...)
	}
	merchant := []simulator.BBMSLKey{{MerchantID: demoMerchant, PublicKey: encodePEM("PUBLIC KEY", public)}}
	if err := errors.Join(sim.BBMSL.SetKeys(merchant), sim.BBMSL.SetPayments(payments), sim.SetFaults(faults)); err != nil {
		return nil, err
	}
	in := consumer.Instance{Name: demoProvider, Concurrency: 16, Timeout: 2 * time.Second}
	in.Provider, err = bbmsl.New(bbmsl.Config{BaseURL: baseURL, MerchantID: demoMerchant, VoidUnsettled: true,
		PrivateKey: providers.Secret(encodePEM("PRIVATE KEY", private)), LookupDelay: time.Second,
		HTTP: providers.HTTPConfig{Timeout: in.Timeout, Concurrency: in.Concurrency}})
	if err != nil {
		return nil, err
	}
	return &settings{dataDir: dir, natsListen: "127.0.0.1:0", adminListen: "127.0.0.1:0",
		worker: consumer.Config{LeaseMargin: 8 * time.Second, Instances: []consumer.Instance{in}}}, nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// withWorker runs the worker while the cases are played, and returns what the streams say then.
func (d *demonstration) withWorker(ctx context.Context, s *settings, t *telemetry) (evidence, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started, ended := make(chan running, 1), make(chan error, 1)
	go func() { ended <- serveWith(ctx, s, t, func(r running) { started <- r }) }()
	select {
	case r := <-started:
		found, err := d.play(ctx, r)
		stop()
		return found, errors.Join(err, <-ended)
	case err := <-ended:
		return evidence{}, err
	}
}

// play publishes the commands of every case at once and waits until all is done, or patience ends.
func (d *demonstration) play(ctx context.Context, r running) (evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if err := until(ctx, func() bool { return len(r.waitsFor()) == 0 }); err != nil {
		return evidence{}, fmt.Errorf("the worker did not get ready: %v", r.waitsFor())
	}
	w, err := watch(ctx, r.backends.js, d.stdout)
	if err != nil {
		return evidence{}, err
	}
	defer w.stop()
	var playing sync.WaitGroup
	failures := make([]error, len(d.cases))
	for i, c := range d.cases {
		playing.Go(func() { failures[i] = c.play(ctx, r.backends.nc.ConnectedUrl(), w) })
	}
	playing.Wait()
	if err := errors.Join(failures...); err != nil {
		return evidence{}, err
	}
	// A case that does not end as it should is for judge to tell.
	_ = until(ctx, func() bool { return w.settled(ctx, d.cases) })
	return w.evidence(context.WithoutCancel(ctx))
}

// until looks again and again, until done or ctx ends.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(demoLook)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// judge prints the closing table and every broken promise.
func (d *demonstration) judge(found evidence) error {
	table := tabwriter.NewWriter(d.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nCASE\tENDED AS\tMOVED\tLEFT\t")
	for _, c := range d.cases {
		verdict := "ok"
		if len(c.broken(found)) > 0 {
			verdict = "BROKEN"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", c.title, c.endedAs(found), c.moved(found), c.left(found), verdict)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	broken := check(d.cases, found)
	for _, b := range broken {
		fmt.Fprintln(d.stdout, "BROKEN:", b)
	}
	if len(broken) > 0 {
		return fmt.Errorf("demo: %d promises were broken", len(broken))
	}
	fmt.Fprintln(d.stdout, "\nEvery promise held: the simulator's ledger and the events agree, and nothing is left to do.")
	return nil
}
