// Package refund is the life of one refund, from claim to acknowledgement: how money is kept from moving twice, and
// how no refund is forgotten. It can be read by itself.
//
// # The rule
//
// The journal holds one subject for each refund, and an event about a refund is stored only if the sequence that its
// append names is still that subject's last. So whoever stores anything about a refund has known all that was stored
// before. A refused append means: read the chain, decide anew, and keep nothing of what was learnt before.
//
//	take a lease ─► read the chain ─► decide ─┬─► append `dispatched` behind it ─► call ─► append what happened ─► end
//	                      ▲                   └─► append what is known already ─► end
//	                      └───────────────── refused: somebody stored something meanwhile
//
// The lease saves work and nothing else. It may be lost, stolen, or given to two at once: of two appends behind one head
// the journal stores one, and the other's worker makes no call.
//
// # States
//
//	(nothing) ──► dispatched ──► succeeded | cancelled | failed
//	                 │  ▲
//	                 ├──┤ deferred        the provider said "not now": surely nothing moved
//	                 ├──┤ (clean)         the call surely did nothing; known in Redis only, and a lookup tells it again
//	                 ├──► acknowledged    the provider took it on; a lookup or a notice tells the result
//	                 └──► parked ──► resumed    a person decides
//
// A refund is in doubt while an attempt is journalled that is not proven to have done nothing. Doubt ends by a lookup
// that is asked late enough, by repeating the call under the same key while the provider knows it, or by a person.
//
// # What each crash leaves behind
//
//   - before `dispatched` is stored: nothing. The message comes again.
//   - after it, before the call: a doubt that a lookup ends, or a repeat under the same key.
//   - after the call, before its answer is stored: the same doubt. Money that moved is found.
//   - after the answer is stored, before the acknowledgement: the message comes again and finds the outcome.
//   - an append that was sent and is stored long after its sender gave up: it is stored behind the head that it names,
//     or not at all. A late intent is a doubt; a late `failed` lands only where nobody has done anything since.
//
// What conditions cannot stop is a request that is still on its way to the provider. So each intent says until when
// its worker may call, and whoever is in doubt waits for that, and a margin, before "not found" counts or a call is
// repeated. The margin covers requests that travel slowly and clocks that are apart, both at once.
//
// # The rules
//
// Each was taken out of the source once, and the search found what went wrong without it.
//
//  1. An append about a refund names the head of the chain that it was decided from.
//  2. After a refusal the whole chain is read, and everything is decided anew.
//  3. Nothing that was learnt before a refusal survives it, least of all "not found".
//  4. A head counts as the own event only if owner, attempt and kind are the own ones.
//  5. An intent says until when its call may leave, counted from before the lease was asked for.
//  6. That deadline, with the call's timeout inside it, is looked at right before the call.
//  7. A repeat under a key leaves only when nothing earlier can still arrive, under the key of the attempt in doubt, and
//     inside the key's life.
//  8. "Not found" counts only if asked late enough after the last lease.
//  9. A person is asked, and heard, only when nothing can still arrive.
//  10. A notice of failure settles a refund only if it had one attempt, or all had one key under which the provider takes
//     nothing on again; else it prompts a lookup.
//  11. An older attempt's "no" does not contradict a later one's success.
//  12. A success that is refused is appended behind the new head while there is no outcome.
//  13. Every other answer that is refused is dropped, and decided anew.
//  14. Past its deadline a worker appends nothing but money that moved.
//  15. "Surely did nothing" is about the own attempt, and about earlier ones only where a lookup cleared them.
//  16. A lookup shows what the provider took on, or the provider counts as one without.
//
// # What it does not do
//
// It knows no JetStream, no Redis, no HTTP, no goroutine and no clock: all it reaches are the ports of ports.go, and all
// it decides are the pure functions of the decide files. So every interleaving of it can be searched, and is.
package refund
