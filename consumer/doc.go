// Package consumer is the worker: it pulls messages from JetStream, takes each through the protocol of package refund, and
// ends it as the protocol says.
//
// # From receive to ack
//
//	pull ─► decode ─► refund.Work ─► acknowledged, scheduled, given back or terminated
//	pull ─► decode ─► refund.Settle ─► the same, for what providers report
//
// What a refund needs is behind the protocol's ports, each a short file here: claims.go (the lock in Redis, and what Redis
// remembers of a chain), log.go (the journal), payments.go (what the projection makes of a payment's refunds), calls.go (the
// provider behind package brakes), carrier.go (the message in hand and the schedule that carries the refund on).
//
// Beside the deliveries run the projection and the relay, in one worker at a time, and the watches of Redis, the journal, the
// streams' settings and the providers' velocity.
//
// # Guarantee
//
// Nothing is decided here about money: package refund does that, and its own comment says how money is kept from moving
// twice. This package keeps what the protocol is promised: a port answers ErrNotDone only for what was surely not stored,
// a provider is asked only while what it answers can be journalled, and a delivery goes on through a shutdown.
//
// # What it does not do
//
// It knows no provider's protocol and no Redis command.
package consumer
