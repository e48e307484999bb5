package refund

import (
	"errors"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// Ports is all that a run reaches. Each call may take time, and each may be the last one that a process makes. A port
// panics never, and waits never longer than it is told to.
type Ports struct {
	Claims   Claims
	Log      Log
	Payments Payments
	Provider Provider
	Carrier  Carrier
	Clock    Clock
}

// What ports answer when they do not know. Each is a closed value; what the driver said may be in its text.
var (
	// ErrNoAnswer: nothing was changed, or it does not matter whether it was.
	ErrNoAnswer = errors.New("no answer")
	// ErrLost occurs when an append was sent and not answered: it may be stored now, later or never.
	ErrLost = errors.New("it is not known whether the event is stored")
	// ErrNotDone occurs when an append was surely not stored.
	ErrNotDone = errors.New("the event is not stored")
	// ErrUnreadable occurs when a refund's events are there and cannot be read: trying again changes nothing, a person has to
	// look.
	ErrUnreadable = errors.New("the refund's events cannot be read")
	// ErrStale occurs when what was to be replaced is not there any more.
	ErrStale = errors.New("something else stands there by now")
	// ErrNotAsked occurs when the provider may not be asked now: surely nothing left.
	ErrNotAsked = errors.New("the provider may not be asked now")
)

// Claims is the lock that saves work, and what is remembered of a chain. Nothing about money rests on what it says: it
// may be empty, old, or give one lease to two.
type Claims interface {
	// Claim asks for a refund's lease. A lease that was taken without an answer runs out by itself.
	Claim(id schemas.RequestID, fp schemas.Fingerprint, lease time.Duration) (Claim, error)
	// Release gives the lease back, if it is still this claim's. Clean, unless it is 0, is the sequence up to which
	// every intent surely did nothing. For pause, duplicates are told that the refund is busy.
	Release(c Claim, clean uint64, pause time.Duration) error
}

// Claim is the answer to a claim.
type Claim struct {
	Answer Answer
	// Token names the claim; no other has it.
	Token string
	// Head is the sequence of the last event known of the refund; 0 when none is known.
	Head uint64
	// Clean is the sequence up to which every intent is known to have done nothing.
	Clean uint64
	// Until is, for Busy, when the lease or the pause ends.
	Until time.Time
}

// Answer says what a claim came to.
type Answer string

// Answers. The zero value answers nothing.
const (
	// NotReady: claims are not to be relied on now.
	NotReady Answer = ""
	// Taken: the lease is this claim's.
	Taken Answer = "taken"
	// Busy: somebody else has it.
	Busy Answer = "busy"
	// Settled: an outcome is journalled.
	Settled Answer = "settled"
	// Conflict: the requestId belongs to a command with other content.
	Conflict Answer = "conflict"
)

// Log is the journal. It is the truth.
type Log interface {
	// Append stores an event about a refund if the last entry under the refund's subject has the sequence after (0: there
	// is none). It answers ErrLost or ErrNotDone where it knows no better. A refusal says nothing about who was first.
	Append(e ledger.Entry, after uint64) (Stored, error)
	// Head is the last entry under a refund's subject, read from the leader; the zero entry when there is none.
	Head(id schemas.RequestID) (ledger.Entry, error)
	// Chain is every entry under a refund's subject, oldest first, read from the leader.
	Chain(id schemas.RequestID) ([]ledger.Entry, error)
	// Note stores what is about no single refund, once by its id.
	Note(e ledger.Entry) error
}

// Stored is what became of an append.
type Stored struct {
	Seq uint64
	// Stale is set when it was refused: the head is another one.
	Stale bool
}

// Payments is what the journal's order makes of the refunds of a payment.
type Payments interface {
	// Look says what the payment has left, so that nothing is journalled that cannot fit. What it says fits still needs Await.
	Look(a ledger.Asked) (Room, error)
	// Await waits, until a time, for the verdict about the refund's intents up to a sequence.
	Await(a ledger.Asked, seq uint64, until time.Time) (Grant, error)
}

// Room is what a payment was seen to have left.
type Room struct {
	Verdict ledger.Verdict
	// Hold is what an intent has to ask for; nil when nothing bounds the payment's refunds.
	Hold *ledger.Hold
	// Rival is another refund of the payment, of the same amount, that is in doubt; empty when there is none.
	Rival schemas.RequestID
	// Spent is set where the provider takes one refund of a payment ever, and has taken it.
	Spent bool
}

// Grant is the verdict of the journal's order.
type Grant struct {
	// Since is the sequence of the intent that got the payment's hold; 0 when none did. A call follows no intent before it.
	Since uint64
	// Sure is set where each intent's verdict is the one that its own worker got, however long ago.
	Sure bool
	// Verdict says what the payment has left for the refund now.
	Verdict ledger.Verdict
}

// Provider is the payment provider behind its brakes. Panics, deadlines and repetitions of what surely did nothing are
// dealt with below it. Its errors are *providers.Error or ErrNotAsked.
type Provider interface {
	// Admit waits, until a time, for the right to make so many calls.
	Admit(calls int, until time.Time) error
	Prepare(c Call) (providers.Baseline, providers.Result, error)
	Refund(c Call) (providers.Result, error)
	Lookup(c Call) (providers.Finding, error)
}

// Call is a request and the time by which its answer is waited for.
type Call struct {
	providers.Request
	Until time.Time
}

// Carrier is the message in hand, and the one that carries the refund on. Its times are by the worker's own clock: where
// the server that fires schedules has another one, the carrier translates, or what is due soon would fire at once, again
// and again.
type Carrier interface {
	// Standing is the message that carries the refund on already; nil when there is none.
	Standing() (*Carried, error)
	// Schedule stores the message that carries the refund on, in place of the one that stands. It answers ErrStale when
	// another one stands by now than s names.
	Schedule(s Schedule) error
	// Wake has the refund's schedule fire now.
	Wake() error
	// Bury stores the dead letter of the message in hand.
	Bury(reason schemas.Reason, detail string) error
	// BuryStanding stores the dead letter of the message that stands, which carries other content or none.
	BuryStanding(c Carried, reason schemas.Reason, detail string) error
	// Ack, Nak and Term end the delivery. One that is lost is harmless: the message comes again.
	Ack() error
	Nak(delay time.Duration) error
	Term(reason schemas.Reason) error
}

// Carried is a message that carries a refund, or stands where one would: Unreadable is set for one that carries nothing, and
// Newer for one that only a newer version of the worker can read.
type Carried struct {
	Seq               uint64
	Unreadable, Newer bool
	Command           schemas.Command
	Fingerprint       schemas.Fingerprint
	// Arrived is when its command first came, and Due when it fires.
	Arrived, Due time.Time
	// BodyHash is the hash of the command as it was published.
	BodyHash [32]byte
}

// Schedule says when and how a refund is carried on.
type Schedule struct {
	At time.Time
	// Round counts the rounds without progress, Arrived is when the command first came.
	Round   int
	Arrived time.Time
	// Replaces is the message that stands, 0 for none; KeepCopy has its copy of the command carried on, not the own one.
	Replaces uint64
	KeepCopy bool
}

// Clock is the worker's own, read monotonically.
type Clock interface {
	Now() time.Time
	Sleep(d time.Duration)
}
