package wire

import "refundworker/schemas"

// decodeRefund reads a request for a refund, as the integrator on the other side would. It holds the encoder to the
// vectors, and the reader's order of checks to the method that has most of them.
func (f Family) decodeRefund(document []byte) (RefundRequest, error) {
	root, h, err := f.request(document)
	if err != nil {
		return RefundRequest{}, err
	}
	h.Account = root.account()
	r := RefundRequest{Header: h, CaptureRequestID: string(root.id("captureRequestId"))}
	if f == Flat {
		r.Amount.Micros = root.micros("refundAmount")
	} else {
		amount := root.requiredObject("refundAmount")
		r.Amount = schemas.Money{Micros: amount.micros("amountMicros"),
			Currency: schemas.Currency(amount.requiredText("currencyCode"))}
		if _, known := r.Amount.Currency.Exponent(); !known && r.Amount.Currency != "" {
			amount.invalid("currencyCode", "a currency of ISO 4217 is needed")
		}
	}
	return r, root.r.err()
}
