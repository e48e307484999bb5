package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refundworker/schemas"
)

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
	reply, err := s.scripts.do(ctx, rateScript, []string{s.rateKey(t.Provider)}, t.Calls, int64(turn),
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

func (s *Store) rateKey(p schemas.ProviderName) string { return s.tag(0) + ":rate:" + string(p) }
