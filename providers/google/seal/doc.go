// Package seal wraps documents for Google Standard Payments and unwraps what comes back: signed and encrypted as
// OpenPGP messages or as JWE around JWS, or not at all.
//
// # Guarantee
//
// Open returns a document only when it was encrypted to one of our keys, arrived undamaged and carries at least one
// valid signature of a known peer key that is in force now. Algorithms are fixed by the protocol and the settings,
// never by the message or by what a key says it prefers. Work and memory for a message are bounded by Config.MaxSize,
// whatever the message claims to inflate to.
//
// # What it does not do
//
// It keeps no memory of messages: a replay opens again, and the protocol's clock and request id rules refuse it. It
// does not look into documents. Plain mode protects nothing and is for tests and trusted networks.
//
// # Keys
//
// OpenPGP keys are armored blocks, one or several per entry, each with a signing and an encryption capability; subkeys
// are used by their flags. JOSE keys are JWK or JWKS with kid and alg; the optional member "exp" (seconds since the
// epoch) ends a key's life. Several keys on both sides are normal: they are how keys are rotated. OpenPGP messages are
// signed with each of our keys and encrypted to each of theirs; the compact form of JOSE has room for one of each, and
// the first that is in force is taken.
package seal
