package ledger

import (
	"time"

	"refundworker/schemas"
)

// Refund is what a refund's events say about it. It is the fold of its chain and of nothing else, but for Clean, which
// only ever spares work.
type Refund struct {
	// Head is the sequence of the last entry under the refund's subject; 0 when there is none.
	Head uint64
	// State is the kind of the last event that moved the refund, and an outcome's once there is one; empty before the first.
	State schemas.Kind
	// First is the refund's first event, which names what it is; nil before it.
	First *schemas.Event
	// Outcome is the event that ended the refund; nil before it.
	Outcome *schemas.Event
	// Command is the refund's command as it was published, as it was journalled last; nil when no entry carries it.
	Command []byte
	// Intents are the attempts journalled, oldest first.
	Intents []Intent
	// Attempts is the highest attempt's number and Deferrals how often the provider said "not now".
	Attempts, Deferrals int
	// LeaseUntil is the latest end of a lease under which an attempt was journalled: what a worker sent, it sent before.
	LeaseUntil time.Time
	// Key is the idempotency key of the last attempt and KeySince when it was first used.
	Key      string
	KeySince time.Time
	// Due is, while deferred, the time before which nothing is tried.
	Due time.Time
	// Since is when the refund came into its state, or was last journalled in it.
	Since time.Time
	// Parks is the number of the last parked event and ParkedFor its reason.
	Parks     int
	ParkedFor schemas.Reason
	// ProviderRefundID is what the provider called the refund when it took it on.
	ProviderRefundID string
	// Reversals are all that came back, oldest first.
	Reversals []schemas.Reversal
	// Undone is the sequence up to which every attempt surely did not reach the provider; 0 when none is known.
	Undone uint64
	// resumed is the sequence of the last time that a person let the refund go on.
	resumed uint64
}

// Intent is one attempt: a call may have left, unless it is Clean.
type Intent struct {
	Seq     uint64
	Attempt int
	At      time.Time
	// Clean is set when the attempt surely did nothing.
	Clean    bool
	Baseline []byte
	// Hold is what the attempt asked of its payment; nil when it asked for nothing and its call followed at once.
	Hold *Hold
}

// Fold reads a chain, oldest entry first. Intents up to the sequence clean surely did nothing, whoever knows that from
// elsewhere. An entry that no worker wrote, or that cannot be read, counts as head and says nothing.
func Fold(chain []Entry, clean uint64) Refund {
	var r Refund
	for _, e := range chain {
		r.Head = e.Seq
		if e.Command != nil {
			r.Command = e.Command
		}
		if e.Event.Kind != "" {
			r.take(e)
		}
	}
	r.Undone = max(r.Undone, clean)
	for i := range r.Intents {
		r.Intents[i].Clean = r.Intents[i].Clean || r.Intents[i].Seq <= r.Undone
	}
	return r
}

func (r *Refund) take(e Entry) {
	event := e.Event
	if r.First == nil {
		r.First = &event
	}
	r.Attempts = max(r.Attempts, event.Attempt) // those that were made before may have aged out
	switch event.Kind {
	case schemas.KindReversed:
		if event.Reversal != nil {
			r.Reversals = append(r.Reversals, *event.Reversal)
		}
		if r.Outcome == nil { // it has aged out: only what succeeded comes back
			outcome := event.After(schemas.KindSucceeded, event.OccurredAt)
			r.Outcome, r.State, r.Since = &outcome, outcome.Kind, outcome.OccurredAt
		}
		return
	case schemas.KindDispatched:
		r.intend(e)
	case schemas.KindDeferred:
		r.clean(event.Attempt)
		r.Deferrals++
		if event.NotBefore != nil {
			r.Due = *event.NotBefore
		}
	case schemas.KindAcknowledged:
		r.ProviderRefundID = event.ProviderRefundID
	case schemas.KindParked:
		r.Parks, r.ParkedFor = event.N, event.Reason
	case schemas.KindResumed: // a person vouched that nothing moved
		r.clean(r.Attempts)
		r.resumed = e.Seq
	}
	if r.Outcome != nil {
		return
	}
	r.State, r.Since = event.Kind, event.OccurredAt
	if event.Kind.Outcome() {
		r.Outcome = &event
	}
}

func (r *Refund) intend(e Entry) {
	event := e.Event
	r.Intents = append(r.Intents, Intent{Seq: e.Seq, Attempt: event.Attempt, At: event.OccurredAt,
		Baseline: event.Baseline, Hold: e.Hold})
	r.Undone = max(r.Undone, e.Undone)
	if event.LeaseUntil != nil && event.LeaseUntil.After(r.LeaseUntil) {
		r.LeaseUntil = *event.LeaseUntil
	}
	if r.Key != event.IdempotencyKey || r.KeySince.IsZero() {
		r.Key, r.KeySince = event.IdempotencyKey, event.OccurredAt
	}
}

// clean marks every attempt up to a number as one that surely did nothing.
func (r *Refund) clean(attempt int) {
	for i := range r.Intents {
		if r.Intents[i].Attempt <= attempt {
			r.Intents[i].Clean = true
		}
	}
}

// Doubt lists the attempts that are not proven to have done nothing, oldest first.
func (r Refund) Doubt() []Intent {
	var open []Intent
	for _, i := range r.Intents {
		if !i.Clean {
			open = append(open, i)
		}
	}
	return open
}

// Reached counts the attempts whose call may have reached the provider, since a person last let the refund go on.
func (r Refund) Reached() int { return r.since(max(r.Undone, r.resumed)) }

// Tried counts all attempts since a person last let the refund go on.
func (r Refund) Tried() int { return r.since(r.resumed) }

func (r Refund) since(seq uint64) int {
	n := 0
	for _, i := range r.Intents {
		if i.Seq > seq {
			n++
		}
	}
	return n
}
