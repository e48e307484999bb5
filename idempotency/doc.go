// Package idempotency decides who may act on a requestId, and remembers what was done.
//
// The journal (the event stream) is the truth. Redis holds two things: leases, which only save work, and a
// projection of the journal, which answers "was this refund dispatched, deferred, settled?" in one round
// trip. A flushed, restarted, rolled-back or failed-over Redis is rebuilt from the journal: it costs time,
// not money.
//
// # Guarantee
//
// A claim answers FRESH, RETRY or DOUBT only while the projection is known to hold every event that was
// journalled longer ago than the lag bound. Nothing about money rests on that: whoever holds a lease reads the refund's
// events from the journal, decides from them, and stores nothing that does not name the last of them (package refund of
// the consumer). A lease that is lost, stolen, given to two or overrun wastes a round, and so does an answer that is old,
// empty or wrong.
//
// # A payment's guard, and a provider's pace
//
// The same fold decides what a payment has left. An intent gets its refund's share, its hold, where the captured amount
// leaves room after what was refunded and what others hold, and where nobody else is at work if the provider takes one
// refund at a time. The order of the journal decides, so every worker and every rebuild come to the same answer:
// whoever waits until its own intent is applied, and calls only when it has its hold, never refunds more than was
// captured. A hold ends with its refund's outcome and with nothing else. In the same step a provider's bounds on how
// fast refunds may go are counted; the intent that passes one stops the provider until an operator starts it again.
//
// # States of a refund
//
//	(nothing) ─► dispatched ─► succeeded | cancelled ─► (reversed is counted, the state stays)
//	    │            │    ▲
//	    │            │    └────────── deferred, resumed, a clean attempt
//	    │            ├─► deferred     surely nothing moved; wait until due
//	    │            ├─► acknowledged the provider's result comes later
//	    │            ├─► parked       a person must decide; resumed makes all attempts clean
//	    └────────────┴─► failed       nothing moved, final
//
// Every kind but reversed and resumed is legal from nothing. dispatched leaves parked and acknowledged as
// they are and only counts the attempt. After an outcome everything but reversed is ignored and counted.
//
// # What a crash leaves behind
//
//	after the claim        a lease that runs out, and a record that expires
//	after the intent       dispatched in the journal: whoever claims next finds DOUBT and looks up
//	during the call        the same
//	after the outcome      SETTLED for whoever comes next
//	Redis lost anywhere    NOT_READY or BEHIND until the journal is read again; leases and holds come back with their events
//
// # What it does not do
//
// It does not read streams (events are handed to it), call providers or choose delays. It never deletes what
// the journal says, and never judges by absence: a Redis without its position answers NOT_READY, or BEHIND with the lease.
package idempotency
