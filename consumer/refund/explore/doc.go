// Package explore searches every interleaving of the code that ships: package refund runs here above models of its
// ports, and each of its calls may be answered, lost, late, or the last that a process makes.
//
// A run is a function of the replies that its ports give, so a place in the code is a sequence of replies: each new
// sequence is run once, and then remembered. The world (journal, provider, carriers, clocks, what faults are left) is a
// value that is copied and hashed. So a search needs no replay, and a schedule, which is a list of choices, reproduces a
// failure completely.
//
// In every state it is held that money moved at most once, that the outcome agrees with the money, that what a run takes
// for stored is stored, that a payment gives back no more than was captured, that nothing open is without a message, and
// that other content under a requestId is rejected and kept as a dead letter.
//
// It holds tests only. What it does not show: that the models are what JetStream, Redis and the providers really do.
// The journal's and the claims' are held to the real ones by the same operations on both.
package explore
