// Package craftgate asks Craftgate for refunds of whole payments and of single items of a payment, looks them up by the
// refund's own conversation id, and takes in Craftgate's webhooks as hints to look.
//
// Guarantee: a refund is called succeeded or cancelled only on Craftgate's own word, with the asked amount, for the asked
// payment and under the refund's own conversation id. A whole payment is refunded only when the asked amount is what was
// read to be left of it, because that call carries no amount. Whatever Craftgate's pages leave open is an error of kind
// Unknown.
//
// Non-goal: the idempotency key is sent with every refund, yet nothing rests on it, because Craftgate says neither how long
// a key lives nor what a repeat does while the first request still runs. What a webhook claims is never believed; it is
// looked up.
package craftgate
