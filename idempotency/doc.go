// Package idempotency decides who may act on a requestId, and remembers what was done.
//
// The journal (the event stream) is the truth. Redis holds two things: leases, which only save work, and a
// projection of the journal, which answers "was this refund dispatched, deferred, settled?" in one round
// trip. A flushed, restarted, rolled-back or failed-over Redis is rebuilt from the journal: it costs time,
// not money.
//
// # Guarantee
//
// Claims are answered while Redis takes writes and keeps time, and the journal is the one that was projected. Where the
// projection is gone or was further on before, the answer is BEHIND, with the lease: the journal has to be asked. What waits
// for the projection is a payment's verdict, and nothing else.
//
// Nothing about money rests on what a claim answers: whoever holds a lease reads the refund's events from the journal,
// decides from them, and stores nothing that does not name the last of them (package refund of the consumer). A lease that is
// lost, stolen, given to two or overrun wastes a round, and so does an answer that is old, empty or wrong.
//
// # A payment's guard, and a provider's pace
//
// The same fold decides what a payment has left. An intent gets its refund's share, its hold, where the captured amount
// leaves room after what was refunded and what others hold, and where nobody else is at work if the provider takes one
// refund at a time. The order of the journal decides, so every worker and every rebuild come to the same answer:
// whoever waits until its own intent is applied, and calls only when it has its hold, never refunds more than was
// captured. A hold ends with its refund's outcome and with nothing else.
//
// What somebody else's intent was denied long ago is believed only of a payment whose whole history the journal still has:
// the first event of such a payment says that nothing was known before it. A history that has lost its beginning may come to
// other verdicts, and an attempt that seems denied now may have been granted then.
//
// In the same step a provider's bounds on how
// fast refunds may go are counted; the intent that passes one stops the provider until an operator starts it again.
//
// # What is forgotten
//
// The journal is kept for a time, and so is what is folded from it. A fold forgets by the times at which the events were
// stored: a settled refund, what a payment's refunds came to on a day, and what was captured, once nothing that is
// younger speaks of them. So one journal folds to one state, however it is cut into batches, whenever it is read, and
// however much older than that it is. Keys expire in Redis a day later, which decides nothing.
//
// # What a crash leaves behind
//
//	after the claim        a lease that runs out, and a record that expires
//	after the intent       dispatched in the journal: whoever claims next finds DOUBT and looks up
//	during the call        the same
//	after the outcome      SETTLED for whoever comes next
//	Redis lost anywhere    BEHIND until the journal is read again; holds come back with their events, leases do not
//
// # What it does not do
//
// It does not read streams (events are handed to it), call providers or choose delays. It never deletes what
// the journal says, and never judges by absence: a Redis without its position answers BEHIND.
package idempotency
