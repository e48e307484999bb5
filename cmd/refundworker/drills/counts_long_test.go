//go:build long

package drills

import "testing"

// The exact counts with 10,000 refunds each.
func TestLongExactCounts(t *testing.T) {
	t.Run("joined servers", func(t *testing.T) { joinedServers(t, 10_000) })
	t.Run("workers killed and Redis emptied", func(t *testing.T) { workersKilled(t, 10_000) })
}
