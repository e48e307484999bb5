// Package host is the edge for Google Standard Payments: it hosts, for payment integrators as callers, the methods that
// Google hosts. They report what became of refunds (refundResultNotification, both APIs), that refunds came back
// (reverseRefundNotification, card only), and probe the connection (echo).
//
// # Guarantee
//
// The answer 200 to a report leaves only after its notice is stored in the inbox for good. The same report again gets
// the same answer and is not processed again; another one under the same request id gets 412; errors are never
// remembered. Who cannot prove to hold an account's key learns nothing: an unknown account, an unknown key and garbage
// get one and the same empty 404, after the same work and not before a fixed time. Only so many messages are opened at
// once, and who fails too often is not listened to, unless somebody verified from the same address lately.
//
// # What it does not do
//
// It does not judge results against refunds: a result may overtake everything that is known of its refund, and the
// worker has it wait. Reversals are checked against what is known now, and again by the worker. TLS, header timeouts
// and the number of connections are the listener's.
//
// # What is inferred
//
// Google documents the paths of the redirect API's refundResultNotification and of the card API's
// reverseRefundNotification. The other paths are by analogy with them. So are the card API's result SUCCESS, the status
// 412 with IDEMPOTENCY_VIOLATION, that a key is remembered for account, method and request id together, and all checks
// of reversals but that of the amount's sign.
package host
