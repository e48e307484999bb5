package scripted

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"refundworker/providers"
)

// Config is the settings of one scripted instance.
type Config struct {
	// Latency is how long each call takes. Default 0.
	Latency time.Duration
	// Outcomes is what the calls of each requestId do, one after the other; the last one repeats. Default
	// succeeded. A command's options may bring a script of their own.
	Outcomes []string
	// Capabilities is the sheet to show; nil means a lookup without delay, partial refunds and any number of
	// refunds at once. A KeyLife above 0 is kept, not only shown: a call with a known key gets its old answer.
	Capabilities *providers.Capabilities
}

// Validate returns every problem of the settings, joined; nil when there is none.
func (c Config) Validate() error {
	var problems []error
	if c.Latency < 0 {
		problems = append(problems, errors.New("latency: must not be negative"))
	}
	for i, text := range c.Outcomes {
		if _, err := parseStep(text); err != nil {
			problems = append(problems, fmt.Errorf("outcomes[%d]: %w", i, err))
		}
	}
	return errors.Join(problems...)
}

// Provider answers by script. It is safe for concurrent use.
type Provider struct {
	latency time.Duration
	script  []step
	sheet   providers.Capabilities
	ledger  *ledger
}

var _ providers.Provider = (*Provider)(nil)

// New returns a provider with an empty ledger, or every problem of its settings.
func New(cfg Config) (*Provider, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("scripted settings: %w", err)
	}
	p := &Provider{latency: cfg.Latency, ledger: newLedger(), sheet: providers.Capabilities{
		Lookup: true, PartialRefunds: true, CancelDecidedBy: providers.DecidedByProvider, Asynchronous: true}}
	if cfg.Capabilities != nil {
		p.sheet = *cfg.Capabilities
	}
	for _, text := range cfg.Outcomes {
		s, err := parseStep(text)
		if err != nil {
			return nil, fmt.Errorf("scripted settings: outcomes: %w", err)
		}
		p.script = append(p.script, s)
	}
	if len(p.script) == 0 {
		p.script = []step{plainSteps["succeeded"]}
	}
	return p, nil
}

// Capabilities is the sheet from the settings.
func (p *Provider) Capabilities() providers.Capabilities { return p.sheet }

// Movements returns every movement of money so far, in order.
func (p *Provider) Movements() []Movement {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return slices.Clone(p.ledger.movements)
}

// Prepare checks the options; there is no state to read.
func (p *Provider) Prepare(_ context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	_, err := p.scriptOf("prepare", r)
	return nil, providers.Result{}, err
}

// Refund does the next step of the request's script.
func (p *Provider) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	script, err := p.scriptOf("refund", r)
	if err != nil {
		return providers.Result{}, err
	}
	if ctx.Err() != nil {
		return providers.Result{}, refundError(providers.Unavailable, "cancelled before it was sent")
	}
	if !wait(ctx, p.latency) {
		return providers.Result{}, refundError(providers.Unknown, "no answer in time")
	}
	s := p.ledger.call(r, script, p.sheet.KeyLife)
	if s.panics {
		panic("scripted")
	}
	if s.fails {
		return providers.Result{}, &providers.Error{Kind: s.kind, Op: "refund", RetryAfter: s.after, Err: errors.New("scripted")}
	}
	return s.result, nil
}

// Lookup answers from the ledger.
func (p *Provider) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	if !p.sheet.Lookup {
		return providers.Finding{}, &providers.Error{Op: "lookup", Err: errors.New("not offered")}
	}
	if !wait(ctx, p.latency) {
		return providers.Finding{}, &providers.Error{Op: "lookup", Err: errors.New("no answer in time")}
	}
	res, ok := p.ledger.find(r.RequestID)
	if !ok {
		return providers.Finding{Kind: providers.NotFound}, nil
	}
	return providers.Finding{Kind: providers.Found, Result: res}, nil
}

func (p *Provider) scriptOf(op string, r providers.Request) ([]step, error) {
	own, problems := parseOptions(r.Options)
	if len(problems) > 0 {
		return nil, &providers.Error{Kind: providers.Invalid, Op: op, Err: errors.New("the command cannot be served"), Problems: problems}
	}
	if len(own) > 0 {
		return own, nil
	}
	return p.script, nil
}

func refundError(k providers.Kind, text string) error {
	return &providers.Error{Kind: k, Op: "refund", Err: errors.New(text)}
}

// wait lets the latency pass; false when the context ends first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
