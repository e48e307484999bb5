package fop

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

const (
	// paymentLag is for how long after requestedAt an unknown payment may still turn up.
	paymentLag = time.Hour
	// stragglerWait is how long after a no an earlier request may still be taken on; see the package comment.
	stragglerWait = 2 * wire.MaxSkew
	// scopeCode is the scope of schemas.ProviderResult.
	scopeCode = "google.errorResponseCode"
)

// answer is a complete HTTP answer and what it answers.
type answer struct {
	request providers.Request
	http    providers.HTTPResponse
	at      time.Time
}

// judge reads an answer.
func (p *Provider) judge(ctx context.Context, a answer) (providers.Result, error) {
	if a.http.Status == http.StatusOK {
		if err := p.acknowledged(a); err != nil {
			return providers.Result{}, a.fail(providers.Unknown, err)
		}
		return providers.Result{Status: providers.Acknowledged}, nil
	}
	refusal := p.refusal(a)
	trace.SpanFromContext(ctx).AddEvent("refused", trace.WithAttributes(
		attribute.Int("google.http_status", a.http.Status), attribute.String("google.error_code", string(refusal.Code))))
	if a.http.Status < 400 || a.http.Status > 499 {
		// A server in trouble, or a front before it, does not know what became of the request.
		return providers.Result{}, a.fail(providers.Unknown, describe(refusal))
	}
	row, known := answerOf(refusal.Code, a.about(refusal), a.http.Status)
	if !known || row.Status == providers.NoResult {
		return providers.Result{}, a.fail(row.Kind, describe(refusal))
	}
	res := providers.Result{Status: row.Status, Reason: row.Reason, Raw: said(refusal)}
	if a.request.Attempt > 1 && (res.Status == providers.Declined || res.Status == providers.NotNow) {
		// A "not now" as well: without the wait the next no could be final while the straggler is on its way.
		res.Status, res.Reason, res.After = providers.NotNow, schemas.ReasonProviderBusy, stragglerWait
	}
	return res, nil
}

// acknowledged tells what is wrong with a 200; nil when the refund was taken on.
func (p *Provider) acknowledged(a answer) error {
	if mediaType(a.http.ContentType) != mediaType(p.cfg.Seal.ContentType()) {
		return errors.New("the answer has another content type")
	}
	document, err := p.cfg.Seal.Open(a.http.Body)
	if err != nil {
		return fmt.Errorf("opening the answer: %w", err)
	}
	at, err := p.cfg.API.family().DecodeRefundResponse(document)
	if err == nil && !wire.Fresh(at, a.at) {
		// The answer names no refund, so one that was caught earlier would fit any.
		err = errors.New("the answer was made more than 60 s from now")
	}
	return err
}

func mediaType(header string) string {
	t, _, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	return t
}

// refusal is what an answer that refused says. Its code counts only when it comes out of the integrator's own seal and
// is fresh. One about clocks cannot be fresh, and decides nothing.
func (p *Provider) refusal(a answer) wire.ErrorResponse {
	document, err := p.cfg.Seal.Open(a.http.Body)
	if err != nil {
		return wire.ErrorResponse{}
	}
	e, readable := wire.DecodeErrorResponse(document)
	if !readable || e.Code != wire.RequestTimestampOutOfRange && !wire.Fresh(e.Timestamp, a.at) {
		return wire.ErrorResponse{}
	}
	return e
}

// about tells what an unknown identifier is one of. The redirect API names it. The card API has only its description,
// which should name it; without a word about accounts it is the payment, because an unknown account is seldom told at
// all.
func (a answer) about(e wire.ErrorResponse) Case {
	if e.Code != wire.InvalidIdentifier {
		return ""
	}
	told := strings.ToLower(e.Field)
	if told == "" {
		told = strings.ToLower(e.Description)
	}
	switch {
	case strings.Contains(told, "account") && !strings.Contains(told, "capture"):
		return OfAccount
	case a.at.Sub(a.request.RequestedAt) < paymentLag:
		return OfYoungPayment
	}
	return OfPayment
}

func (a answer) fail(kind providers.Kind, err error) error {
	return &providers.Error{Kind: kind, Op: opRefund, Err: fmt.Errorf("http status %d: %w", a.http.Status, err),
		RetryAfter: providers.RetryAfter(a.http.Header, a.at)}
}

var plainField = regexp.MustCompile(`^[a-zA-Z0-9_.]{1,100}$`)

// describe is a refusal in our words. A field is quoted only when it can be the name of one.
func describe(e wire.ErrorResponse) error {
	switch {
	case e.Code == "":
		return errors.New("refused without a code")
	case plainField.MatchString(e.Field):
		return fmt.Errorf("%s at %s", e.Code, e.Field)
	}
	return errors.New(string(e.Code))
}

// said is what the integrator answered; nil when it gave no code.
func said(e wire.ErrorResponse) *schemas.ProviderResult {
	if e.Code == "" {
		return nil
	}
	return &schemas.ProviderResult{Scope: scopeCode, Code: string(e.Code), Message: providers.CleanMessage(e.Description)}
}
