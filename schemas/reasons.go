package schemas

import "slices"

// Kind says what an event states. The strings are frozen.
type Kind string

// Kinds of events. The first six follow a refund; the outcomes are final.
const (
	KindDispatched   Kind = "dispatched"
	KindDeferred     Kind = "deferred"
	KindAcknowledged Kind = "acknowledged"
	KindParked       Kind = "parked"
	KindResumed      Kind = "resumed"
	KindSucceeded    Kind = "succeeded"
	KindCancelled    Kind = "cancelled"
	KindFailed       Kind = "failed"
	KindReversed     Kind = "reversed"
	KindRejected     Kind = "rejected"
	KindStopped      Kind = "stopped"
	KindStarted      Kind = "started"
)

// Kinds lists every kind.
var Kinds = []Kind{KindDispatched, KindDeferred, KindAcknowledged, KindParked, KindResumed, KindSucceeded,
	KindCancelled, KindFailed, KindReversed, KindRejected, KindStopped, KindStarted}

var outcomes = []Kind{KindSucceeded, KindCancelled, KindFailed}

// Outcome reports whether the kind ends a refund: succeeded, cancelled or failed.
func (k Kind) Outcome() bool {
	return slices.Contains(outcomes, k)
}

// Chained reports whether an event of the kind belongs to one refund's chain. The others say nothing about a refund that
// owns the requestId, or have none.
func (k Kind) Chained() bool {
	return slices.Contains(Kinds, k) && k != KindRejected && k != KindStopped && k != KindStarted
}

// Reason is a code from a closed list, one list per kind. The strings are frozen.
type Reason string

// Reasons of failed.
const (
	ReasonDeclined           Reason = "declined"
	ReasonAlreadyRefunded    Reason = "already_refunded"
	ReasonNotRefundable      Reason = "not_refundable"
	ReasonNotFound           Reason = "not_found"
	ReasonWindowExceeded     Reason = "window_exceeded"
	ReasonExceedsRemaining   Reason = "exceeds_remaining"
	ReasonBalanceLimit       Reason = "balance_limit"
	ReasonPromotionalBalance Reason = "promotional_balance"
	ReasonAccountClosed      Reason = "account_closed"
	ReasonAccountOnHold      Reason = "account_on_hold"
	ReasonExpired            Reason = "expired"
	ReasonOperator           Reason = "operator"
)

// Reasons of deferred.
const (
	ReasonInsufficientBalance Reason = "insufficient_balance"
	ReasonDayEnd              Reason = "day_end"
	ReasonProviderBusy        Reason = "provider_busy"
)

// Reasons of rejected.
const (
	ReasonMalformed         Reason = "malformed"
	ReasonInvalid           Reason = "invalid"
	ReasonTooOld            Reason = "too_old"
	ReasonRequestIDConflict Reason = "request_id_conflict"
	ReasonUnsupported       Reason = "unsupported"
)

// Reasons of parked, and of stopped (velocity_stop).
const (
	ReasonOutcomeUnknown   Reason = "outcome_unknown"
	ReasonOutcomeOverdue   Reason = "outcome_overdue"
	ReasonRetriesExhausted Reason = "retries_exhausted"
	ReasonContradiction    Reason = "contradiction"
	ReasonPartial          Reason = "partial"
	ReasonVelocityStop     Reason = "velocity_stop"
)

// FoundBy says how an outcome became known.
type FoundBy string

// Ways in which an outcome becomes known.
const (
	FoundByCall     FoundBy = "call"
	FoundByLookup   FoundBy = "lookup"
	FoundByNotice   FoundBy = "notice"
	FoundByOperator FoundBy = "operator"
)

var foundBys = []FoundBy{FoundByCall, FoundByLookup, FoundByNotice, FoundByOperator}

// RefundType says what became of the payment: money on its way back, or the payment voided.
type RefundType string

// Refund types.
const (
	RefundTypeRefund RefundType = "REFUND"
	RefundTypeCancel RefundType = "CANCEL"
)

var reasons = map[Kind][]Reason{
	KindFailed: {ReasonDeclined, ReasonAlreadyRefunded, ReasonNotRefundable, ReasonNotFound, ReasonWindowExceeded,
		ReasonExceedsRemaining, ReasonBalanceLimit, ReasonPromotionalBalance, ReasonAccountClosed,
		ReasonAccountOnHold, ReasonExpired, ReasonOperator},
	KindDeferred: {ReasonInsufficientBalance, ReasonDayEnd, ReasonProviderBusy},
	KindRejected: {ReasonMalformed, ReasonInvalid, ReasonTooOld, ReasonRequestIDConflict, ReasonUnsupported},
	KindParked: {ReasonOutcomeUnknown, ReasonOutcomeOverdue, ReasonRetriesExhausted, ReasonContradiction,
		ReasonPartial, ReasonVelocityStop},
	KindStopped: {ReasonVelocityStop},
	KindStarted: {ReasonVelocityStop},
}

// ReasonsOf lists the reasons an event of a kind may give; it is empty for kinds without a reason.
func ReasonsOf(k Kind) []Reason { return slices.Clone(reasons[k]) }

// reissuable holds the reasons of failed that pass with time, with a smaller amount or by a decision.
var reissuable = map[Reason]bool{
	ReasonDeclined:         true,
	ReasonExceedsRemaining: true,
	ReasonBalanceLimit:     true,
	ReasonAccountOnHold:    true,
	ReasonExpired:          true,
	ReasonOperator:         true,
}

// ReissueAllowed reports, for a reason of failed, whether a new requestId for the same payment may
// succeed. It is false where the payment itself stands against it: refunded already, not refundable,
// unknown, outside the window, a promotional balance, a closed account.
func (r Reason) ReissueAllowed() bool { return reissuable[r] }
