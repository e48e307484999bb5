package schemas

import (
	"encoding/json"
	"time"
)

// MaxEventBytes bounds an event's body. The server's own default bound is 1 MiB.
const MaxEventBytes = 256 << 10

// Event is one fact about a refund (or, for stopped and started, about a provider).
type Event struct {
	Kind        Kind              `json:"kind"`
	RequestID   RequestID         `json:"requestId,omitempty"`
	Provider    ProviderName      `json:"provider"`
	Payment     *Payment          `json:"payment,omitempty"`
	Amount      *Money            `json:"amount,omitempty"`
	RequestedAt *time.Time        `json:"requestedAt,omitempty"`
	OccurredAt  time.Time         `json:"occurredAt"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`

	Attempt        int             `json:"attempt,omitempty"`
	LeaseUntil     *time.Time      `json:"leaseUntil,omitempty"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
	Baseline       json.RawMessage `json:"baseline,omitempty"`

	Reason    Reason     `json:"reason,omitempty"`
	Reissue   *bool      `json:"reissue,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`

	RefundType       RefundType      `json:"refundType,omitempty"`
	ProviderRefundID string          `json:"providerRefundId,omitempty"`
	ProviderResult   *ProviderResult `json:"providerResult,omitempty"`
	FoundBy          FoundBy         `json:"foundBy,omitempty"`

	Reversal *Reversal `json:"reversal,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
	Existing *Existing `json:"existing,omitempty"`

	N  int       `json:"n,omitempty"`
	By *Operator `json:"by,omitempty"`

	CurrencyCode Currency `json:"currencyCode,omitempty"`
	Window       string   `json:"window,omitempty"`

	// BodyHash is the SHA-256 of a rejected command's body. It travels in the event's id only, so a
	// decoded event does not have it.
	BodyHash [32]byte `json:"-"`
}

// ProviderResult is what a provider said, in its own words: scope names the list the code is from.
type ProviderResult struct {
	Scope   string `json:"scope"`
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// Reversal is money of a succeeded refund that came back. Total counts this one in.
type Reversal struct {
	// NoticeID is what a reversal's event id is made from.
	NoticeID  string          `json:"noticeId"`
	Amount    Money           `json:"amount"`
	Total     Money           `json:"total"`
	RawResult json.RawMessage `json:"rawResult,omitempty"`
}

// Existing is the refund that already owns a requestId.
type Existing struct {
	Kind        Kind   `json:"kind,omitempty"`
	Fingerprint string `json:"fingerprint"`
}

// Operator is the person who decided, and what they noted.
type Operator struct {
	Operator string `json:"operator"`
	Note     string `json:"note"`
}

// NewEvent is an event of a kind with the common fields of a command, as far as it has them: a command
// that was not accepted may have only some.
func NewEvent(k Kind, c Command, occurredAt time.Time) Event {
	e := Event{Kind: k, RequestID: c.RequestID, Provider: c.Provider, OccurredAt: occurredAt, Metadata: c.Metadata}
	if c.Payment.Reference != "" {
		e.Payment = &c.Payment
	}
	if c.Amount != (Money{}) {
		e.Amount = &c.Amount
	}
	if !c.RequestedAt.IsZero() {
		e.RequestedAt = &c.RequestedAt
	}
	if e.Payment == nil || e.Amount == nil {
		return e
	}
	if fingerprint, err := c.Fingerprint(); err == nil {
		e.Fingerprint = fingerprint.String()
	}
	return e
}

// After is an event of a kind with the common fields of another event of the same refund.
func (e Event) After(k Kind, occurredAt time.Time) Event {
	return Event{Kind: k, RequestID: e.RequestID, Provider: e.Provider, Payment: e.Payment, Amount: e.Amount,
		RequestedAt: e.RequestedAt, OccurredAt: occurredAt, Fingerprint: e.Fingerprint, Metadata: e.Metadata}
}

// Public is the event without what only workers need: the baseline and the idempotency key.
func (e Event) Public() Event {
	e.Baseline, e.IdempotencyKey = nil, ""
	return e
}

// eventFields has the fields of an event without its methods.
type eventFields Event

// wireEvent is an event whose times have their fixed form; its outer fields hide the inner ones.
type wireEvent struct {
	eventFields
	RequestedAt *stamp `json:"requestedAt,omitempty"`
	OccurredAt  stamp  `json:"occurredAt"`
	LeaseUntil  *stamp `json:"leaseUntil,omitempty"`
	NotBefore   *stamp `json:"notBefore,omitempty"`
}

// MarshalJSON writes the wire form without judging it; Encode judges.
func (e Event) MarshalJSON() ([]byte, error) {
	return marshal(wireEvent{
		eventFields: eventFields(e),
		RequestedAt: stampOf(e.RequestedAt),
		OccurredAt:  stamp(e.OccurredAt),
		LeaseUntil:  deadlineOf(e.LeaseUntil),
		NotBefore:   deadlineOf(e.NotBefore),
	})
}

// Encode writes the event's body and judges it by the rules of DecodeEvent. The same event is the same
// bytes: fields in a fixed order, times in UTC with milliseconds. A rejected event must have its
// BodyHash, because without it the events of different bodies would share one id.
func (e Event) Encode() ([]byte, error) {
	if e.Kind == KindRejected && e.BodyHash == [32]byte{} {
		return nil, &Rejection{ReasonInvalid, []Problem{{"", "must have the hash of the rejected body"}}, "event"}
	}
	body, err := e.MarshalJSON()
	if err != nil {
		return nil, &Rejection{ReasonMalformed, []Problem{{"", "must be JSON"}}, "event"}
	}
	if _, err := DecodeEvent(body); err != nil {
		return nil, err
	}
	return body, nil
}
