package bbmsl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"refundworker/providers"
)

func (p *Provider) inner(h orderHandle) inner {
	return inner{MerchantID: p.cfg.MerchantID, OrderID: json.Number(h.id), MerchantReference: h.reference}
}

// query reads an order's state.
func (p *Provider) query(ctx context.Context, h orderHandle) (state, error) {
	a, err := p.call(ctx, opQuery, p.inner(h))
	if err != nil {
		return state{}, err
	}
	switch {
	case a.ResponseCode != codeSuccess:
		return state{}, unknown(string(opQuery), fmt.Errorf("%w: code %s", providers.ErrRefused, cleanCode(a.ResponseCode)))
	case a.Order == nil:
		return state{}, unknown(string(opQuery), errors.New("the answer has no order"))
	case !a.Order.about(h):
		return state{}, unknown(string(opQuery), errors.New("the answer is about another order"))
	}
	s, err := stateOf(*a.Order)
	if err != nil {
		return state{}, unknown(string(opQuery), err)
	}
	return s, nil
}

// call makes one signed call and returns BBMSL's answer, yes or no.
func (p *Provider) call(ctx context.Context, op operation, in inner) (answer, error) {
	body, err := seal(p.key, in)
	if err != nil {
		return answer{}, &providers.Error{Kind: providers.Unavailable, Op: string(op), Err: fmt.Errorf("signing the request: %w", err)}
	}
	resp, err := p.http.Do(ctx, providers.HTTPRequest{Op: string(op), Method: http.MethodPost,
		URL:    p.cfg.BaseURL + p.cfg.Model.path(op),
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}, Body: body})
	if err != nil {
		return answer{}, err
	}
	a, err := judgeHTTP(op, resp, time.Now())
	if err == nil {
		// No list of codes is public: the traces are where one can be gathered.
		trace.SpanFromContext(ctx).AddEvent("answered", trace.WithAttributes(
			attribute.String("bbmsl.operation", string(op)),
			attribute.String("bbmsl.response_code", cleanCode(a.ResponseCode))))
	}
	return a, err
}

// judgeHTTP reads an answer whatever its content type says, but believes a yes on 2xx only and nothing at all
// on redirects and server errors: a proxy writes those without knowing what happened behind it. 401 and 403
// without an answer of BBMSL are its allow-list of addresses, which stands before the API.
func judgeHTTP(op operation, r providers.HTTPResponse, now time.Time) (answer, error) {
	status := fmt.Errorf("http status %d", r.Status)
	fail := func(k providers.Kind, err error) (answer, error) {
		return answer{}, &providers.Error{Kind: k, Op: string(op), Err: err, RetryAfter: providers.RetryAfter(r.Header, now)}
	}
	a, err := readAnswer(r.Body)
	switch {
	case r.Status == http.StatusTooManyRequests:
		return fail(providers.RateLimited, status)
	case r.Status >= 500 || r.Status < 200 || r.Status >= 300 && r.Status < 400:
		return fail(providers.Unknown, status)
	case err != nil && (r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden):
		return fail(providers.Unauthorized, status)
	case err != nil:
		return fail(providers.Unknown, fmt.Errorf("%w: %w", status, err))
	case r.Status >= 400 && a.ResponseCode == codeSuccess:
		return fail(providers.Unknown, fmt.Errorf("%w with a code of success", status))
	}
	return a, nil
}

func unknown(op string, err error) error {
	return &providers.Error{Kind: providers.Unknown, Op: op, Err: err}
}
