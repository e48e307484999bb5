package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// googleStatuses are the error codes in their flat spelling, with the HTTP status of each.
var googleStatuses = map[string]int{
	"INVALID_API_VERSION":            http.StatusBadRequest,
	"INVALID_PAYLOAD_SIGNATURE":      http.StatusUnauthorized,
	"INVALID_PAYLOAD_ENCRYPTION":     http.StatusBadRequest,
	"REQUEST_TIMESTAMP_OUT_OF_RANGE": http.StatusBadRequest,
	"INVALID_IDENTIFIER":             http.StatusNotFound,
	"IDEMPOTENCY_VIOLATION":          http.StatusPreconditionFailed,
	"INVALID_FIELD_VALUE":            http.StatusBadRequest,
	"MISSING_REQUIRED_FIELD":         http.StatusBadRequest,
	"PRECONDITION_VIOLATION":         http.StatusBadRequest,
	"USER_ACTION_IN_PROGRESS":        http.StatusLocked,
	"INVALID_DECRYPTED_REQUEST":      http.StatusBadRequest,
	"FORBIDDEN":                      http.StatusForbidden,
}

// googleRefusal is an ErrorResponse.
type googleRefusal struct {
	// code is in the flat spelling.
	code, detail string
	// fields are those of the object family's member.
	fields map[string]any
}

var (
	refusedClock    = &googleRefusal{code: "REQUEST_TIMESTAMP_OUT_OF_RANGE", detail: "requestTimestamp is more than 60 s from now"}
	refusedContent  = &googleRefusal{code: "IDEMPOTENCY_VIOLATION", detail: "requestId was accepted with other content"}
	refusedCurrency = &googleRefusal{code: "PRECONDITION_VIOLATION", detail: "refundAmount.currencyCode is not the payment's"}
	refusedRest     = &googleRefusal{code: "PRECONDITION_VIOLATION", detail: "refundAmount is above what is left of the payment"}
	refusedCapture  = &googleRefusal{code: "INVALID_IDENTIFIER", detail: "captureRequestId is not known",
		fields: map[string]any{"invalidIdentifierType": "captureRequestId"}}
)

func refusedValue(field string) *googleRefusal {
	return &googleRefusal{code: "INVALID_FIELD_VALUE", detail: field + " has a value that is not supported",
		fields: map[string]any{"invalidFieldName": field}}
}

func refusedVersion(major int64) *googleRefusal {
	return &googleRefusal{code: "INVALID_API_VERSION", detail: "protocolVersion.major is not served",
		fields: map[string]any{"requestVersion": map[string]any{"major": major},
			"expectedVersion": map[string]any{"major": googleMajor}}}
}

// refusedNobody is the answer to whoever is not known to have a right to a better one. It tells an unknown
// account, an unknown signing key, an unknown encryption key and noise apart in nothing.
var refusedNobody = reply{status: http.StatusNotFound, contentType: contentText}

// document writes the refusal in the shape of a family.
func (r *googleRefusal) document(family headerFamily, now time.Time) []byte {
	answer := answerHeader(family, now)
	answer["errorDescription"] = r.detail
	if family == flatFamily {
		answer["errorResponseCode"] = r.code
	} else {
		answer["errorResponseResult"] = union(memberName(r.code), r.fields)
	}
	return encodeAnswer(answer)
}

// acknowledgement says that a refund is taken on.
func acknowledgement(family headerFamily, now time.Time) []byte {
	answer := answerHeader(family, now)
	answer["result"] = resultOf(family, "acknowledged", nil)
	return encodeAnswer(answer)
}

func echoAnswer(r googleRequest, now time.Time) []byte {
	answer := answerHeader(r.family, now)
	answer["clientMessage"] = r.message
	return encodeAnswer(answer)
}

func answerHeader(family headerFamily, now time.Time) map[string]any {
	return map[string]any{"responseHeader": map[string]any{"responseTimestamp": wireMillis(family, now)}}
}

// wireMillis writes a time as its family does.
func wireMillis(family headerFamily, t time.Time) any {
	millis := strconv.FormatInt(t.UnixMilli(), 10)
	if family == flatFamily {
		return millis
	}
	return map[string]any{"epochMillis": millis}
}

// resultOf writes a result, given in either spelling, as a union member or as an enum. Only unions carry
// fields.
func resultOf(family headerFamily, name string, fields map[string]any) any {
	if family == flatFamily {
		return enumName(name)
	}
	return union(memberName(name), fields)
}

func union(member string, fields map[string]any) map[string]any {
	if fields == nil {
		fields = map[string]any{}
	}
	return map[string]any{member: fields}
}

// memberName turns ACCOUNT_ON_HOLD into accountOnHold and leaves a name that has that form already.
func memberName(name string) string {
	if strings.ToUpper(name) != name {
		return name
	}
	words := strings.Split(strings.ToLower(name), "_")
	for i, word := range words[1:] {
		if word != "" {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}

// enumName turns accountOnHold into ACCOUNT_ON_HOLD and leaves a name that has that form already.
func enumName(name string) string {
	if strings.ToUpper(name) == name {
		return name
	}
	var enum strings.Builder
	for _, letter := range name {
		if letter >= 'A' && letter <= 'Z' {
			enum.WriteByte('_')
		}
		enum.WriteRune(letter)
	}
	return strings.ToUpper(enum.String())
}

func encodeAnswer(document any) []byte {
	text, err := json.Marshal(document)
	if err != nil {
		hangUp()
	}
	return text
}
