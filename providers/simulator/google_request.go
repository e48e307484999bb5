package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"refundworker/schemas"
)

// headerFamily is one of the two shapes of Google's documents. A path decides it, never the body; only echo,
// which both families share, has to look.
type headerFamily string

const (
	// objectFamily has the account in the header, timestamps and amounts as objects, results as unions.
	objectFamily headerFamily = "object"
	// flatFamily has the account beside the header, timestamps and amounts as numbers, results as enums.
	flatFamily headerFamily = "flat"
)

// googleMajor is the only major version that is served.
const googleMajor = 1

// googleRequest is a request as it stands in its envelope. Of a request that cannot be read it holds what
// could be read.
type googleRequest struct {
	family             headerFamily
	account, requestID string
	// sentMillis is the request's timestamp.
	sentMillis int64
	// capture is the payment's reference. Of a flat refund the amount has no currency: it is the payment's.
	capture string
	amount  schemas.Money
	// message is what an echo brings back.
	message string
	// content is everything but the timestamp, in one canonical form: what a repeat must be equal in.
	content string
}

// readGoogleRefund reads an asynchronousRefund request.
func readGoogleRefund(raw []byte, family headerFamily) (googleRequest, *googleRefusal) {
	f, r, major := readGoogleHeader(raw, family)
	r.capture = f.text("captureRequestId")
	micros, microsField := "", "refundAmount"
	if family == objectFamily {
		amount := f.object("refundAmount")
		micros, microsField = amount.literal("amountMicros"), "refundAmount.amountMicros"
		r.amount.Currency = schemas.Currency(amount.text("currencyCode"))
	} else {
		micros = f.literal("refundAmount")
		r.account = f.text("paymentIntegratorAccountId")
	}
	if refused := f.verdict(major); refused != nil {
		return r, refused
	}
	var err error
	r.amount.Micros, err = strconv.ParseInt(micros, 10, 64)
	_, currencyKnown := r.amount.Currency.Exponent()
	switch {
	case !googleID.MatchString(r.requestID):
		return r, refusedValue("requestHeader.requestId")
	case !googleID.MatchString(r.capture):
		return r, refusedValue("captureRequestId")
	case err != nil || r.amount.Micros <= 0:
		return r, refusedValue(microsField)
	case family == objectFamily && !currencyKnown:
		return r, refusedValue("refundAmount.currencyCode")
	}
	return r, nil
}

// readGoogleEcho reads an echo request of either family.
func readGoogleEcho(raw []byte) (googleRequest, *googleRefusal) {
	family := objectFamily
	if document, err := readGoogleDocument(raw); err == nil {
		header, _ := document["requestHeader"].(map[string]any)
		if _, isText := header["requestTimestamp"].(string); isText {
			family = flatFamily
		}
	}
	f, r, major := readGoogleHeader(raw, family)
	r.message = f.text("clientMessage")
	if refused := f.verdict(major); refused != nil {
		return r, refused
	}
	if !googleID.MatchString(r.requestID) {
		return r, refusedValue("requestHeader.requestId")
	}
	return r, nil
}

// readGoogleHeader reads what all requests have. The account of the flat family is not in the header, and not in
// its echo at all.
func readGoogleHeader(raw []byte, family headerFamily) (f form, r googleRequest, major int64) {
	document, err := readGoogleDocument(raw)
	f = form{members: document, found: &findings{malformed: err != nil}}
	r.family = family
	header := f.object("requestHeader")
	r.requestID = header.text("requestId")
	version := header.object("protocolVersion")
	major = version.integer("major")
	if family == objectFamily {
		r.sentMillis = header.object("requestTimestamp").integer("epochMillis")
		r.account = header.text("paymentIntegratorAccountId")
	} else {
		version.integer("minor")
		version.integer("revision")
		r.sentMillis = header.integer("requestTimestamp")
	}
	r.content = contentOf(document)
	return f, r, major
}

// contentOf writes a document without its timestamp in a form that does not depend on order and spacing.
func contentOf(document map[string]any) string {
	if header, ok := document["requestHeader"].(map[string]any); ok {
		delete(header, "requestTimestamp")
	}
	text, err := json.Marshal(document)
	if err != nil {
		hangUp()
	}
	return string(text)
}

var googleID = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,100}$`)

// form is an object of a request while it is read. Null and the empty text count as absent.
type form struct {
	members map[string]any
	// at is what leads to the object's members in the names of fields.
	at string
	// absent objects do not report their members as missing one by one.
	absent bool
	found  *findings
}

// findings are what is wrong with a whole document.
type findings struct {
	malformed bool
	missing   []string
}

// get returns a member, nil where it is absent.
func (f form) get(name string) any {
	value := f.members[name]
	if (value == nil || value == "") && !f.absent {
		f.found.missing = append(f.found.missing, f.at+name)
	}
	return value
}

func (f form) text(name string) string {
	value := f.get(name)
	text, isText := value.(string)
	f.expect(isText || value == nil)
	return text
}

// literal is a number as it was written, with or without quotes: senders are known to leave them out.
func (f form) literal(name string) string {
	switch value := f.get(name).(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case nil:
	default:
		f.found.malformed = true
	}
	return ""
}

func (f form) integer(name string) int64 {
	text := f.literal(name)
	n, err := strconv.ParseInt(text, 10, 64)
	f.expect(err == nil || text == "")
	return n
}

func (f form) object(name string) form {
	value := f.get(name)
	members, isObject := value.(map[string]any)
	f.expect(isObject || value == nil)
	return form{members: members, at: f.at + name + ".", absent: !isObject, found: f.found}
}

func (f form) expect(rightType bool) {
	if !rightType {
		f.found.malformed = true
	}
}

// verdict is the first thing that is wrong, in the order in which an integrator looks.
func (f form) verdict(major int64) *googleRefusal {
	switch {
	case f.found.malformed:
		return &googleRefusal{code: "INVALID_DECRYPTED_REQUEST", detail: "the request is not the expected JSON"}
	case major != googleMajor && (major != 0 || len(f.found.missing) == 0): // an absent version reads as 0
		return refusedVersion(major)
	case len(f.found.missing) > 0:
		return &googleRefusal{code: "MISSING_REQUIRED_FIELD", detail: strings.Join(f.found.missing, ", ") + " is missing",
			fields: map[string]any{"missingFieldNames": f.found.missing}}
	}
	return nil
}

// readGoogleDocument reads exactly one JSON object. A name that comes twice, at whatever depth, is refused:
// two readers of such a document may see two different amounts.
func readGoogleDocument(raw []byte) (map[string]any, error) {
	// The token reader below is more lenient than Valid about what stands between tokens and after the end.
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errors.New("is not strict JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	value, err := readGoogleValue(d)
	document, isObject := value.(map[string]any)
	if err == nil && !isObject {
		err = errors.New("is not a JSON object")
	}
	return document, err
}

func readGoogleValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	switch {
	case err != nil:
		return nil, err
	case token == json.Delim('['):
		list := []any{}
		for d.More() {
			element, err := readGoogleValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, closeGoogleValue(d)
	case token == json.Delim('{'):
		return readGoogleMembers(d)
	}
	return token, nil
}

func readGoogleMembers(d *json.Decoder) (map[string]any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, errors.New("has a member without a name")
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("has a member twice")
		}
		if object[name], err = readGoogleValue(d); err != nil {
			return nil, err
		}
	}
	return object, closeGoogleValue(d)
}

func closeGoogleValue(d *json.Decoder) error {
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
