package idempotency

import (
	"strconv"
	"time"

	"refundworker/schemas"
)

// State is where the journal leaves a refund. The one-letter values are stored.
type State string

// States. None means that nothing was journalled.
const (
	StateNone         State = ""
	StateDispatched   State = "d"
	StateDeferred     State = "w"
	StateAcknowledged State = "a"
	StateParked       State = "p"
	StateResumed      State = "r"
	StateSucceeded    State = "s"
	StateCancelled    State = "c"
	StateFailed       State = "f"
)

var stateAfter = map[schemas.Kind]State{
	schemas.KindDispatched:   StateDispatched,
	schemas.KindDeferred:     StateDeferred,
	schemas.KindAcknowledged: StateAcknowledged,
	schemas.KindParked:       StateParked,
	schemas.KindResumed:      StateResumed,
	schemas.KindSucceeded:    StateSucceeded,
	schemas.KindCancelled:    StateCancelled,
	schemas.KindFailed:       StateFailed,
}

// Settled reports whether the state is an outcome.
func (s State) Settled() bool {
	return s == StateSucceeded || s == StateCancelled || s == StateFailed
}

// Kind is the kind of event that leads to the state; empty for StateNone.
func (s State) Kind() schemas.Kind {
	for kind, state := range stateAfter {
		if state == s {
			return kind
		}
	}
	return ""
}

// ParkedAgain is how long a parked refund waits before it is journalled as parked again.
const ParkedAgain = 7 * 24 * time.Hour

// Entry is one stored event as the projection needs it.
type Entry struct {
	// Seq is the stream sequence and ID the event id, which is its message id.
	Seq uint64
	ID  string
	// Event is the decoded body. A zero Kind marks an event that could not be read; projecting stops there.
	Event schemas.Event
	// Owner is the token of the claim under which the event was written; empty when there was none.
	Owner string
	// Hold is set on a dispatched event that asks for the sole hold of its payment.
	Hold *Hold
	// Trace is the trace context as 25 bytes: trace id, span id, flags; nil when there is none.
	Trace []byte
}

// Hold asks for the sole hold of a payment.
type Hold struct {
	// LookedAt is the journal position as of which the payment was looked at before the intent.
	LookedAt uint64
}

// Record is what the journal says about one refund. It is the fold of its events and nothing else.
type Record struct {
	Fingerprint schemas.Fingerprint
	State       State
	// Attempts is the highest attempt journalled. Clean is the highest attempt up to which every attempt
	// surely did nothing; the refund is in doubt while Clean is lower than Attempts.
	Attempts, Clean int
	// Deferrals counts deferred events; the provider's idempotency key is derived from it.
	Deferrals int
	// Due is, for deferred, not to be tried before; for parked, when to journal parked again.
	Due time.Time
	// Trace is the trace context of the refund's first event, 25 bytes, or nil.
	Trace []byte
	// Amount is the refund's amount and Reversed how much of it came back.
	Amount   schemas.Money
	Reversed int64
	// Last is the stream sequence of the refund's last event; 0 when nothing was journalled.
	Last uint64
}

// InDoubt reports whether some journalled attempt is not proven to have done nothing.
func (r Record) InDoubt() bool { return r.Attempts > r.Clean }

// Apply folds one event into the record. It reports false, and returns the record unchanged, when the event
// is not legal here (such as anything but reversed after an outcome). An event at or below Last was applied
// before and changes nothing.
func (r Record) Apply(e Entry) (Record, bool) {
	if e.Seq <= r.Last {
		return r, true
	}
	if !r.legal(e.Event.Kind) {
		return r, false
	}
	if r.Last == 0 {
		r.first(e)
	}
	r.Last = e.Seq
	if e.Event.Kind == schemas.KindReversed {
		if e.Event.Reversal != nil {
			r.Reversed = e.Event.Reversal.Total.Micros
		}
		return r, true
	}
	r.count(e.Event)
	r.move(e.Event)
	return r, true
}

func (r Record) legal(k schemas.Kind) bool {
	switch k {
	case schemas.KindReversed:
		return r.State == StateSucceeded || r.State == StateCancelled
	case schemas.KindResumed:
		return r.State == StateParked
	}
	_, known := stateAfter[k]
	return known && !r.State.Settled()
}

func (r *Record) first(e Entry) {
	if fp, err := schemas.ParseFingerprint(e.Event.Fingerprint); err == nil {
		r.Fingerprint = fp
	}
	if e.Event.Amount != nil {
		r.Amount = *e.Event.Amount
	}
	if len(e.Trace) == traceLen {
		r.Trace = e.Trace
	}
}

func (r *Record) count(e schemas.Event) {
	switch e.Kind {
	case schemas.KindDispatched:
		r.Attempts = max(r.Attempts, e.Attempt)
	case schemas.KindDeferred:
		r.Attempts = max(r.Attempts, e.Attempt)
		r.Clean = max(r.Clean, e.Attempt)
		r.Deferrals++
	case schemas.KindResumed:
		r.Clean = r.Attempts
	}
}

func (r *Record) move(e schemas.Event) {
	if e.Kind == schemas.KindDispatched && (r.State == StateParked || r.State == StateAcknowledged) {
		return
	}
	r.State, r.Due = stateAfter[e.Kind], time.Time{}
	switch {
	case e.Kind == schemas.KindDeferred && e.NotBefore != nil:
		r.Due = *e.NotBefore
	case e.Kind == schemas.KindParked:
		r.Due = e.OccurredAt.Add(ParkedAgain)
	}
}

const traceLen = 25

// Stored fields of a record. Owner, lease and released token belong to claims; clean is raised by both.
const (
	fieldFingerprint = "f"
	fieldState       = "s"
	fieldAttempts    = "a"
	fieldClean       = "c"
	fieldDeferrals   = "d"
	fieldDue         = "u"
	fieldTrace       = "t"
	fieldAmount      = "m"
	fieldReversed    = "v"
	fieldLast        = "q"
)

var recordFields = []string{fieldFingerprint, fieldState, fieldAttempts, fieldClean, fieldDeferrals, fieldDue,
	fieldTrace, fieldAmount, fieldReversed, fieldLast}

// readRecord decodes the values of recordFields. A record that was claimed but never journalled is empty but
// for its fingerprint.
func readRecord(values []any) Record {
	var r Record
	text := func(i int) string { s, _ := values[i].(string); return s }
	number := func(i int) int64 { n, _ := strconv.ParseInt(text(i), 10, 64); return n }
	copy(r.Fingerprint[:], text(0))
	r.State = State(text(1))
	r.Attempts, r.Clean, r.Deferrals = int(number(2)), int(number(3)), int(number(4))
	if ms := number(5); ms != 0 {
		r.Due = time.UnixMilli(ms).UTC()
	}
	if t := text(6); len(t) == traceLen {
		r.Trace = []byte(t)
	}
	if m := text(7); len(m) > 3 {
		r.Amount.Micros, _ = strconv.ParseInt(m[3:], 10, 64)
		r.Amount.Currency = schemas.Currency(m[:3])
	}
	r.Reversed, r.Last = number(8), uint64(number(9))
	return r
}

// fields lists what is stored, zero values left out, as field and value in turn; clean is stored apart.
func (r Record) fields() []any {
	out := []any{fieldFingerprint, string(r.Fingerprint[:]), fieldState, string(r.State), fieldLast, r.Last}
	add := func(field string, n int64) {
		if n != 0 {
			out = append(out, field, n)
		}
	}
	add(fieldAttempts, int64(r.Attempts))
	add(fieldDeferrals, int64(r.Deferrals))
	add(fieldReversed, r.Reversed)
	if !r.Due.IsZero() {
		out = append(out, fieldDue, r.Due.UnixMilli())
	}
	if r.Trace != nil {
		out = append(out, fieldTrace, string(r.Trace))
	}
	if r.Amount.Currency != "" {
		out = append(out, fieldAmount, string(r.Amount.Currency)+strconv.FormatInt(r.Amount.Micros, 10))
	}
	return out
}
