// Package consumer runs the life of a refund command: it pulls commands, claims each requestId, asks the
// provider, journals what happened and acknowledges.
//
// # From receive to ack
//
//	pull ─► decode ─► claim ─► prepare ─► journal `dispatched` ─► call ─► journal what happened ─► ack
//
// Each arrow is one short function in process.go and the files beside it; what to do with an answer is decided
// by pure functions in decide.go. Every delivery ends in one of four ways, and finish.go alone says which:
//
//	ack        an outcome is journalled, or a message elsewhere carries the command on
//	later      a schedule that carries the command is stored, then the delivery is acknowledged
//	nak        nothing was settled: the stream delivers the command again
//	terminate  the command was not accepted: a rejected event and a dead letter are stored first
//
// # Guarantee
//
// No provider call leaves before its attempt is in the journal under an id that only one worker can write, and
// none leaves after the claim's deadline. What a provider answered is journalled before the delivery ends,
// also during a shutdown. A panic in an adapter counts as an unknown outcome.
//
// # What it does not do
//
// It knows no provider protocol and no Redis, and it never turns an unknown outcome into a failed one.
package consumer
