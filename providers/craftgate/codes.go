package craftgate

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"refundworker/providers"
	"refundworker/schemas"
)

// Scopes of schemas.ProviderResult.
const (
	scopeGroup   = "craftgate.errorGroup"
	scopeCode    = "craftgate.errorCode"
	scopeStatus  = "craftgate.status"
	scopePayment = "craftgate.refundStatus"
)

// Class is what an error group says about the refund that it answers.
type Class int

// Classes. The zero value is that of every group that is not in the table. Of several failures without a doubt, the one
// whose class comes last here decides.
const (
	// InDoubt: the refund may have happened.
	InDoubt Class = iota
	// Final: a final no; nothing moved.
	Final
	// Later: a no for now; nothing moved.
	Later
	// LookFirst: this refund, or another one, may have used up what was left: the payment tells.
	LookFirst
	// Running: another request for a refund of the payment is at work, which may be an earlier one of ours.
	Running
)

func (c Class) String() string {
	return [...]string{"in doubt", "final", "later", "look first", "running"}[c]
}

// Group is a row of the table of error groups.
type Group struct {
	Name  string
	Class Class
	// Reason is set for Final (a reason of failed) and Later (a reason of deferred, which brings its delay).
	Reason schemas.Reason
}

// Craftgate's numeric codes are not published; the groups are, and they are an open list.
var groups = []Group{
	{"MAY_HAVE_ALREADY_REFUNDED", LookFirst, ""},
	{"TOO_MANY_REQUESTS", Running, ""},
	{"UNKNOWN", InDoubt, ""},
	{"COMMUNICATION_OR_SYSTEM_ERROR", InDoubt, ""},
	{"NO_RESPONSE", InDoubt, ""},
	{"REQUEST_TIMEOUT", InDoubt, ""},
	{"ISSUER_OR_SWITCH_INOPERATIVE", InDoubt, ""},
	{"REQUIRES_DAY_END", Later, schemas.ReasonDayEnd},
	{"POS_BALANCE_NOT_SUFFICIENT", Later, schemas.ReasonInsufficientBalance},
	{"REFUND_DECLINE", Later, schemas.ReasonProviderBusy},
	{"ARCHIVED_PAYMENT", Final, schemas.ReasonWindowExceeded},
	{"EXPIRED_PROVISION", Final, schemas.ReasonNotRefundable},
	{"INVALID_REFUND_TRANSACTION", Final, schemas.ReasonNotRefundable},
	{"NON_REFUNDABLE_PAYMENT", Final, schemas.ReasonNotRefundable},
	{"PAYMENT_NOT_FOUND_FOR_REFUND", Final, schemas.ReasonNotFound},
	{"NOT_PERMITTED_TO_TERMINAL", Final, schemas.ReasonDeclined},
	{"DECLINED", Final, schemas.ReasonDeclined},
	{"DO_NOT_HONOUR", Final, schemas.ReasonDeclined},
	{"REQUEST_BLOCKED_BY_BANK", Final, schemas.ReasonDeclined},
	{"INVALID_AMOUNT", Final, schemas.ReasonDeclined},
	{"INVALID_TRANSACTION", Final, schemas.ReasonDeclined},
}

// Groups is the table of error groups, for people. A group that it does not hold is in doubt.
func Groups() []Group { return slices.Clone(groups) }

func groupOf(name text) Group {
	i := slices.IndexFunc(groups, func(g Group) bool { return g.Name == string(name) })
	if i < 0 {
		return Group{Name: string(name)}
	}
	return groups[i]
}

// firstBankCode is the first code of a payment error; those below are about the request itself and have no group.
const firstBankCode = 10000

// malformed reports whether a refusal is about the request itself, before anything was tried.
func (r refusal) malformed() bool {
	code, err := strconv.Atoi(string(r.Code))
	return r.Group == "" && err == nil && code >= 0 && code < firstBankCode
}

// group is the row that a booked failure or a refusal falls under. A failure that is booked without a group failed all
// the same.
func (r refusal) group() Group {
	if r.Group == "" && r.booked {
		return Group{Class: Final, Reason: schemas.ReasonDeclined}
	}
	return groupOf(r.Group)
}

// result is the answer that a refusal is, the zero value where it is none.
func (r refusal) result() providers.Result {
	switch g := r.group(); g.Class {
	case Final:
		return providers.Result{Status: providers.Declined, Reason: g.Reason, Raw: r.said()}
	case Later:
		return providers.Result{Status: providers.NotNow, Reason: g.Reason, Raw: r.said()}
	}
	return providers.Result{}
}

var (
	shortCode = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	idForm    = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
)

// cleanCode is a code fit for events and errors.
func cleanCode(code text) string {
	if !shortCode.MatchString(string(code)) {
		return "unreadable"
	}
	return providers.CleanMessage(string(code))
}

// name is a refusal in one word.
func (r refusal) name() string { return cleanCode(cmp.Or(r.Group, r.Code, text(statusFailure))) }

// said is what Craftgate refused with. The bank's own words are kept for people and decide nothing.
func (r refusal) said() *schemas.ProviderResult {
	scope := scopeGroup
	switch {
	case r.Group == "" && r.Code == "":
		scope = scopeStatus
	case r.Group == "":
		scope = scopeCode
	}
	message := string(r.Description)
	if bank := r.ProviderError; bank != nil {
		message += "; bank: " + string(bank.Code) + " " + string(bank.Message)
	}
	return &schemas.ProviderResult{Scope: scope, Code: r.name(), Message: providers.CleanMessage(message)}
}
