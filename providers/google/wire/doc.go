// Package wire is the JSON of Google Standard Payments' refund methods in its two families: the object family of
// redirect-fop-v1 and the flat family of card-fop-v1. A route has one family; it is never guessed from a document.
//
// Guarantee: what decodes is complete, in range and exact, and what does not is refused with the code and the field
// that an endpoint answers with. Nothing passes through a float, no key is read twice, and an answer of the other
// family, an unknown result and an unspecified one are no answer at all.
//
// Non-goal: it neither seals nor opens documents, keeps no memory of requests and knows no payments. The caller
// bounds a document's size before it comes here.
package wire
