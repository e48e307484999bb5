// Package bbmsl asks BBMSL's PayAPI for refunds, in the hosted checkout and in the direct model: query before
// the first attempt, refund (or void before settlement), query again whenever the answer leaves a doubt.
//
// Guarantee: a refund is called succeeded only on BBMSL's own word, either code 0000 with a transaction of
// the asked amount, or a queried order whose net amount fell by exactly that much. Every answer that nobody
// has documented is an error of kind Unknown.
//
// Non-goal: BBMSL takes no idempotency key and no refund reference, and documents no list of refusal codes.
// The package invents none of them; it reads the order instead. Payment notifications are not handled: BBMSL
// documents none for refunds.
package bbmsl
