package host

import (
	"context"
	"errors"
	"fmt"

	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// Methods, as Observe names them.
const (
	MethodResult   = "refundResultNotification"
	MethodReversal = "reverseRefundNotification"
	MethodEcho     = "echo"
)

// route is one hosted method of one API.
type route struct {
	api     string
	family  wire.Family
	method  string
	pattern string
	// handle returns the document to answer with. A *wire.Error refuses the request, errOtherAccount disowns it, and
	// any other error has the sender come again.
	handle func(*call, context.Context) ([]byte, error)
}

const (
	redirectPath = "/gsp/redirect-fop-v1/"
	cardPath     = "/secure-serving/gsp/google-card-fop-api/v1/"
)

var routes = []route{
	{RedirectFOP, wire.Object, MethodResult, redirectPath + MethodResult + "/{piaid}", (*call).result},
	{RedirectFOP, wire.Object, MethodEcho, redirectPath + MethodEcho + "/{piaid}", (*call).echo},
	{CardFOP, wire.Flat, MethodResult, cardPath + MethodResult + "/{piaid}", (*call).result},
	{CardFOP, wire.Flat, MethodReversal, cardPath + MethodReversal + "/{piaid}", (*call).reversal},
	{CardFOP, wire.Flat, MethodEcho, cardPath + MethodEcho + "/{piaid}", (*call).echo},
}

// echo answers a probe. There is nothing to remember.
func (c *call) echo(context.Context) ([]byte, error) {
	e, err := c.route.family.DecodeEcho(c.document)
	if err != nil {
		return nil, err
	}
	// The flat family's probes may name no account: the path and the key do.
	if e.Account == "" {
		e.Account = c.piaid
	}
	if err := c.admit(e.Header); err != nil {
		return nil, err
	}
	return c.route.family.EncodeEcho(c.now, e.ClientMessage), nil
}

// admit makes the checks that follow the document's own: the clock, then the account. The clock stands before all that
// could be fished for with a captured message.
func (c *call) admit(h wire.Header) error {
	if err := h.CheckClock(c.now); err != nil {
		return err
	}
	if h.Account != c.piaid {
		return errOtherAccount
	}
	c.verified = true
	return nil
}

// result takes in what became of a refund, whatever is known of it so far.
func (c *call) result(ctx context.Context) ([]byte, error) {
	n, err := c.route.family.DecodeResult(c.document)
	if err != nil {
		return nil, err
	}
	return c.take(ctx, n.Header, func() (schemas.Notice, error) {
		notice := c.notice(n.Header, n.RefundRequestID)
		notice.Type = schemas.NoticeResultType
		notice.Result = resultOf(n)
		return notice, nil
	})
}

// reversal takes in that a refund came back. It has no currency of its own: the refund's is meant.
func (c *call) reversal(ctx context.Context) ([]byte, error) {
	n, err := c.route.family.DecodeReversal(c.document)
	if err != nil {
		return nil, err
	}
	return c.take(ctx, n.Header, func() (schemas.Notice, error) {
		refund, err := c.cfg.Inbox.Refund(ctx, n.RefundRequestID)
		if err != nil {
			return schemas.Notice{}, fmt.Errorf("read the refund: %w", err)
		}
		notice := c.notice(n.Header, n.RefundRequestID)
		notice.Type = schemas.NoticeReversalType
		notice.Reversal, err = reversalOf(n, refund)
		return notice, err
	})
}

// take stores a report once. The notice is only made, and the refund only asked about, for a report that is new.
func (c *call) take(ctx context.Context, h wire.Header, report func() (schemas.Notice, error)) ([]byte, error) {
	if err := c.admit(h); err != nil {
		return nil, err
	}
	m := providers.Message{Provider: c.account.Provider, Key: c.name(h.RequestID), Content: h.Content}
	seen, err := c.cfg.Inbox.Recall(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("recall the request: %w", err)
	}
	if seen == providers.New {
		notice, err := report()
		if err != nil {
			return nil, err
		}
		if seen, err = c.cfg.Inbox.Store(ctx, m, notice); err != nil {
			return nil, fmt.Errorf("store the notice: %w", err)
		}
	}
	if seen == providers.Other {
		return nil, &wire.Error{Code: wire.IdempotencyViolation, Field: "requestHeader.requestId",
			Detail: "the requestId was accepted with other content"}
	}
	c.repeated = seen == providers.Same
	return c.route.family.EncodeAccepted(c.now), nil
}

var errAmountUnknown = errors.New("the refund's amount is not known yet")

// reversalOf judges a reversal by what is known of its refund now. The worker judges it again with all that is known
// when it is settled: two of them may pass here at once.
func reversalOf(n wire.ReversalNotification, refund providers.KnownRefund) (*schemas.NoticeReversal, error) {
	amount := schemas.Money{Micros: n.Micros, Currency: refund.Amount.Currency}
	switch {
	case !refund.Known:
		return nil, &wire.Error{Code: wire.InvalidIdentifier, Field: "refundRequestId", Detail: "the refund is unknown"}
	case refund.Outcome == schemas.KindFailed:
		return nil, &wire.Error{Code: wire.PreconditionViolation, Field: "refundRequestId", Detail: "the refund has failed"}
	case refund.Amount == schemas.Money{}:
		return nil, errAmountUnknown
	case n.Micros > refund.Amount.Micros-refund.Reversed.Micros:
		return nil, &wire.Error{Code: wire.PreconditionViolation, Field: "amount", Detail: "more than is left of the refund"}
	}
	if _, err := amount.Minor(); err != nil {
		return nil, &wire.Error{Code: wire.InvalidFieldValue, Field: "amount", Detail: "not a whole number of the currency's minor units"}
	}
	return &schemas.NoticeReversal{Amount: amount, RawResult: rawResult(n.Raw)}, nil
}
