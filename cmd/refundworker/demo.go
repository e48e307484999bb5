package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/simulator"
)

const (
	// demoPatience is how long the cases may take until they count as broken. It is longer than the minute after
	// which the worker asks again by itself, so that a hint that came too early costs time and no verdict.
	demoPatience = 90 * time.Second
	demoLook     = 50 * time.Millisecond
	// demoTimeout and demoLeaseMargin forgive a busy machine; no case waits for them.
	demoTimeout     = 5 * time.Second
	demoLeaseMargin = 8 * time.Second
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
	sim   *simulator.Server
	cases []demoCase
	// inspect sees, and may change, the evidence before it is judged.
	inspect func(*evidence)
}

func newDemo(p *program, inspect func(*evidence)) *demonstration {
	if inspect == nil {
		inspect = func(*evidence) {}
	}
	return &demonstration{program: p, sim: simulator.New(simulator.Options{}), cases: demoCases(time.Now().UTC()),
		inspect: inspect}
}

func (d *demonstration) run(ctx context.Context) error {
	fmt.Fprintln(d.stdout, "A worker with embedded NATS and Redis, and simulated providers: BBMSL, Craftgate and Google's two forms\n"+
		"of refunds, the card form signed and encrypted by OpenPGP. Events as they happen:")
	defer d.sim.Close()
	side, err := listen("127.0.0.1:0", d.sim)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer side.close()
	dir, err := os.MkdirTemp("", "refundworker-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(dir)
	s, set, err := d.settings("http://"+side.address, dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	t, err := startTelemetry(ctx, d.getenv, d.stderr, slog.LevelError)
	if err != nil {
		return err
	}
	defer t.stop()
	found, err := d.withWorker(ctx, s, t, set)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if ctx.Err() != nil {
		return errors.New("demo: interrupted")
	}
	found.ledger, found.sent = d.sim.Ledger(), d.sim.Notices()
	d.inspect(&found)
	return d.judge(found)
}

// settings are the worker's. They come with the scene, which the simulator has been told but for what it reports.
func (d *demonstration) settings(simulated, dir string) (*settings, scene, error) {
	s := &settings{dataDir: dir, natsListen: "127.0.0.1:0", adminListen: "127.0.0.1:0", edge: edgeSettings{listen: "127.0.0.1:0"},
		worker: consumer.Config{LeaseMargin: demoLeaseMargin}}
	var set scene
	for _, side := range demoSides {
		in := consumer.Instance{Name: side.name, Concurrency: 16, Timeout: demoTimeout}
		pool := providers.HTTPConfig{Timeout: in.Timeout, Concurrency: in.Concurrency}
		a, mine, err := side.connect(simulated+"/"+side.kind, pool)
		if err != nil {
			return nil, scene{}, fmt.Errorf("provider %s: %w", side.name, err)
		}
		in.Provider = a.provider
		s.worker.Instances = append(s.worker.Instances, in)
		if a.reports != (reports{}) {
			s.reports = append(s.reports, a.reports.named(side.name))
		}
		set = set.and(mine)
	}
	for _, c := range d.cases {
		set = set.and(c.scene)
	}
	return s, set, set.tell(d.sim)
}

// withWorker runs the worker while the cases are played, and returns what the streams say then.
func (d *demonstration) withWorker(ctx context.Context, s *settings, t *telemetry, set scene) (evidence, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started, ended := make(chan running, 1), make(chan error, 1)
	go func() { ended <- serveWith(ctx, s, t, func(r running) { started <- r }) }()
	select {
	case r := <-started:
		err := set.report(d.sim, "http://"+r.edge)
		var found evidence
		if err == nil {
			found, err = d.play(ctx, r)
		}
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
	_ = until(ctx, func() bool { return d.over(ctx, w) })
	return w.evidence(context.WithoutCancel(ctx))
}

// over tells whether nobody has anything left to do. The streams are looked at again after the last report was sent,
// because it may have brought work.
func (d *demonstration) over(ctx context.Context, w *watcher) bool {
	return w.settled(ctx, d.cases) && d.sim.Settled(ctx) == nil && w.settled(ctx, d.cases)
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
	fmt.Fprintln(table, "\nPROVIDER\tCASE\tENDED AS\tMOVED\tLEFT\t")
	for _, c := range d.cases {
		c.print(table, found)
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
