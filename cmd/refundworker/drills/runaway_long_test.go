//go:build long

package drills

import (
	"testing"
	"time"
)

// The same with 5,000 refunds within 5 seconds, and 100 a minute.
func TestLongRunawayCallerIsStopped(t *testing.T) {
	t.Parallel()
	newRunaway(t, 5_000, 100).play(5 * time.Second)
}
