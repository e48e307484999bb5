package bbmsl

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"time"

	"refundworker/providers"
)

// Provider asks one BBMSL merchant account for refunds. It is safe for concurrent use.
type Provider struct {
	cfg  Config
	key  *rsa.PrivateKey
	http *providers.HTTPClient
}

var _ providers.Provider = (*Provider)(nil)

// New returns a provider, or every problem of its settings.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bbmsl settings: %w", err)
	}
	key, err := parseKey(cfg.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("bbmsl settings: privateKey: %w", err)
	}
	cfg.PrivateKey = "" // fmt does not ask a secret inside a private field how it wants to be printed
	return &Provider{cfg: cfg, key: key, http: providers.NewHTTPClient(cfg.HTTP)}, nil
}

// Close drops idle connections.
func (p *Provider) Close() { p.http.Close() }

// Capabilities is BBMSL's sheet: no idempotency key, a lookup by order, one refund of an order ever.
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Lookup:          true,
		Prepares:        true,
		LookupDelay:     p.cfg.LookupDelay,
		PartialRefunds:  true,
		Concurrent:      providers.OneEver,
		CancelDecidedBy: providers.DecidedByAdapter,
		DayEnd:          time.FixedZone("HKT", 8*60*60),
	}
}

// Prepare checks the command and reads the order. The order's state is the baseline; an order that takes no
// refund ends the refund here. A failed query is Unavailable at worst, because a query moves no money; one
// that BBMSL refuses too, since an unknown order cannot be told from a passing trouble by its code.
func (p *Provider) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	const op = "prepare"
	handle, _, err := check(op, r)
	if err != nil {
		return nil, providers.Result{}, err
	}
	now, err := p.query(ctx, handle)
	if err != nil {
		return nil, providers.Result{}, providers.Harmless(err)
	}
	// A baseline of an earlier round means that a refund of our amount may be our own.
	res, open, err := closed(now, r.Amount, r.Attempt > 0 || len(r.Baseline) > 0)
	if err != nil {
		return nil, providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: op, Err: err}
	}
	if open {
		res = fits(now, r.Amount)
	}
	baseline, err := json.Marshal(now)
	if err != nil {
		return nil, providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: op, Err: err}
	}
	return baseline, res, nil
}

// Refund refunds or voids the order, and reads it again when the answer leaves a question.
func (p *Provider) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	handle, amount, err := check("refund", r)
	if err != nil {
		return providers.Result{}, err
	}
	now, res, err := p.before(ctx, handle, r)
	if err != nil || res.Status != providers.NoResult {
		return res, err
	}
	op, res := p.cfg.choose(now, r.Amount)
	if res.Status != providers.NoResult {
		return res, nil
	}
	in := p.inner(handle)
	if op == opRefund {
		in.Amount = amount
	}
	a, err := p.call(ctx, op, in)
	if err != nil {
		return providers.Result{}, err
	}
	return p.conclude(ctx, attempt{request: r, handle: handle, op: op}, a)
}

// before is the order's state right before a call. A first attempt has it from Prepare; a later one reads
// again, because days may have passed and an earlier attempt may have arrived late.
func (p *Provider) before(ctx context.Context, h orderHandle, r providers.Request) (state, providers.Result, error) {
	known, err := readBaseline(r.Baseline)
	if err != nil {
		return state{}, providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: "refund", Err: err}
	}
	if known != nil && r.Attempt <= 1 {
		return *known, providers.Result{}, nil
	}
	now, err := p.query(ctx, h)
	if err != nil {
		return state{}, providers.Result{}, providers.Harmless(err)
	}
	res, open, err := closed(now, r.Amount, r.Attempt > 1)
	if err != nil {
		return state{}, providers.Result{}, unknown("refund", err)
	}
	if open {
		res = fits(now, r.Amount)
	}
	return now, res, nil
}

// Lookup reads the order and compares it with its state before the first attempt.
func (p *Provider) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	handle, _, err := check("lookup", r)
	if err != nil {
		return providers.Finding{}, err
	}
	before, err := readBaseline(r.Baseline)
	if err != nil {
		return providers.Finding{}, unknown("lookup", err)
	}
	now, err := p.query(ctx, handle)
	if err != nil {
		return providers.Finding{}, err
	}
	finding, err := find(before, now, r.Amount)
	if err != nil {
		return providers.Finding{}, unknown("lookup", err)
	}
	return finding, nil
}
