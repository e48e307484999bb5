package fop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"refundworker/providers"
	"refundworker/providers/google/wire"
)

// Provider asks one integrator account for refunds. It is safe for concurrent use.
type Provider struct {
	cfg  Config
	http *providers.HTTPClient
}

var _ providers.Provider = (*Provider)(nil)

// New returns a provider, or every problem of its settings.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%s settings: %w", cfg.API, err)
	}
	return &Provider{cfg: cfg, http: providers.NewHTTPClient(cfg.HTTP)}, nil
}

// Close drops idle connections.
func (p *Provider) Close() { p.http.Close() }

// keyLife is how long a requestId keeps a refund from being made twice. The protocol bids the integrator to keep it as
// long as the payment, and gives refunds no end date; a year is longer than any doubt may last here.
const keyLife = 365 * 24 * time.Hour

// Capabilities is the protocol's sheet: a key for life, results by notice, nothing to look up.
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		KeyLife:         keyLife,
		PartialRefunds:  true,
		Concurrent:      providers.Unbounded,
		CancelDecidedBy: providers.NeverCancels,
		Asynchronous:    true,
		// Only what was answered with SUCCESS has a result, and the same requestId is answered alike from then on.
		FailuresAreFinal: true,
		OneKey:           true,
	}
}

// Prepare checks the command. It makes no call and has no baseline: the protocol shows nothing of a payment.
func (p *Provider) Prepare(_ context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	return nil, providers.Result{}, check("prepare", r)
}

// Refund asks the integrator to take the refund on. The key is always the requestId, also after a "not now": errors are
// not remembered, so a key that was refused is as good as new.
func (p *Provider) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	if err := check(opRefund, r); err != nil {
		return providers.Result{}, err
	}
	message, err := p.cfg.Seal.Seal(p.document(r, time.Now()))
	if err != nil {
		return providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: opRefund,
			Err: fmt.Errorf("sealing the request: %w", err)}
	}
	contentType := p.cfg.Seal.ContentType()
	resp, err := p.http.Do(ctx, providers.HTTPRequest{Op: opRefund, Method: http.MethodPost, URL: p.cfg.BaseURL + p.cfg.API.path(),
		Header: http.Header{"Content-Type": {contentType}, "Accept": {contentType}}, Body: message})
	if err != nil {
		return providers.Result{}, err
	}
	return p.judge(ctx, answer{request: r, http: resp, at: time.Now()})
}

// document is what is asked for. Of one refund's documents only the timestamp ever differs.
func (p *Provider) document(r providers.Request, now time.Time) []byte {
	return p.cfg.API.family().EncodeRefund(wire.RefundRequest{
		Header:           wire.Header{RequestID: r.RequestID, Account: p.cfg.Account, Timestamp: now},
		CaptureRequestID: r.Payment.Reference,
		Amount:           r.Amount,
	})
}

// Lookup has nothing to ask: the protocol has no such method.
func (p *Provider) Lookup(context.Context, providers.Request) (providers.Finding, error) {
	return providers.Finding{}, &providers.Error{Kind: providers.Unavailable, Op: "lookup",
		Err: errors.New("the protocol has no lookup")}
}
