package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"refundworker/schemas"
)

// Velocity is what the journal says about how fast a provider's refunds go, and whether they may go on. It is the fold
// of the provider's intents, stops and starts and nothing else.
type Velocity struct {
	// Stop is the number of the last stop journalled; Since the sequence since which nothing goes ahead, 0 while
	// refunds do. A bound that was passed stops them at once, and the event that says so follows.
	Stop   int     `json:"n,omitempty"`
	Since  uint64  `json:"s,omitempty"`
	Passed *Window `json:"p,omitempty"`
	// Said is when the stop that holds was last journalled, in Unix milliseconds; 0 before it is.
	Said int64 `json:"e,omitempty"`
	// Started is when the provider was last let go on, in Unix milliseconds.
	Started int64 `json:"a,omitempty"`
	// Dry counts the intents that passed a bound of a dry run, DryPassed the last bound of them.
	Dry       int              `json:"d,omitempty"`
	DryPassed *Window          `json:"b,omitempty"`
	Windows   map[Window]Parts `json:"w,omitempty"`
	// Bound is set once some refund has named what was captured of its payment: the provider's refunds may bind one another.
	Bound bool `json:"c,omitempty"`
	// Last is the sequence of the last event applied.
	Last uint64 `json:"q,omitempty"`
}

// Window names a window of one currency.
type Window struct {
	Currency schemas.Currency
	Length   time.Duration
}

// MarshalText is part of encoding.TextMarshaler.
func (w Window) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s/%d", w.Currency, w.Length.Milliseconds()), nil
}

// UnmarshalText is part of encoding.TextUnmarshaler.
func (w *Window) UnmarshalText(text []byte) error {
	currency, ms, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(ms, 10, 64)
	w.Currency, w.Length = schemas.Currency(currency), time.Duration(n)*time.Millisecond
	return err
}

// Parts are the parts of one window that are not empty.
type Parts []Part

// Part is the refunds of a sixtieth of a window: its number since 1970, how many, and what they come to.
type Part struct {
	Number int64 `json:"i"`
	Count  int   `json:"n"`
	Micros int64 `json:"m"`
}

// partNumber is the number of the part that a time is in. Parts are whole milliseconds, rounded up.
func partNumber(at time.Time, window time.Duration) int64 {
	return at.UnixMilli() / ((window.Milliseconds() + WindowParts - 1) / WindowParts)
}

// Within drops the parts that a window ending at a time has left behind, and sums the others. What a clock that was
// ahead has counted is among them.
func (p Parts) Within(at time.Time, window time.Duration) (kept Parts, count int, micros int64) {
	now := partNumber(at, window)
	for _, part := range p {
		if part.Number < now-WindowParts {
			continue
		}
		kept = append(kept, part)
		count, micros = count+part.Count, plus(micros, part.Micros)
	}
	return kept, count, micros
}

// add counts one refund.
func (p Parts) add(at time.Time, window time.Duration, micros int64) Parts {
	now := partNumber(at, window)
	for i := range p {
		if p[i].Number == now {
			p[i].Count, p[i].Micros = p[i].Count+1, plus(p[i].Micros, micros)
			return p
		}
	}
	return append(p, Part{now, 1, micros})
}

// Admit tells whether an intent may go ahead, and counts it. The first one that passes a bound stops the provider.
func (v *Velocity) Admit(e Entry) bool {
	pace := e.Hold.Velocity
	if pace == nil {
		return true
	}
	v.Last = e.Seq
	if v.Since != 0 {
		return false
	}
	amount, at := *e.Event.Amount, e.Stored
	if v.Windows == nil {
		v.Windows = map[Window]Parts{}
	}
	var dry *Window
	for _, b := range pace.Bounds {
		key := Window{amount.Currency, b.Window}
		kept, count, micros := v.Windows[key].Within(at, b.Window)
		v.Windows[key] = kept
		passed := b.Count > 0 && count >= b.Count || b.Micros > 0 && plus(micros, amount.Micros) > b.Micros
		if passed && !b.DryRun {
			v.Since, v.Passed, v.Said = e.Seq, &key, 0
			return false
		}
		if passed {
			dry = &key
		}
	}
	counted := map[Window]bool{}
	for _, b := range pace.Bounds {
		key := Window{amount.Currency, b.Window}
		if !counted[key] {
			v.Windows[key], counted[key] = v.Windows[key].add(at, b.Window, amount.Micros), true
		}
	}
	if dry != nil {
		v.Dry, v.DryPassed = v.Dry+1, dry
	}
	return true
}

// Bind takes in that a refund names what was captured. It reports whether that is news.
func (v *Velocity) Bind(e Entry) bool {
	news := !v.Bound
	v.Bound, v.Last = true, e.Seq
	return news
}

// Hear folds a stop or a start in.
func (v *Velocity) Hear(e Entry) {
	v.Last = e.Seq
	switch n := e.Event.N; {
	case e.Event.Kind == schemas.KindStopped && (n > v.Stop || n == v.Stop && v.Said != 0):
		v.Stop, v.Said = n, e.Stored.UnixMilli()
		if v.Since == 0 {
			v.Since = e.Seq
		}
		if v.Passed == nil { // the intent that passed it has aged out
			window, _ := time.ParseDuration(e.Event.Window)
			v.Passed = &Window{e.Event.CurrencyCode, window}
		}
	case e.Event.Kind == schemas.KindStarted && n == v.Stop && v.Said != 0:
		*v = Velocity{Stop: n, Started: e.Stored.UnixMilli(), Dry: v.Dry, DryPassed: v.DryPassed, Bound: v.Bound, Last: v.Last}
	case e.Event.Kind == schemas.KindStarted && n > v.Stop && v.Since == 0: // its stop aged out
		v.Stop, v.Started = n, e.Stored.UnixMilli()
	}
}
