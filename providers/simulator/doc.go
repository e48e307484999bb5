// Package simulator plays payment providers: one HTTP server that speaks their protocols from the
// providers' side, keeps a ledger of the money it really moved, and misbehaves on request. Users try their
// integration against it, and tests compare what the worker reports with what the ledger says.
//
// It is an independent reading of each protocol and shares no code with the adapters that call it, so a
// misunderstanding on one side shows as a refusal on the other.
//
// It promises that the ledger holds exactly one line for each movement made, and never more money than
// the protocol's own rules allow: whatever the order, number and concurrency of calls, a BBMSL order is
// refunded or voided once and never above its amount. Faults break connections and answers; they never
// bend these rules. What has moved stays moved until Forget, also when payments are listed again.
//
// Each protocol has its own paths (BBMSL lives under /bbmsl/). Under /_control/, which is no part of any
// protocol, a test sets the scene and reads the ledger:
//
//	PUT    /_control/keys/bbmsl      merchants and the public keys their requests are verified with
//	PUT    /_control/payments/bbmsl  the payments that exist
//	PUT    /_control/open/bbmsl      the shape of a payment that exists as soon as it is asked for
//	PUT    /_control/balance/bbmsl   the unsettled money that refunds are taken from
//	PUT    /_control/faults          rules that break calls, see Fault
//	GET    /_control/ledger          NDJSON, one Movement a line
//	DELETE /_control                 forgets everything
//
// It does not persist anything, does not judge who may use its control, does not imitate a provider's
// speed, limits or risk decisions, and holds no real keys or cards: it never belongs on a public address.
package simulator
