package fop

import (
	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// Case tells apart what one error code may be about.
type Case string

// Cases of INVALID_IDENTIFIER.
const (
	// OfAccount: the account is unknown, or not ours.
	OfAccount Case = "the account"
	// OfYoungPayment: the payment is unknown within an hour of requestedAt.
	OfYoungPayment Case = "the payment, within an hour of requestedAt"
	// OfPayment: the payment is unknown, and should long be known.
	OfPayment Case = "the payment, later"
)

// Answer is a row of Answers: what a response that refused means.
type Answer struct {
	// Code is the error code of a response that tells one; such a response may have any status from 400 to 499.
	Code wire.Code
	// Case is there where a code means several things.
	Case Case
	// HTTP is the status of a response that tells no code.
	HTTP int
	// Status is the answer; with NoResult there is none, and Kind says what that leaves open.
	Status providers.Status
	Reason schemas.Reason
	Kind   providers.Kind
	// Why says why it is read so.
	Why string
}

// Answers is how responses that refused are read. Everything that is not listed is of kind Unknown: every status of the
// 300s and 500s whatever it tells, and every 200 that is not a fresh acknowledgement.
//
// PRECONDITION_VIOLATION is exceeds_remaining, not declined, because that is the one example that the protocol gives, its
// list of reasons to refuse has no other that this method may give, and both let a new requestId succeed.
var Answers = []Answer{
	{Code: wire.PreconditionViolation, Status: providers.Declined, Reason: schemas.ReasonExceedsRemaining,
		Why: "the payment has too little left; other noes come later as results"},
	{Code: wire.InvalidIdentifier, Case: OfYoungPayment, Status: providers.NotNow, Reason: schemas.ReasonProviderBusy,
		Why: "the integrator's record of the payment may lag behind"},
	{Code: wire.InvalidIdentifier, Case: OfPayment, Status: providers.Declined, Reason: schemas.ReasonNotFound,
		Why: "the integrator has no such payment"},
	{Code: wire.InvalidIdentifier, Case: OfAccount, Kind: providers.Unauthorized, Why: "account or keys are mixed up"},
	{Code: wire.IdempotencyViolation, Status: providers.Conflicting, Why: "the requestId was taken on with other content"},
	{Code: wire.UserActionInProgress, Kind: providers.Unavailable, Why: "a lock is held; it passes"},
	{Code: wire.RequestTimestampOutOfRange, Kind: providers.Unavailable, Why: "the clocks are apart; nothing was looked at"},
	{Code: wire.InvalidAPIVersion, Kind: providers.Invalid, Why: "the integrator does not serve this version"},
	{Code: wire.InvalidDecryptedRequest, Kind: providers.Invalid, Why: "the integrator cannot read the document"},
	{Code: wire.InvalidFieldValue, Kind: providers.Invalid, Why: "the integrator can never accept the value"},
	{Code: wire.MissingRequiredField, Kind: providers.Invalid, Why: "the integrator wants more than this API has"},
	{Code: wire.InvalidPayloadSignature, Kind: providers.Unauthorized, Why: "our signing key is unknown or not active"},
	{Code: wire.InvalidPayloadEncryption, Kind: providers.Unauthorized, Why: "our encryption key is unknown or not active"},
	{Code: wire.Forbidden, Kind: providers.Unauthorized, Why: "we may not do this"},
	{HTTP: 400, Kind: providers.Unauthorized, Why: "unknown keys and accounts are refused without a code"},
	{HTTP: 401, Kind: providers.Unauthorized, Why: "unknown keys and accounts are refused without a code"},
	{HTTP: 403, Kind: providers.Unauthorized, Why: "unknown keys and accounts are refused without a code"},
	{HTTP: 404, Kind: providers.Unauthorized, Why: "unknown keys and accounts are refused without a code"},
	{HTTP: 409, Kind: providers.Unavailable, Why: "given up because another request was in the way"},
	{HTTP: 412, Status: providers.Conflicting, Why: "the status goes with IDEMPOTENCY_VIOLATION alone"},
	{HTTP: 423, Kind: providers.Unavailable, Why: "a lock is held; it passes"},
	{HTTP: 429, Kind: providers.RateLimited, Why: "too many requests"},
}

// answerOf is the row of a response, and whether there is one.
func answerOf(code wire.Code, of Case, status int) (Answer, bool) {
	for _, row := range Answers {
		if row.Code == code && row.Case == of && (code != "" || row.HTTP == status) {
			return row, true
		}
	}
	return Answer{}, false
}
