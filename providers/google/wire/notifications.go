package wire

import (
	"time"

	"refundworker/schemas"
)

// RawResult is what the integrator's own processor said. Both are free texts of at most 200 characters; the scope may
// be empty.
type RawResult struct {
	Scope string `json:"scope,omitempty"`
	Code  string `json:"rawCode"`
}

// ResultNotification tells what became of a refund: refundResultNotification.
type ResultNotification struct {
	Header
	// RefundRequestID is the request id of the refund that the result belongs to.
	RefundRequestID schemas.RequestID
	// IntegratorRefundID is the integrator's own id of the refund, at most 200 characters; empty when it gave none.
	IntegratorRefundID string
	// Result is the row of Results that the notification names.
	Result Result
	// Raw is nil when the integrator gave none.
	Raw *RawResult
}

// DecodeResult reads the result of a refund. Its errors are of type *Error.
func (f Family) DecodeResult(document []byte) (ResultNotification, error) {
	root, h, err := f.request(document)
	if err != nil {
		return ResultNotification{}, err
	}
	h.Account = root.account()
	n := ResultNotification{Header: h, RefundRequestID: root.id("refundRequestId"),
		IntegratorRefundID: root.keepable("paymentIntegratorRefundId", root.text("paymentIntegratorRefundId"))}
	if f == Flat {
		n.Result = root.known("refundResult", root.requiredText("refundResult"))
		n.Raw = root.raw()
	} else {
		name, member := root.requiredObject("result").only()
		n.Result = root.known("result", name)
		n.Raw = member.raw()
	}
	if err := root.r.err(); err != nil {
		return ResultNotification{}, err
	}
	return n, nil
}

// ReversalNotification tells that a refund which had succeeded came back, or a part of it: reverseRefundNotification.
type ReversalNotification struct {
	Header
	RefundRequestID schemas.RequestID
	// Micros is how much came back, in millionths of the capture's currency. It is positive.
	Micros int64
	Raw    RawResult
}

// DecodeReversal reads the reversal of a refund. Its errors are of type *Error. The object family, of which only a
// sibling API has this method, writes the amount as the flat one does.
func (f Family) DecodeReversal(document []byte) (ReversalNotification, error) {
	root, h, err := f.request(document)
	if err != nil {
		return ReversalNotification{}, err
	}
	h.Account = root.account()
	n := ReversalNotification{Header: h, RefundRequestID: root.id("refundRequestId"), Micros: root.micros("amount")}
	if root.node.member("rawResult") == nil {
		root.missing("rawResult")
	}
	if raw := root.raw(); raw != nil {
		n.Raw = *raw
	}
	if err := root.r.err(); err != nil {
		return ReversalNotification{}, err
	}
	return n, nil
}

// raw reads the rawResult of an object, nil when it has none.
func (f fields) raw() *RawResult {
	o := f.object("rawResult")
	if o.node == nil {
		return nil
	}
	return &RawResult{Scope: o.keepable("scope", o.text("scope")), Code: o.keepable("rawCode", o.requiredText("rawCode"))}
}

// EncodeAccepted writes the answer that takes in a result or a reversal.
func (f Family) EncodeAccepted(now time.Time) []byte {
	d := f.newResponse(now)
	d["result"] = f.result(f.name("accepted", "SUCCESS"))
	return d.encode()
}
