package idempotency

import (
	"strings"

	"refundworker/schemas"
)

// openMember names an open refund among those of its partition.
func openMember(p schemas.ProviderName, id schemas.RequestID) string {
	return string(p) + " " + string(id)
}

// readMember is openMember's opposite.
func readMember(member string) (schemas.ProviderName, schemas.RequestID) {
	provider, id, _ := strings.Cut(member, " ")
	return schemas.ProviderName(provider), schemas.RequestID(id)
}
