package brakes

import (
	"sync"
	"time"
)

// cooldown is a time in which a provider is left alone because it takes no calls of ours, be it for our credentials or for
// their number: every refund would fare alike. Cooldowns grow longer while they follow each other, and after each of them
// one call goes first: the probe. It is safe for concurrent use.
type cooldown struct {
	// why says what calls are held back for.
	why error
	// first is the length of the first cooldown, and longest bounds each of them, whatever the provider asks for.
	first, longest time.Duration
	// firm: an answer during the cooldown does not end it, since it is to a call from before.
	firm bool

	mu sync.Mutex
	// inARow counts the cooldowns since the last answer; 0 means that nothing is wrong.
	inARow int
	until  time.Time
	// probing: the probe is out.
	probing bool
}

// room is how many calls may begin now.
func (c *cooldown) room(now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inARow == 0:
		return Unbounded
	case c.probing, now.Before(c.until):
		return 0
	}
	return 1
}

// isDoubted reports whether calls were refused and none was taken since.
func (c *cooldown) isDoubted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inARow > 0
}

// admit is part of brake. The first call after a cooldown is the probe until it is released.
func (c *cooldown) admit(now time.Time) (release func(health), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inARow == 0:
		return func(health) {}, nil
	case c.probing, now.Before(c.until):
		return nil, c.why
	}
	c.probing = true
	mine := c.until
	return func(health) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.until.Equal(mine) { // else it was reported, and another probe may be out
			c.probing = false
		}
	}, nil
}

// begin notes that the provider took no call, and for how long it wants none, if it says so. It returns the cooldown's
// length from now and whether it begins: calls that were under way at once begin one together.
func (c *cooldown) begin(now time.Time, asked time.Duration) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked = min(asked, c.longest)
	if now.Before(c.until) {
		if until := now.Add(asked); until.After(c.until) {
			c.until = until
		}
		return c.until.Sub(now), false
	}
	if asked <= 0 {
		asked = min(c.first<<min(c.inARow, 20), c.longest)
	}
	c.inARow++
	c.until, c.probing = now.Add(asked), false
	return asked, true
}

// end notes an answer to a call, whatever it was, and reports whether calls had been refused.
func (c *cooldown) end(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inARow == 0 || c.firm && now.Before(c.until) {
		return false
	}
	c.inARow, c.until, c.probing = 0, time.Time{}, false
	return true
}
