// Package drills runs the worker as its users do, several processes on real servers, while something breaks: a
// process is killed or frozen, Redis is emptied or rolled back, NATS goes away, a connection is cut.
//
// It shows, after every drill, by one audit of everything that can be read back, that money moved at most once
// per requestId and for the exact amount, that each refund has one outcome or is open with its message, that each
// story in the journal is legal and linked, and that Redis holds what the journal says and nothing else.
//
// It holds tests only; nothing here reaches the program. Settings, decisions and single steps are tested in the
// packages that they belong to.
package drills
