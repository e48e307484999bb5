//go:build long

package drills

import (
	"testing"
	"time"
)

// Redis is frozen for longer than an event may wait to be applied.
func TestLongRedisFrozen(t *testing.T) {
	newOutage(t).frozen(40 * time.Second)
}
