package wire

import "refundworker/schemas"

// Result is a row of Results: what a refund's result in a notification means.
type Result struct {
	Family Family
	// Name is the union's member in the object family, the enum's value in the flat one.
	Name string
	// Kind is the outcome; Reason is there for failed only.
	Kind   schemas.Kind
	Reason schemas.Reason
}

// Results is every result that the protocol publishes. Of the flat enum it names only these and "others".
//
// After refundWindowExceeded and REFUND_WINDOW_EXCEEDED Google allows itself to try again under a new requestId. Our
// failed(window_exceeded) says reissue false all the same: the window belongs to the payment, so another refund of it
// ends alike.
var Results = []Result{
	{Object, "success", schemas.KindSucceeded, ""},
	{Object, "accountClosed", schemas.KindFailed, schemas.ReasonAccountClosed},
	{Object, "accountClosedAccountTakenOver", schemas.KindFailed, schemas.ReasonAccountClosed},
	{Object, "accountClosedFraud", schemas.KindFailed, schemas.ReasonAccountClosed},
	{Object, "accountOnHold", schemas.KindFailed, schemas.ReasonAccountOnHold},
	{Object, "refundExceedsMaximumBalance", schemas.KindFailed, schemas.ReasonBalanceLimit},
	{Object, "refundWindowExceeded", schemas.KindFailed, schemas.ReasonWindowExceeded},
	{Object, "captureUsedPromotionalBalance", schemas.KindFailed, schemas.ReasonPromotionalBalance},
	{Flat, "SUCCESS", schemas.KindSucceeded, ""},
	{Flat, "NO_MONEY_LEFT_ON_TRANSACTION", schemas.KindFailed, schemas.ReasonExceedsRemaining},
	{Flat, "REFUND_WINDOW_EXCEEDED", schemas.KindFailed, schemas.ReasonWindowExceeded},
}

// known is the row of a result. A value that is not published has no meaning that could be guessed.
func (f fields) known(field, name string) Result {
	for _, row := range Results {
		if row.Family == f.r.family && row.Name == name {
			return row
		}
	}
	if name != "" {
		f.invalid(field, "not a published result")
	}
	return Result{}
}

// Report is a row of Reports: how an outcome of ours is told to Google.
type Report struct {
	Family Family
	Kind   schemas.Kind
	Reason schemas.Reason
	// Name is the union's member in the object family, the enum's value in the flat one.
	Name string
	// Lossless tells that reading the name back gives this outcome again.
	Lossless bool
	// Remark says what a lossy name leaves out. Such a result carries the reason itself in its rawResult.
	Remark string
}

const (
	remarkCancel  = "the protocol does not tell a void from a refund"
	remarkNothing = "the protocol has no name for it; of its failures this one accuses nobody, and " + remarkWindow
	remarkAccount = "the published part of the enum says nothing about accounts; " + remarkWindow
	remarkWindow  = "Google may try again under a new requestId, while read back it says reissue false, because the window belongs to the payment"
)

// Reports is every outcome of ours in both families.
var Reports = []Report{
	{Object, schemas.KindSucceeded, "", "success", true, ""},
	{Object, schemas.KindCancelled, "", "success", false, remarkCancel},
	{Object, schemas.KindFailed, schemas.ReasonDeclined, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonAlreadyRefunded, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonNotRefundable, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonNotFound, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonWindowExceeded, "refundWindowExceeded", true, ""},
	{Object, schemas.KindFailed, schemas.ReasonExceedsRemaining, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonBalanceLimit, "refundExceedsMaximumBalance", true, ""},
	{Object, schemas.KindFailed, schemas.ReasonPromotionalBalance, "captureUsedPromotionalBalance", true, ""},
	{Object, schemas.KindFailed, schemas.ReasonAccountClosed, "accountClosed", true, ""},
	{Object, schemas.KindFailed, schemas.ReasonAccountOnHold, "accountOnHold", true, ""},
	{Object, schemas.KindFailed, schemas.ReasonExpired, "refundWindowExceeded", false, remarkNothing},
	{Object, schemas.KindFailed, schemas.ReasonOperator, "refundWindowExceeded", false, remarkNothing},
	{Flat, schemas.KindSucceeded, "", "SUCCESS", true, ""},
	{Flat, schemas.KindCancelled, "", "SUCCESS", false, remarkCancel},
	{Flat, schemas.KindFailed, schemas.ReasonDeclined, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
	{Flat, schemas.KindFailed, schemas.ReasonAlreadyRefunded, "NO_MONEY_LEFT_ON_TRANSACTION", false, "true, but not that a refund took it"},
	{Flat, schemas.KindFailed, schemas.ReasonNotRefundable, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
	{Flat, schemas.KindFailed, schemas.ReasonNotFound, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
	{Flat, schemas.KindFailed, schemas.ReasonWindowExceeded, "REFUND_WINDOW_EXCEEDED", true, ""},
	{Flat, schemas.KindFailed, schemas.ReasonExceedsRemaining, "NO_MONEY_LEFT_ON_TRANSACTION", true, ""},
	{Flat, schemas.KindFailed, schemas.ReasonBalanceLimit, "REFUND_WINDOW_EXCEEDED", false, remarkAccount},
	{Flat, schemas.KindFailed, schemas.ReasonPromotionalBalance, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
	{Flat, schemas.KindFailed, schemas.ReasonAccountClosed, "REFUND_WINDOW_EXCEEDED", false, remarkAccount},
	{Flat, schemas.KindFailed, schemas.ReasonAccountOnHold, "REFUND_WINDOW_EXCEEDED", false, remarkAccount},
	{Flat, schemas.KindFailed, schemas.ReasonExpired, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
	{Flat, schemas.KindFailed, schemas.ReasonOperator, "REFUND_WINDOW_EXCEEDED", false, remarkNothing},
}
