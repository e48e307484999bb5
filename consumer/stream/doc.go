// Package stream is JetStream as the worker uses it: the journal, what of it is public, the schedules that carry refunds on,
// dead letters, the inbox of what providers report, and the settings that all of these streams must have.
//
// # The journal
//
// REFUND_JOURNAL is the truth. Each refund has one subject in it, and an event about a refund is stored only if the
// sequence that its append names is still the last of that subject. So nobody stores anything about a refund without
// having known all that was stored before. One function makes the messages, and those about a refund carry the condition
// from there on. The condition names the literal subject: the server does not hold those that name a filter to it.
//
// What is about no single refund (rejected, stopped, started) has a subject of its provider and no condition.
//
// Reads come from the stream's leader, so they show every entry that was acknowledged before, unless the leader is an old
// one that does not know it yet. What it shows then is old, never wrong, and an append behind it is refused.
//
// # What the answers of an append mean
//
//	Stored{Seq}       it stands at Seq: either just stored, or by an earlier try of the same message.
//	Stored{Stale}     it was refused. Another entry may be the head, or this very message, stored by an earlier try: read
//	                  the chain and decide anew.
//	ErrNotDone        surely not stored, and it will not be. Try again, or let it be.
//	ErrLost           it may be stored now, later or never. Read the head; send the same message again, under the same
//	                  condition, or move the head first, or know that what comes late is harmless.
//	ErrInvalid        nothing was sent: the caller's mistake. Trying again changes nothing.
//	ErrBackwards      it is stored, in a stream that had higher sequences before. Stop: nothing may be decided from it.
//
// An answer of "stored before" is given only for a message that is the same to the last byte. Two workers that journal
// the same attempt use one id; only one of them owns it.
//
// # What the answers of a read mean
//
//	ErrNoAnswer       try again.
//	ErrUnreadable     an entry that a worker wrote cannot be read by this version, or has gone before its time. Nothing is
//	                  decided about this refund until an operator has looked.
//	ErrTooLong        more than MaxChain entries: as above.
//	ErrNoJournal      (of package idempotency) there is no stream.
//
// An entry is foreign that lacks a header which every event of ours has, stands under another subject than its own, or
// has an id that its content does not make. It counts as head, since the server counts it, and says nothing.
//
// # The relay
//
// REFUND_EVENTS holds the public events in the journal's order, one message for each entry. It decides nothing. The relay
// leaves out who wrote an event, what it asked of its payment, the command, the baseline and the idempotency key. A
// published event names its entry in Refund-Journal; that number, not the message id, says how far the relay has come.
// Nats-Msg-Id equals ce-id, as readers expect. If that id is taken already, by a foreign message or by an earlier entry of the same fact,
// the event is published under the id "journal-" and its sequence, or else under none: an entry is never left out.
//
// Every publish names the last sequence of the stream, as of which the relay has looked at every message. So of two
// relays that go on from one place, one is refused, and looks again. Messages that are not the relay's cost one look at
// their headers. Where they come faster than a look and a publish take, a condition can never hold: after a number of
// refusals the relay publishes without it, and the server's knowledge of ids keeps the event from being there twice. A
// relay that was stopped for longer than that knowledge lasts, between its last look and the write to its socket, and
// whose connection the server has kept open all the while, could then repeat an event.
//
// The place of the relay is read from REFUND_EVENTS alone, and compared with the journal before it goes on. A place beyond the
// journal's end, or one whose event is another, means that the journal went backwards, or that somebody who may write to
// REFUND_EVENTS forged it. Then nothing is published, and an error is logged.
//
// # What carries a refund on
//
// A Scheduled message stands under a subject of its refund, one for each, and fires on the provider's retries. It is replaced
// only by whoever names the one that stands. A Letter keeps what was not accepted. Both have ids made of what they replace or
// keep, so that storing them twice is harmless.
//
// # The streams' settings
//
// A Topology makes what is missing, and refuses what would forget or repeat something, naming each difference and what mends
// it. It changes nothing that is there, but for the subjects of providers that are added.
//
// # Not here
//
// No decisions, and no repetitions of appends.
package stream
