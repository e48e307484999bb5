package wire

import (
	"fmt"
	"strings"
	"time"
)

// Code says why a request was not processed. Its text is the flat family's.
type Code string

// Codes. The protocol's zero value, which is never sent, is none of them.
const (
	InvalidAPIVersion          Code = "INVALID_API_VERSION"
	InvalidPayloadSignature    Code = "INVALID_PAYLOAD_SIGNATURE"
	InvalidPayloadEncryption   Code = "INVALID_PAYLOAD_ENCRYPTION"
	RequestTimestampOutOfRange Code = "REQUEST_TIMESTAMP_OUT_OF_RANGE"
	InvalidIdentifier          Code = "INVALID_IDENTIFIER"
	IdempotencyViolation       Code = "IDEMPOTENCY_VIOLATION"
	InvalidFieldValue          Code = "INVALID_FIELD_VALUE"
	MissingRequiredField       Code = "MISSING_REQUIRED_FIELD"
	PreconditionViolation      Code = "PRECONDITION_VIOLATION"
	UserActionInProgress       Code = "USER_ACTION_IN_PROGRESS"
	InvalidDecryptedRequest    Code = "INVALID_DECRYPTED_REQUEST"
	Forbidden                  Code = "FORBIDDEN"
)

// CodeRow is a row of Codes.
type CodeRow struct {
	Code Code
	// Member is the code's name in the object family's union.
	Member string
	// HTTP is the status that a response with the code has.
	HTTP int
	// Use says when the code is sent.
	Use string
}

// Codes is every code of the protocol.
var Codes = []CodeRow{
	{InvalidAPIVersion, "invalidApiVersion", 400, "the major version is not served"},
	{InvalidPayloadSignature, "invalidPayloadSignature", 401, "signed by an unknown or inactive key"},
	{InvalidPayloadEncryption, "invalidPayloadEncryption", 400, "encrypted to an unknown or inactive key"},
	{RequestTimestampOutOfRange, "requestTimestampOutOfRange", 400, "the clocks are more than 60 s apart"},
	{InvalidIdentifier, "invalidIdentifier", 404, "the account, the payment or the refund is unknown"},
	{IdempotencyViolation, "idempotencyViolation", 412, "the requestId was accepted with other content"},
	{InvalidFieldValue, "invalidFieldValue", 400, "a value is outside of what is supported"},
	{MissingRequiredField, "missingRequiredField", 400, "a required field is not set"},
	{PreconditionViolation, "preconditionViolation", 400, "a constraint is broken, such as the rest of the payment"},
	{UserActionInProgress, "userActionInProgress", 423, "an action of the user holds a lock"},
	{InvalidDecryptedRequest, "invalidDecryptedRequest", 400, "the document cannot be read"},
	{Forbidden, "forbidden", 403, "the caller may not do this"},
}

// HTTP is the status that a response with the code has.
func (c Code) HTTP() int { return c.row().HTTP }

func (c Code) row() CodeRow {
	for _, row := range Codes {
		if row.Code == c {
			return row
		}
	}
	return CodeRow{}
}

// codeOf is the code of a family's name for it, "" for a name that is not published.
func codeOf(f Family, name string) Code {
	for _, row := range Codes {
		if name == f.name(row.Member, string(row.Code)) {
			return row.Code
		}
	}
	return ""
}

// Error is why a request is refused, fit for an answer to its sender: it holds no values of the request.
type Error struct {
	Code Code
	// Field is the field that it is about, such as "requestHeader.requestId"; empty when it is about none or all.
	Field string
	// Detail is for people.
	Detail string
	major  int64
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Detail)
	}
	return fmt.Sprintf("%s at %s: %s", e.Code, e.Field, e.Detail)
}

// EncodeError writes the answer that refuses a request. It goes out with the status e.Code.HTTP().
func (f Family) EncodeError(now time.Time, e *Error) []byte {
	d := f.newResponse(now)
	d["errorDescription"] = e.description()
	if f == Flat {
		d["errorResponseCode"] = e.Code
	} else {
		d["errorResponseResult"] = members{e.Code.row().Member: e.payload()}
	}
	return d.encode()
}

// description names the field as well: the flat family has no other place for it.
func (e *Error) description() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}

// payload is what the object family's member of a code holds.
func (e *Error) payload() members {
	switch e.Code {
	case InvalidAPIVersion:
		return members{"requestVersion": members{"major": e.major}, "expectedVersion": members{"major": servedMajor}}
	case InvalidIdentifier:
		return members{"invalidIdentifierType": e.Field[strings.LastIndex(e.Field, ".")+1:]}
	case InvalidFieldValue:
		return members{"invalidFieldName": e.Field}
	case MissingRequiredField:
		return members{"missingFieldNames": []string{e.Field}}
	}
	return members{}
}

// ErrorResponse is why the other side did not process a request, as far as it says.
type ErrorResponse struct {
	Timestamp time.Time
	// Code is empty when the response names none, or one that is not published.
	Code Code
	// Field is the field or the kind of identifier that the object family's code is about; empty when not told.
	Field string
	// Description is the other side's own text. It was written for support staff.
	Description string
}

// DecodeErrorResponse reads the body of a response that refused. Such a body may also be empty or a text, or come from
// a front that speaks the other family, so it is read by what it holds; the result is false for a body that is no
// ErrorResponse.
func DecodeErrorResponse(document []byte) (ErrorResponse, bool) {
	node, err := parse(document)
	if err != nil {
		return ErrorResponse{}, false
	}
	f := Object
	if header := node.member("responseHeader"); header.member("responseTimestamp").is(shapeString, shapeNumber) {
		f = Flat
	}
	root := fields{r: &reader{family: f}, node: node}
	e := ErrorResponse{Timestamp: root.requiredObject("responseHeader").timestamp("responseTimestamp")}
	if description := node.member("errorDescription"); description.is(shapeString) {
		e.Description = description.text
	}
	if f == Flat {
		e.Code = root.code()
	} else {
		e.Code, e.Field = root.codeMember()
	}
	return e, root.r.err() == nil
}

// code is the flat family's code. The zero value is never sent, so a response that has it is not to be trusted.
func (f fields) code() Code {
	name := f.text("errorResponseCode")
	if name == "UNKNOWN_ERROR_RESPONSE_CODE" {
		f.invalid("errorResponseCode", "the unspecified code")
	}
	return codeOf(Flat, name)
}

// codeMember is the object family's code and what it is about.
func (f fields) codeMember() (Code, string) {
	union := f.object("errorResponseResult")
	if union.node == nil {
		return "", ""
	}
	name, member := union.only()
	for _, key := range []string{"invalidIdentifierType", "invalidFieldName", "missingFieldNames"} {
		n := member.node.member(key)
		if n.is(shapeArray) && len(n.items) > 0 {
			n = n.items[0]
		}
		if n.is(shapeString) {
			return codeOf(Object, name), n.text
		}
	}
	return codeOf(Object, name), ""
}
