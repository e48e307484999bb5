package idempotency

import "refundworker/schemas"

// openMember names an open refund among those of its partition.
func openMember(p schemas.ProviderName, id schemas.RequestID) string {
	return string(p) + " " + string(id)
}
