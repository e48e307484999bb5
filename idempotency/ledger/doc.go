// Package ledger is what a refund's events make of it: pure, and the same for whoever reads them.
//
// An entry is one event as the journal holds it. Everything that is decided about money is decided from entries, never
// from what somebody remembers of them.
//
// It reads no clock and knows neither the journal's server nor Redis.
package ledger
