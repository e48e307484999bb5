// Package fop asks integrators of Google Standard Payments for refunds: redirect-fop-v1 and card-fop-v1, which are one
// method, asynchronousRefund, in two forms.
//
// Guarantee: a refund is called acknowledged only on a sealed 200 that says so in its API's own words and is not older
// than the protocol allows. Each attempt carries the same content under the same requestId with a fresh timestamp and a
// fresh seal, so the integrator takes it on at most once. An answer that nobody has documented is an error of kind
// Unknown; asking again under the same requestId ends that doubt.
//
// # A no to a repeated call
//
// A request that got 200 is never judged again. A no to a later attempt therefore proves that no earlier one had its 200
// by then. It does not prove that no earlier one will: a first request may still be on its way while the second is
// refused. An integrator shuts such a straggler out by its clock rule, at the latest two skews after the second was
// answered: one because its timestamp then is too old, one because the clocks may be that far apart. So with an earlier
// attempt in doubt no refusal is final. The refund waits those two minutes and asks once more, under the same requestId.
// Had the straggler been taken on, the answer is its 200. Only a command whose notAfter passes in these minutes fails
// as expired without having been asked again.
//
// # A payment that is not there
//
// Refunds may be asked for seconds after the capture, when the integrator's record of the payment can still be missing,
// and errors are not remembered. For an hour after the command's requestedAt an unknown payment is "not now", after
// that it is declined.
//
// Non-goal: the outcome comes by refundResultNotification, which this package does not host, and nothing can be looked
// up. The card API's amounts carry no currency: the capture's is meant, and only a command that names the captured
// amount is protected from naming another.
package fop
