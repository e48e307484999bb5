package simulator

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// cgRefusal is a no: the members of the errors envelope, and the HTTP status.
type cgRefusal struct {
	status int
	// Code is below 10000 for what the simulator refuses itself and above for what the bank refuses.
	Code        string `json:"errorCode"`
	Description string `json:"errorDescription"`
	Group       string `json:"errorGroup,omitempty"`
}

// Refusals of the request itself. Craftgate publishes neither these codes nor the statuses of 401 and 404,
// so they are the simulator's own: a caller must not read a meaning into a code.
var (
	refusedAPIKey      = &cgRefusal{http.StatusUnauthorized, "9001", "api key is not known", ""}
	refusedAuthVersion = &cgRefusal{http.StatusUnauthorized, "9002", "x-auth-version must be V1", ""}
	refusedRandomKey   = &cgRefusal{http.StatusUnauthorized, "9003", "x-rnd-key is missing", ""}
	refusedSignedWrong = &cgRefusal{http.StatusUnauthorized, "9004", "Signature is not equal!", ""}
	refusedNotFound    = &cgRefusal{http.StatusNotFound, "9101", "there is no such record", ""}
	refusedNoPayment   = &cgRefusal{http.StatusUnprocessableEntity, "9102", "payment is not known", ""}
	refusedKeyReused   = &cgRefusal{http.StatusUnprocessableEntity, "9201", "x-idempotency-key came with another request before", ""}
)

// refusedOrder is 9100: the request cannot be read, or lacks something.
func refusedOrder(err error) *cgRefusal {
	return &cgRefusal{http.StatusUnprocessableEntity, "9100", err.Error(), ""}
}

// cgBankCode stands for every group, because no number of a refund's group is published.
const cgBankCode = "10999"

// cgGroups are the groups that refunds of the sandbox can end in, with the simulator's own texts.
var cgGroups = map[string]string{
	"MAY_HAVE_ALREADY_REFUNDED":    "amount is above what is left; perhaps it was refunded before",
	"TOO_MANY_REQUESTS":            "a refund of this payment is still running",
	"POS_BALANCE_NOT_SUFFICIENT":   "balance of the POS is not sufficient",
	"REQUIRES_DAY_END":             "day end of the bank must run first",
	"REFUND_DECLINE":               "refund is not possible at the moment",
	"UNKNOWN":                      "answer of the bank was not understood",
	"ARCHIVED_PAYMENT":             "payment is archived at the bank",
	"EXPIRED_PROVISION":            "authorisation has expired",
	"INVALID_REFUND_TRANSACTION":   "refund is not valid",
	"NON_REFUNDABLE_PAYMENT":       "payment cannot be refunded in its state",
	"PAYMENT_NOT_FOUND_FOR_REFUND": "bank does not know the payment",
	cgGroupDeclined:                "bank declined",
}

// The groups that the simulator itself raises.
const (
	cgGroupAboveRest = "MAY_HAVE_ALREADY_REFUNDED"
	cgGroupRunning   = "TOO_MANY_REQUESTS"
	cgGroupDeclined  = "DECLINED"
)

// refusedByBank is a refusal with a group.
func refusedByBank(group string) *cgRefusal {
	text := cmp.Or(cgGroups[group], "refused by a scripted fault")
	return &cgRefusal{http.StatusUnprocessableEntity, cgBankCode, text, group}
}

func (r *cgRefusal) reply() reply { return cgReply(r.status, "errors", r) }

func cgSuccess(data any) reply { return cgReply(http.StatusOK, "data", data) }

func cgReply(status int, member string, content any) reply {
	body, err := json.Marshal(map[string]any{member: content})
	if err != nil {
		hangUp()
	}
	return reply{status: status, contentType: contentJSON, body: body}
}
