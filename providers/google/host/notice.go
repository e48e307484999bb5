package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// source is where the notices say they come from.
const source = "edge"

// maxNoticeID is the longest id of a notice.
const maxNoticeID = 200

// notice begins a notice with what all have.
func (c *call) notice(h wire.Header, refund schemas.RequestID) schemas.Notice {
	return schemas.Notice{NoticeID: c.name(h.RequestID), Provider: c.account.Provider, RefundRequestID: refund,
		ReceivedAt: c.now, Source: source}
}

// name is what a request is known by for good: its key in the memory and the id of its notice. Neither account nor
// method holds a colon, so two requests never share one.
func (c *call) name(id schemas.RequestID) string {
	name := strings.Join([]string{c.route.api, c.piaid, c.route.method, string(id)}, ":")
	if len(name) > maxNoticeID {
		sum := sha256.Sum256([]byte(name))
		return c.route.api + ":" + hex.EncodeToString(sum[:])
	}
	return name
}

// Scopes of provider results that name none of their own.
const (
	scopeGoogle = "google"
	scopeRaw    = "rawResult"
)

// resultOf is an outcome in our words. What the integrator's processor said comes first; the result's own name, which
// tells more than our reason, is kept in any case.
func resultOf(n wire.ResultNotification) *schemas.NoticeResult {
	said := &schemas.ProviderResult{Scope: scopeGoogle, Code: n.Result.Name}
	if n.Raw != nil {
		raw := cleaned(*n.Raw)
		said = &schemas.ProviderResult{Scope: raw.Scope, Code: raw.Code, Message: n.Result.Name}
		if said.Scope == "" {
			said.Scope = scopeRaw
		}
	}
	return &schemas.NoticeResult{Kind: n.Result.Kind, Reason: n.Result.Reason, ProviderRefundID: n.IntegratorRefundID,
		ProviderResult: said}
}

// cleaned takes out of free texts what must not be journalled.
func cleaned(r wire.RawResult) wire.RawResult {
	return wire.RawResult{Scope: providers.CleanMessage(r.Scope), Code: providers.CleanMessage(r.Code)}
}

// rawResult is a raw result as a reversal keeps it. Two texts always encode.
func rawResult(r wire.RawResult) json.RawMessage {
	body, _ := json.Marshal(cleaned(r))
	return body
}
