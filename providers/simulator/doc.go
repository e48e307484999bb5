// Package simulator plays payment providers: one HTTP server that speaks their protocols from the
// providers' side, keeps a ledger of the money it really moved, and misbehaves on request. Users try their
// integration against it, and tests compare what the worker reports with what the ledger says.
//
// It is an independent reading of each protocol and shares no code with the adapters that call it, so a
// misunderstanding on one side shows as a refusal on the other.
//
// It promises that the ledger holds exactly one line for each movement made, and never more money than
// the protocol's own rules allow: whatever the order, number and concurrency of calls, a BBMSL order is
// refunded or voided once and never above its amount; each transaction of a Craftgate payment is refunded in
// parts that never add up to more than it, and a repeated x-idempotency-key is no new refund; the refunds of a Google
// payment that were acknowledged and have not failed never add up to more than it, a requestId moves money once,
// and each reversal is in the ledger when the caller has accepted it. Faults break
// connections and answers; they never bend these rules. What has moved stays moved until Forget, also when
// payments are listed again.
//
// Each protocol has its own paths (BBMSL lives under /bbmsl/). Under /_control/, which is no part of any
// protocol, a test sets the scene and reads the ledger:
//
//	PUT    /_control/keys/bbmsl          merchants and the public keys their requests are verified with
//	PUT    /_control/payments/bbmsl      the payments that exist
//	PUT    /_control/open/bbmsl          the shape of a payment that exists as soon as it is asked for
//	PUT    /_control/balance/bbmsl       the unsettled money that refunds are taken from
//	PUT    /_control/keys/craftgate      merchants: {"apiKey","secretKey","webhookKey"}
//	PUT    /_control/payments/craftgate  payments with their transactions, see CraftgatePayment
//	PUT    /_control/open/craftgate      the shape of a payment N with the one transaction N
//	PUT    /_control/keys/google         accounts: {"account","mode":"plain"|"pgp"|"jose","publicKeys":[…],"privateKeys":[…]}
//	PUT    /_control/payments/google     payments: {"reference":"<captureRequestId>","account","amount":{…}}
//	PUT    /_control/open/google         the shape of a payment, without an account for every account
//	PUT    /_control/faults              rules that break calls, see Fault
//	PUT    /_control/notices             rules that decide refunds and report them, see Notice
//	GET    /_control/notices             NDJSON, one SentNotice a line
//	GET    /_control/ledger              NDJSON, one Movement a line
//	GET    /_control/refusals            NDJSON, one Refusal a line: what the protocols' own rules turned down
//	DELETE /_control                     forgets everything
//
// The sandbox of Craftgate has a test card for each way that a refund can end. Here a payment is listed with
// a "behaviour": one of Craftgate's error groups, such as "REQUIRES_DAY_END", or "FAILURE", "MIXED" (the last
// transaction fails, the others succeed), "WAITING" or "WAITING_FAILURE" ("lookups" says how many lookups
// find the refund still waiting); "takes" says how long the bank works on it, during which any other refund of
// the payment is refused. A rule for "craftgate" under /_control/notices sends its webhooks to "target" after
// "delay", which ends a refund that still waits.
//
// Google's callers are acknowledged at once. A rule for "google" decides what becomes of the refund and what is
// reported to "target", the base URL of whoever plays Google's side; durations are texts such as "500ms":
//
//	[{"type":"google","api":"cardfop","reference":"cap-1","refund":"ord-1:r1","target":"http://127.0.0.1:8080",
//	  "result":"success","rawResult":{"scope":"VISA","code":"00"},"delay":"500ms","repeat":2,"contradict":"ACCOUNT_CLOSED",
//	  "reversals":[{"amount":{"amountMicros":"1000000","currencyCode":"CAD"},"rawResult":{"code":"62"}},
//	               {"amount":"all","delay":"1s","repeat":1,"rawResult":{"code":"62"}}]}]
//
// Only "type" and "target" are required, and "amount" and "rawResult" of a reversal. "result" may be "none", for a
// refund that never ends and needs no target, and "before":true instead of a delay lets the result overtake the call's own answer. A
// notice is sent again, with a new time and seal, until it is accepted or turned down for good.
//
// It does not persist anything, does not judge who may use its control, does not imitate a provider's
// speed, limits or risk decisions, and holds no real keys or cards: it never belongs on a public address.
package simulator
