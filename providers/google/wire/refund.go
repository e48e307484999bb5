package wire

import (
	"fmt"
	"time"

	"refundworker/schemas"
)

// RefundRequest asks an integrator for the refund of a payment or of a part of it: asynchronousRefund.
type RefundRequest struct {
	Header
	// CaptureRequestID is the request id that the payment began with.
	CaptureRequestID string
	// Amount is positive. The flat family sends no currency: the capture's is meant.
	Amount schemas.Money
}

// EncodeRefund writes a request for a refund. The caller vouches for its values.
func (f Family) EncodeRefund(r RefundRequest) []byte {
	d := f.newRequest(r.Header)
	d["captureRequestId"] = r.CaptureRequestID
	d["refundAmount"] = f.amount(r.Amount)
	return d.encode()
}

// DecodeRefundResponse reads the answer to a request for a refund and returns when it was made. It has no error only
// when the integrator acknowledged the refund in so many words: every other document is no answer.
func (f Family) DecodeRefundResponse(document []byte) (time.Time, error) {
	at, err := f.response(document, f.name("acknowledged", "ACKNOWLEDGED"))
	if err != nil {
		return time.Time{}, fmt.Errorf("read the acknowledgement: %w", err)
	}
	return at, nil
}
