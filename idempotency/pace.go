package idempotency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// VelocityLook is what was seen of a provider's pace.
type VelocityLook struct {
	// Stopped is set while nothing goes ahead. Said is when the event that says so was last journalled, and Stop its number;
	// while Said is zero, Stop is the number of the last stop before.
	Stopped bool
	Said    time.Time
	Stop    int
	// Currency and Window are the bound that was passed; empty when a stop was not caused by one.
	Currency schemas.Currency
	Window   time.Duration
	// Started is when the provider was last let go on; the zero time when it never was.
	Started time.Time
	// Dry counts the intents that passed a bound of a dry run since the journal began; DryPassed is the last such bound.
	Dry       int
	DryPassed string
	// Bound is set once some refund of the provider has named what was captured of its payment.
	Bound bool
	// Windows are the windows that are not empty.
	Windows []WindowLook
	// At is the journal position as of which this was so.
	At uint64
}

// Passed is what the window of the bound that was passed holds; the zero value when there is none.
func (l VelocityLook) Passed() WindowLook {
	for _, w := range l.Windows {
		if w.Currency == l.Currency && w.Window == l.Window {
			return w
		}
	}
	return WindowLook{}
}

// WindowLook is what one window holds.
type WindowLook struct {
	Currency schemas.Currency
	Window   time.Duration
	Count    int
	Micros   int64
}

// LookVelocity tells how fast a provider's refunds go and whether they may go on. It answers ErrNotReady as LookPayment
// does.
func (s *Store) LookVelocity(ctx context.Context, p schemas.ProviderName) (VelocityLook, error) {
	key, partition := s.keys.velocity(p)
	text, at, err := s.lookAt(ctx, key, velocityField, partition)
	if err != nil {
		return VelocityLook{}, fmt.Errorf("look at the velocity of %s: %w", p, err)
	}
	look := lookOf(readVelocity(text), time.Now())
	look.At = at
	return look, nil
}

func lookOf(v ledger.Velocity, now time.Time) VelocityLook {
	l := VelocityLook{Stopped: v.Since != 0, Stop: v.Stop, Dry: v.Dry, Bound: v.Bound}
	if v.Said != 0 {
		l.Said = time.UnixMilli(v.Said).UTC()
	}
	if v.DryPassed != nil {
		l.DryPassed = fmt.Sprintf("%s per %s", v.DryPassed.Currency, v.DryPassed.Length)
	}
	if v.Passed != nil {
		l.Currency, l.Window = v.Passed.Currency, v.Passed.Length
	}
	if v.Started != 0 {
		l.Started = time.UnixMilli(v.Started).UTC()
	}
	for key, parts := range v.Windows {
		if _, count, micros := parts.Within(now, key.Length); count > 0 {
			l.Windows = append(l.Windows, WindowLook{key.Currency, key.Length, count, micros})
		}
	}
	slices.SortFunc(l.Windows, func(a, b WindowLook) int {
		if a.Currency != b.Currency {
			return strings.Compare(string(a.Currency), string(b.Currency))
		}
		return int(a.Window - b.Window)
	})
	return l
}

// Turns are calls of a provider that a worker asks the fleet for.
type Turns struct {
	Provider schemas.ProviderName
	// PerSecond is what all workers together may call; 0 is no bound.
	PerSecond int
	// Calls are reserved together, or none of them.
	Calls int
	// AtMost is how long the caller can wait for the last of them.
	AtMost time.Duration
}

// errRateReply occurs when Redis answers something that the script never says.
var errRateReply = errors.New("reply is not a wait and whether turns are reserved")

// TakeTurns reserves turns and tells how long to wait for them, by Redis's own clock, so that workers need not agree on
// the time. It reports false, and nothing is reserved, when that would be longer than AtMost. Within any time, the rate
// is passed by no more than a burst: a tenth of a second's turns, or one refund's two.
//
// An error gives no turn: the caller makes no call. Turns are never given back, so a reply that is lost, or a script that
// a client sends twice, costs turns and nothing else. A Redis that lost its keys lets one burst more through.
func (s *Store) TakeTurns(ctx context.Context, t Turns) (wait time.Duration, ok bool, err error) {
	if t.PerSecond == 0 {
		return 0, true, nil
	}
	// Rounded up: many turns that are too short would add up to a higher rate.
	turn := (time.Second/time.Microsecond + time.Duration(t.PerSecond) - 1) / time.Duration(t.PerSecond)
	reply, err := s.scripts.do(ctx, rateScript, []string{s.keys.rate(t.Provider)}, t.Calls, int64(turn),
		max(2, t.PerSecond/10), t.AtMost.Microseconds())
	if err != nil {
		return 0, false, fmt.Errorf("take turns of %s: %w", t.Provider, err)
	}
	values, _ := reply.([]any)
	if len(values) != 2 {
		return 0, false, fmt.Errorf("take turns of %s: %w", t.Provider, errRateReply)
	}
	micros, isWait := values[0].(int64)
	reserved, isFlag := values[1].(int64)
	if !isWait || !isFlag {
		return 0, false, fmt.Errorf("take turns of %s: %w", t.Provider, errRateReply)
	}
	return time.Duration(micros) * time.Microsecond, reserved == 1, nil
}
