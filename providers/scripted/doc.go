// Package scripted is a payment provider in process that does what it is told: for tests of the worker, for
// load and for trying out order services.
//
// Guarantee: its ledger holds each movement of money that it made, also those whose answer it swallowed, and
// nothing else. It protects nobody silently: without a key life in its settings a second call moves money a
// second time, and the ledger shows it.
//
// Non-goal: it imitates no real provider; the simulator does that. It forgets everything with its process.
package scripted
