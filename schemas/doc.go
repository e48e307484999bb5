// Package schemas is the contract between the refund worker and everyone else: the commands that order
// services publish, the events that follow, the notices that settle a refund from outside, the money
// in them, and the names of streams, subjects and headers.
//
// # Guarantee
//
// Decoding is strict and total. A body is accepted only when every reader would read the same from it:
// UTF-8, one JSON object, no key twice, no half surrogates, exact types, no unknown fields, amounts
// that are whole minor units. Every problem is reported at once, by place and rule, never by value.
// Amounts are integers from end to end; nothing is rounded. What Encode writes, the decoder of the
// same message accepts. The published JSON Schemas (SchemaFS) accept whatever this package accepts.
//
// # Not here
//
// No delivery, no storage and no judgement that needs memory: whether a command is too old, conflicts
// with an earlier one or passes the captured amount is decided by those who remember. Options of a
// provider are judged by its adapter. Only the standard library is imported.
//
// # Subjects
//
// With the default prefix:
//
//	stream           subject                                         who writes, who reads
//	REFUND_COMMANDS  refunds.commands.<provider>                     order services; workers
//	REFUND_RETRIES   refunds.later.<provider>.<requestId>            schedules of refunds; workers only
//	                 refunds.retry.<provider>                        where they fire
//	                 refunds.later-notices.<provider>.<hash>         schedules of notices; workers only
//	                 refunds.retry-notices.<provider>                where they fire
//	REFUND_JOURNAL   refunds.journal.r.<requestId>                   all that is known of one refund; workers only
//	                 refunds.journal.x.<provider>                    what is about no single refund; workers only
//	REFUND_EVENTS    refunds.events.<kind>.<provider>                workers; accounting, order services
//	REFUND_NOTICES   refunds.notices.<provider>                      the edge, back-office jobs; workers
//	REFUND_DEAD      refunds.dead.<provider>                         workers; operators
//
// The provider in an event's subject is that of the delivery's subject, also for a rejected command
// that names another one or none.
//
// # Compatibility
//
//   - Strings are frozen: kinds, reasons, header, stream and field names keep their meaning for ever.
//     A golden file holds them.
//   - A minor version only adds optional fields. Commands of a newer minor version are not rejected:
//     DecodeCommand answers with a *NewerVersionError and the command waits for a newer worker, so
//     publishers may be upgraded first. Commands without schemaVersion are version 1.0.
//   - Readers of events pass over fields that they do not know, as DecodeEvent does, so workers may be
//     upgraded before readers. A new kind or reason needs readers that know it first.
//   - Commands and notices with unknown fields are refused, because a misspelt notAfter that is
//     passed over could move money too late.
//   - A change to the fingerprint's canonical form gets a new version in it and needs every open refund
//     settled first.
package schemas
