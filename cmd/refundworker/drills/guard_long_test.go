//go:build long

package drills

import (
	"testing"
)

// The same for much longer, with the troubles in any order.
func TestLongRefundsInContestNeverExceedTheirPayments(t *testing.T) {
	t.Parallel()
	const rounds = 12
	c := cardContest(t, 50)
	c.parts = rounds / 2 // of two refunds a round, so that half of them fit
	c.open()
	troubles := []func(){c.emptied}
	for i := range c.workers {
		troubles = append(troubles, func() { c.killed(i) }, func() { c.killed(i); c.emptied() })
	}
	for round := range rounds {
		if round%len(troubles) == 0 {
			c.random.Shuffle(len(troubles), func(i, j int) { troubles[i], troubles[j] = troubles[j], troubles[i] })
		}
		c.wave(2)
		troubles[round%len(troubles)]()
	}
	end(c)
	c.judge()
	c.neverStopped()
	c.load.quiet()
}
