// Package providers is the contract between the worker and payment providers, in both directions, and the
// parts that every provider adapter shares: the registry of instances, an HTTP client that knows what was
// sent, telemetry around any Provider, and the Strangers that knock without a valid signature.
//
// # Guarantee
//
// Whoever calls a Provider learns one of three things and never confuses them: what the provider answered
// (a Result or a Finding), that nothing can have happened (an *Error whose Kind is Safe), or that nobody
// knows (an *Error of kind Unknown). Any other error, a panic and a missing answer count as Unknown.
//
// # What each Kind promises
//
//	Unknown       the refund may have happened: look up before anything else
//	Unavailable   no byte of the request was handed to the network, or the provider surely did not act
//	RateLimited   the provider refused to look at the request; RetryAfter is its wish
//	Invalid       the provider, or the adapter before any call, can never accept this request
//	Unauthorized  our credentials or our address were refused before anything was executed
//
// When in doubt an adapter says Unknown. A dropped connection after the first byte was written, an answer
// that cannot be read and a status nobody has documented are Unknown.
//
// A call that moves no money leaves nothing in doubt, whatever happens to it: see Harmless.
//
// # What providers report by themselves
//
// An adapter's HTTP handlers stand on an Inbox. They verify a message, answer with success only after Store
// returned without an error, and let Recall tell a repeat from another message under the same key. Only
// accepted messages are remembered. What cannot be trusted as an outcome, because its signature does not cover
// it, is no more than a reason to Hurry. Who is not verified learns nothing and counts with Strangers, which
// all handlers of a listener share.
//
// # What an adapter does not do
//
// It never retries, never sleeps, keeps nothing about single refunds, and reads no environment. Retries,
// backoff, journalling and locks belong to the worker. Package providers knows no provider by name.
//
// # Checklist for a new provider
//
//   - a folder providers/<type> with <type>.go (New, the four methods), wire.go (shapes, exact amounts)
//     and codes.go (the provider's codes as data);
//   - a Config whose Validate reports every problem, and secrets of a type that prints redacted;
//   - options checked strictly in Prepare: an unknown key is a Problem below /options;
//   - amounts read as text and compared as schemas.Money, never as floats;
//   - every limit of the provider checked in Prepare, so that nothing is refused after a call;
//   - an answer under our key that is not our refund is Conflicting, and one that is ours in part is Partial:
//     both are for a person, neither is an outcome;
//   - a capability sheet that promises no more than the provider's documentation does;
//   - provider texts through CleanMessage, and nothing of a body in an error;
//   - recorded answers in testdata, each with the outcome it must lead to;
//   - a run of providertest against the provider's side in package simulator, which is written from the
//     protocol alone and shares no code with the adapter;
//   - one line in the program's wiring, and the README's tables, which tests print from the code.
package providers
