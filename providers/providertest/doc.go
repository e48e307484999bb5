// Package providertest is the conformance suite of package providers: each row guards one rule of the
// contract, through the adapter's real protocol and against a ledger of what really moved.
//
// Guarantee: an adapter that passes classifies every fault of a connection and every damaged answer so that
// the worker neither repeats a refund that may have happened nor gives up one that did not.
//
// Non-goal: it knows no provider's codes. What an answer means is tested beside each adapter.
package providertest
