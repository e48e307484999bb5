//go:build long

package idempotency

import "testing"

// The same at a size where Redis's own tables weigh as they do in production.
func TestLongRecordsAreSmall(t *testing.T) { recordsAreSmall(t, 200_000) }
