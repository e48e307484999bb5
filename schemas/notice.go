package schemas

import (
	"encoding/json"
	"time"
)

// MaxNoticeBytes bounds a notice's body.
const MaxNoticeBytes = 64 << 10

// NoticeType says what a notice tells. The strings are frozen.
type NoticeType string

// Types of notices.
const (
	NoticeResultType   NoticeType = "result"
	NoticeReversalType NoticeType = "reversal"
)

var noticeTypes = []NoticeType{NoticeResultType, NoticeReversalType}

// Notice tells, from outside of any call, what became of a refund: its result, or that it came back.
type Notice struct {
	// NoticeID names the fact, 1 to 200 characters; the same fact must come with the same id.
	NoticeID string       `json:"noticeId"`
	Provider ProviderName `json:"provider"`
	// RefundRequestID is the requestId of the refund's command.
	RefundRequestID RequestID  `json:"refundRequestId"`
	Type            NoticeType `json:"type"`
	// Result is there for NoticeResultType only, Reversal for NoticeReversalType only.
	Result     *NoticeResult   `json:"result,omitempty"`
	Reversal   *NoticeReversal `json:"reversal,omitempty"`
	ReceivedAt time.Time       `json:"receivedAt"`
	// Source says where the notice came from, such as "edge" or a file's name, 1 to 200 characters.
	Source string `json:"source"`
}

// NoticeResult is an outcome as a provider announced it. Reason is there for failed only.
type NoticeResult struct {
	Kind             Kind            `json:"kind"`
	Reason           Reason          `json:"reason,omitempty"`
	ProviderRefundID string          `json:"providerRefundId,omitempty"`
	ProviderResult   *ProviderResult `json:"providerResult,omitempty"`
}

// NoticeReversal is money of a succeeded refund that came back.
type NoticeReversal struct {
	Amount    Money           `json:"amount"`
	RawResult json.RawMessage `json:"rawResult,omitempty"`
}

// DecodeNotice reads a notice strictly; its errors are as those of DecodeCommand.
func DecodeNotice(body []byte) (Notice, error) {
	if len(body) > MaxNoticeBytes {
		tooLarge := []Problem{{"", "must be at most 65536 bytes"}}
		return Notice{}, &Rejection{ReasonMalformed, tooLarge, "notice"}
	}
	root, problems := parse(body)
	if len(problems) > 0 {
		return Notice{}, &Rejection{ReasonMalformed, problems, "notice"}
	}
	r := &reader{}
	n := readNotice(r.object(root, ""))
	if len(r.problems) > 0 {
		return Notice{}, &Rejection{ReasonInvalid, r.problems, "notice"}
	}
	return n, nil
}

func readNotice(o fields) Notice {
	n := Notice{
		NoticeID:        o.text("noticeId", required, ruleNoticeID),
		Provider:        ProviderName(o.text("provider", required, ruleProvider)),
		RefundRequestID: RequestID(o.text("refundRequestId", required, ruleRequestID)),
		Type:            NoticeType(o.text("type", required, oneOf(noticeTypes...))),
		Source:          o.text("source", required, ruleName),
	}
	if t := o.time("receivedAt", required); t != nil {
		n.ReceivedAt = *t
	}
	switch n.Type {
	case NoticeResultType:
		n.Result = o.noticeResult()
	case NoticeReversalType:
		n.Reversal = o.noticeReversal()
	}
	o.refuseUnknown()
	return n
}

func (f fields) noticeResult() *NoticeResult {
	o := f.object("result", required)
	result := NoticeResult{
		Kind:             Kind(o.text("kind", required, oneOf(outcomes...))),
		ProviderRefundID: o.text("providerRefundId", optional, ruleName),
		ProviderResult:   o.providerResult(),
	}
	if result.Kind == KindFailed {
		result.Reason = Reason(o.text("reason", required, oneOf(reasons[KindFailed]...)))
	}
	o.refuseUnknown()
	return &result
}

func (f fields) noticeReversal() *NoticeReversal {
	o := f.object("reversal", required)
	reversal := NoticeReversal{RawResult: o.raw("rawResult")}
	if amount := o.amount("amount", required); amount != nil {
		reversal.Amount = *amount
	}
	o.refuseUnknown()
	return &reversal
}

// noticeFields has the fields of a notice without its methods.
type noticeFields Notice

type wireNotice struct {
	noticeFields
	ReceivedAt stamp `json:"receivedAt"`
}

// MarshalJSON writes the wire form without judging it; Encode judges.
func (n Notice) MarshalJSON() ([]byte, error) {
	return marshal(wireNotice{noticeFields: noticeFields(n), ReceivedAt: stamp(n.ReceivedAt)})
}

// Encode writes the notice's body and judges it by the rules of DecodeNotice.
func (n Notice) Encode() ([]byte, error) {
	body, err := n.MarshalJSON()
	if err != nil {
		return nil, &Rejection{ReasonMalformed, []Problem{{"", "must be JSON"}}, "notice"}
	}
	if _, err := DecodeNotice(body); err != nil {
		return nil, err
	}
	return body, nil
}

// MsgID is the message id to publish a notice's body under: the hash of the notice's id and that of
// the body, so that only the very same notice counts as a duplicate.
func (n Notice) MsgID(body []byte) string {
	return hashHex([]byte(n.NoticeID), 16) + ":" + hashHex(body, 16)
}
