package idempotency

import (
	"encoding/binary"
	"strconv"
	"time"

	"refundworker/idempotency/ledger"
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

// Record is what the journal says about one refund. It is the fold of its events and nothing else.
type Record struct {
	Fingerprint schemas.Fingerprint
	State       State
	// Attempts is the highest attempt journalled. Clean is the highest attempt up to which every attempt
	// surely did nothing; the refund is in doubt while Clean is lower than Attempts.
	Attempts, Clean int
	// Deferrals counts deferred events; the provider's idempotency key is derived from it.
	Deferrals int
	// Denied counts the attempts that the payment's guard did not let through: no call was made.
	Denied int
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
func (r Record) Apply(e ledger.Entry) (Record, bool) {
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

func (r *Record) first(e ledger.Entry) {
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

// Stored fields of a record. Owner, lease, pause and released token belong to claims; clean is raised by both. What never
// changes once an event was journalled shares one field, and so do state and attempts: each field costs bytes of its own.
const (
	// fieldIdentity is the fingerprint, and from the first event on the amount and the trace.
	fieldIdentity = "f"
	// fieldState is the state's letter and the number of attempts.
	fieldState     = "s"
	fieldClean     = "c"
	fieldDeferrals = "d"
	fieldDue       = "u"
	fieldReversed  = "v"
	fieldLast      = "q"
	fieldDenied    = "n"
	// fieldCleanTo belongs to claims: the sequence up to which every intent surely did nothing.
	fieldCleanTo = "k"
	// fieldLease is the end of the lease, in Unix milliseconds.
	fieldLease = "l"
)

var recordFields = []string{fieldIdentity, fieldState, fieldClean, fieldDeferrals, fieldDue, fieldReversed, fieldLast,
	fieldDenied}

// Parts of the identity field.
const (
	currencyLen = 3
	microsLen   = 8
	traceLen    = 25
)

// identity is what never changes: fingerprint, currency, micros, and the trace if there is one.
func (r Record) identity() string {
	out := make([]byte, 0, len(r.Fingerprint)+currencyLen+microsLen+traceLen)
	out = append(out, r.Fingerprint[:]...)
	var currency [currencyLen]byte
	copy(currency[:], r.Amount.Currency)
	out = append(out, currency[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(r.Amount.Micros))
	return string(append(out, r.Trace...))
}

// readIdentity is identity's opposite. A record that was claimed but never journalled has its fingerprint only.
func (r *Record) readIdentity(text string) {
	rest := text[copy(r.Fingerprint[:], text):]
	if len(rest) < currencyLen+microsLen {
		return
	}
	if currency := rest[:currencyLen]; currency[0] != 0 {
		r.Amount.Currency = schemas.Currency(currency)
	}
	rest = rest[currencyLen:]
	r.Amount.Micros = int64(binary.BigEndian.Uint64([]byte(rest[:microsLen])))
	if rest = rest[microsLen:]; len(rest) == traceLen {
		r.Trace = []byte(rest)
	}
}

// readRecord decodes the values of recordFields.
func readRecord(values []any) Record {
	var r Record
	text := func(i int) string { s, _ := values[i].(string); return s }
	number := func(i int) int64 { n, _ := strconv.ParseInt(text(i), 10, 64); return n }
	r.readIdentity(text(0))
	if s := text(1); s != "" {
		r.State = State(s[:1])
		r.Attempts, _ = strconv.Atoi(s[1:])
	}
	r.Clean, r.Deferrals = int(number(2)), int(number(3))
	if ms := number(4); ms != 0 {
		r.Due = time.UnixMilli(ms).UTC()
	}
	r.Reversed, r.Last, r.Denied = number(5), uint64(number(6)), int(number(7))
	return r
}

// fields lists what is stored, zero values left out, as field and value in turn; clean is stored apart.
func (r Record) fields() []any {
	out := []any{fieldIdentity, r.identity(), fieldState, string(r.State) + strconv.Itoa(r.Attempts), fieldLast, r.Last}
	add := func(field string, n int64) {
		if n != 0 {
			out = append(out, field, n)
		}
	}
	add(fieldDeferrals, int64(r.Deferrals))
	add(fieldReversed, r.Reversed)
	add(fieldDenied, int64(r.Denied))
	if !r.Due.IsZero() {
		out = append(out, fieldDue, r.Due.UnixMilli())
	}
	return out
}
