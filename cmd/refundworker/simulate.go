package main

import (
	"context"
	"fmt"
	"os"

	"refundworker/providers/simulator"
)

const defaultSimulatorListen = "127.0.0.1:9090"

// simulate plays the providers until ctx ends.
func (p *program) simulate(ctx context.Context, args []string) error {
	set := p.flags("simulate")
	address := set.String("listen", defaultSimulatorListen, "`address` of the providers' protocols and of /_control/")
	seed := set.String("seed", "", "`file` of merchants, payments and faults to begin with (JSON)")
	if _, err := p.parse(set, args, 0); err != nil {
		return err
	}
	sim := simulator.New(simulator.Options{})
	defer sim.Close()
	if *seed != "" {
		if err := seedFrom(sim, *seed); err != nil {
			return usageError{err}
		}
	}
	l, err := listen(*address, sim)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer l.close()
	fmt.Fprintf(p.stderr, "simulator on http://%s (providers under /bbmsl/, /craftgate/ and /google/, control under /_control/)\n", l.address)
	<-ctx.Done()
	return nil
}

func seedFrom(sim *simulator.Server, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	defer f.Close()
	if err := sim.Seed(f); err != nil {
		return fmt.Errorf("seed %s: %w", path, err)
	}
	return nil
}
