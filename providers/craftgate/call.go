package craftgate

import (
	"bytes"
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

// Operations, as errors name them.
const (
	opPrepare = "prepare"
	opRefund  = "refund"
	opLookup  = "lookup"
	opResolve = "resolve"
)

// reply is Craftgate's answer: data, or why not.
type reply struct {
	data    json.RawMessage
	refusal *refusal
	status  int
}

// errNoSuch is in the error of a read whose subject Craftgate does not know, or whose address nobody serves.
var errNoSuch = errors.New("there is no such record")

// post asks for the refund.
func (p *Provider) post(ctx context.Context, a ask) (reply, error) {
	body, err := a.body()
	if err != nil {
		return reply{}, &providers.Error{Kind: providers.Unavailable, Op: opRefund, Err: fmt.Errorf("writing the request: %w", err)}
	}
	path := "/payment/v1/refund-transactions"
	if a.whole() {
		path = "/payment/v1/refunds"
	}
	address := p.cfg.BaseURL + path
	header := p.sign(address, body)
	header.Set("Content-Type", "application/json")
	if a.key != "" {
		header.Set("x-idempotency-key", a.key)
	}
	return p.do(ctx, providers.HTTPRequest{Op: opRefund, Method: http.MethodPost, URL: address, Header: header, Body: body})
}

// get reads into v. Being refused a read leaves open what was to be known.
func (p *Provider) get(ctx context.Context, op, path string, v any) error {
	address := p.cfg.BaseURL + path
	r, err := p.do(ctx, providers.HTTPRequest{Op: op, Method: http.MethodGet, URL: address, Header: p.sign(address, nil)})
	switch {
	case err != nil:
		return err
	case r.refusal != nil && r.status == http.StatusNotFound:
		return unknown(op, fmt.Errorf("%w: %w", providers.ErrRefused, errNoSuch))
	case r.refusal != nil:
		return unknown(op, fmt.Errorf("%w: %s", providers.ErrRefused, r.refusal.name()))
	case json.Unmarshal(r.data, v) != nil:
		return unknown(op, errors.New("the answer is not readable"))
	}
	return nil
}

func (p *Provider) do(ctx context.Context, q providers.HTTPRequest) (reply, error) {
	resp, err := p.http.Do(ctx, q)
	if err != nil {
		return reply{}, err
	}
	r, err := judgeHTTP(q.Op, resp, time.Now())
	if err == nil && r.refusal != nil {
		// The numbers behind the groups are not published: the traces are where they can be gathered.
		trace.SpanFromContext(ctx).AddEvent("refused", trace.WithAttributes(
			attribute.String("craftgate.error_group", cleanCode(r.refusal.Group)),
			attribute.String("craftgate.error_code", cleanCode(r.refusal.Code))))
	}
	return r, err
}

// judgeHTTP reads an answer whatever its content type says, but believes data on 2xx only and nothing at all on
// redirects and server errors: a proxy writes those without knowing what happened behind it. A group is the bank's word
// whatever the status: TOO_MANY_REQUESTS means that a refund is running, and must not pass for a rate limit.
func judgeHTTP(op string, r providers.HTTPResponse, now time.Time) (reply, error) {
	status := fmt.Errorf("http status %d", r.Status)
	fail := func(k providers.Kind, err error) (reply, error) {
		return reply{}, &providers.Error{Kind: k, Op: op, Err: err, RetryAfter: providers.RetryAfter(r.Header, now)}
	}
	a, err := readReply(r.Body)
	a.status = r.Status
	grouped := a.refusal != nil && a.refusal.Group != ""
	switch {
	case r.Status >= 500 || r.Status < 200 || r.Status >= 300 && r.Status < 400:
		return fail(providers.Unknown, status)
	case r.Status == http.StatusTooManyRequests && !grouped:
		return fail(providers.RateLimited, status)
	case (r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden) && !grouped:
		return fail(providers.Unauthorized, status)
	case err != nil:
		return fail(providers.Unknown, fmt.Errorf("%w: %w", status, err))
	case (r.Status < 300) != (a.refusal == nil):
		return fail(providers.Unknown, fmt.Errorf("%w does not fit the answer", status))
	}
	return a, nil
}

// readReply decodes an envelope. Its errors hold nothing of the body.
func readReply(body []byte) (reply, error) {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return reply{}, errors.New("the answer is not readable JSON")
	}
	hasData := len(e.Data) > 0 && !bytes.Equal(e.Data, []byte("null"))
	switch {
	case hasData == (e.Errors != nil):
		return reply{}, errors.New("the answer has neither data nor errors, or both")
	case e.Errors != nil && e.Errors.Code == "" && e.Errors.Group == "":
		return reply{}, errors.New("the answer's errors have no code")
	}
	return reply{data: e.Data, refusal: e.Errors}, nil
}

func unknown(op string, err error) error {
	return &providers.Error{Kind: providers.Unknown, Op: op, Err: err}
}
