package craftgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// Provider asks one Craftgate merchant for refunds. It is safe for concurrent use.
type Provider struct {
	cfg  Config
	sign signer
	http *providers.HTTPClient
}

var _ providers.Provider = (*Provider)(nil)

// New returns a provider, or every problem of its settings.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("craftgate settings: %w", err)
	}
	p := &Provider{sign: newSigner(cfg.APIKey, cfg.SecretKey), http: providers.NewHTTPClient(cfg.HTTP)}
	cfg.APIKey, cfg.SecretKey, cfg.WebhookKey = "", "", ""
	p.cfg = cfg
	return p, nil
}

// Close drops idle connections.
func (p *Provider) Close() { p.http.Close() }

// Capabilities is Craftgate's sheet. Craftgate takes an idempotency key but does not say for how long it honours one, so
// the sheet promises none: doubt is ended by lookup, and a repeat after it carries the same key all the same. The bank
// refuses a second refund of a payment while one is running.
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Lookup:          true,
		Prepares:        true,
		LookupDelay:     p.cfg.LookupDelay,
		PartialRefunds:  true,
		Concurrent:      providers.OneAtATime,
		CancelDecidedBy: providers.DecidedByProvider,
		Asynchronous:    true,
		DayEnd:          time.FixedZone("TRT", 3*60*60),
	}
}

// Prepare checks the command and reads the payment, its item and what is listed under the refund's conversation id. A
// payment that takes no refund ends the refund here. No failure to read is a doubt, because reading moves no money.
func (p *Provider) Prepare(ctx context.Context, r providers.Request) (providers.Baseline, providers.Result, error) {
	a, err := check(opPrepare, r)
	if err != nil {
		return nil, providers.Result{}, err
	}
	s, err := p.survey(ctx, opPrepare, a)
	if errors.Is(err, errNoPayment) && !a.earlier() {
		return nil, providers.Result{Status: providers.Declined, Reason: schemas.ReasonNotFound}, nil
	}
	if err != nil {
		return nil, providers.Result{}, providers.Harmless(err)
	}
	res, err := a.prepared(opPrepare, s)
	if err != nil {
		return nil, providers.Result{}, providers.Harmless(err)
	}
	baseline, err := json.Marshal(s.state)
	if err != nil {
		return nil, providers.Result{}, &providers.Error{Kind: providers.Unavailable, Op: opPrepare, Err: err}
	}
	return baseline, res, nil
}

// Refund asks for the refund, and looks when the answer leaves a question.
func (p *Provider) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	a, err := check(opRefund, r)
	if err != nil {
		return providers.Result{}, err
	}
	if a.before == nil || a.attempts > 1 {
		res, err := p.readAgain(ctx, &a)
		if err != nil || res.Status != providers.NoResult {
			return res, err
		}
	}
	answer, err := p.post(ctx, a)
	if err != nil {
		return providers.Result{}, err
	}
	return p.conclude(ctx, a, answer)
}

// readAgain reads the payment right before a call that is not the first: days may have passed, and an earlier call may
// have arrived late.
func (p *Provider) readAgain(ctx context.Context, a *ask) (providers.Result, error) {
	s, err := p.survey(ctx, opRefund, *a)
	if err != nil {
		return providers.Result{}, providers.Harmless(err)
	}
	past := *a
	past.attempts = max(a.attempts-1, 0)
	res, err := past.prepared(opRefund, s)
	if a.before == nil {
		a.before = &s.state
	}
	return res, err
}

// Lookup reads what is listed under the refund's conversation id and compares the payment with its state before the
// first attempt.
func (p *Provider) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	a, err := check(opLookup, r)
	if err != nil {
		return providers.Finding{}, err
	}
	// A failure from before the calls in doubt says nothing about them, even if that refund was taken on.
	if a.before == nil || !slices.Contains(a.before.Failed, r.ProviderRefundID) {
		a.taken = r.ProviderRefundID
	}
	s, err := p.survey(ctx, opLookup, a)
	if err != nil {
		return providers.Finding{}, err
	}
	f, err := a.find(s)
	if err != nil {
		return providers.Finding{}, unknown(opLookup, err)
	}
	return f, nil
}

// Resolve is the requestId of the refund that a webhook names, and whether the refund is one of ours. It asks Craftgate,
// because a webhook carries no conversation id that is signed.
func (p *Provider) Resolve(ctx context.Context, t EventType, payloadID string) (schemas.RequestID, bool, error) {
	path := map[EventType]string{EventRefund: "/payment/v1/refunds/", EventRefundTx: "/payment/v1/refund-transactions/"}[t]
	if path == "" || !idForm.MatchString(payloadID) {
		return "", false, nil
	}
	var r record
	if err := p.get(ctx, opResolve, path+payloadID, &r); err != nil {
		return "", false, err
	}
	if string(r.ID) != payloadID {
		return "", false, unknown(opResolve, errors.New("the answer is about another refund"))
	}
	id, ours := RequestIDOf(string(r.ConversationID))
	return id, ours, nil
}
