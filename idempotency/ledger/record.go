package ledger

import (
	"time"

	"refundworker/schemas"
)

// Record is the little of a refund that claims are answered from and that open refunds are counted by. It is the fold of the
// refund's events that are younger than a journal is kept, and of nothing else.
type Record struct {
	Fingerprint schemas.Fingerprint
	Amount      schemas.Money
	// State is the kind of the last event that moved the refund, and an outcome's once there is one; empty before the first.
	State schemas.Kind
	// Intent is the sequence of the last attempt, and Clean the one up to which every attempt did nothing, as a later event
	// says. Neither says anything once an outcome is there.
	Intent, Clean uint64
	// Begun is when the first event was stored, until there is an outcome, and Since when the one was that led to State; the
	// zero time for an outcome that has aged out.
	Begun, Since time.Time
	// Last is the sequence of the refund's last event; 0 when nothing was journalled.
	Last uint64
}

// Settled reports whether an outcome is there.
func (r Record) Settled() bool { return r.State.Outcome() }

// SettledOn is the day of the outcome. It reports false when that is not known.
func (r Record) SettledOn() (Day, bool) { return DayOf(r.Since), r.Settled() && !r.Since.IsZero() }

// InDoubt reports whether some attempt is neither proven to have done nothing nor taken on by the provider.
func (r Record) InDoubt() bool {
	return r.Intent > r.Clean && !r.Settled() && r.State != schemas.KindAcknowledged
}

// Apply folds one event in. It reports false, and returns the record unchanged, when the event says nothing here: after an
// outcome only a reversal does. An event at or below Last was applied before. What a journal that is kept for retain would
// not have any more is forgotten first: whenever, and from wherever, a journal is folded, it says the same.
func (r Record) Apply(e Entry, retain time.Duration) (Record, bool) {
	if e.Seq <= r.Last {
		return r, true
	}
	if r.Settled() && !r.Since.IsZero() && e.Stored.Sub(r.Since) > retain {
		r = Record{}
	}
	kind := e.Event.Kind
	if kind == schemas.KindReversed {
		switch {
		case r.Last == 0: // its outcome has aged out: only what succeeded comes back, and nobody knows since when it had
			r = r.move(e, schemas.KindSucceeded)
			r.Since = time.Time{}
		case r.State != schemas.KindSucceeded && r.State != schemas.KindCancelled:
			return r, false
		}
		r.Last = e.Seq
		return r, true
	}
	if r.Settled() || !moves(kind) {
		return r, false
	}
	switch kind {
	case schemas.KindDispatched:
		r.Intent = e.Seq
	case schemas.KindDeferred, schemas.KindResumed:
		r.Clean = e.Seq
	}
	r = r.move(e, kind)
	r.Last = e.Seq
	return r, true
}

// moves reports whether a kind of event leads to a state of its own.
func moves(k schemas.Kind) bool {
	switch k {
	case schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked, schemas.KindResumed:
		return true
	}
	return k.Outcome()
}

func (r Record) move(e Entry, state schemas.Kind) Record {
	if r.Last == 0 {
		r.Fingerprint, _ = schemas.ParseFingerprint(e.Event.Fingerprint)
		if e.Event.Amount != nil {
			r.Amount = *e.Event.Amount
		}
		r.Begun = e.Stored
	}
	r.State, r.Since = state, e.Stored
	if state.Outcome() {
		r.Intent, r.Clean, r.Begun = 0, 0, time.Time{}
	}
	return r
}
