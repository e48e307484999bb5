package wire

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"refundworker/schemas"
)

// maxText is the most characters of a text that goes into an event or a notice.
const maxText = 200

// rank orders what is wrong with a document, as the order of an endpoint's checks demands: a version that is not
// served may look different in every other respect.
type rank int

const (
	versionRank rank = iota
	missingRank
	shapeRank
	valueRank
)

// reader reads typed fields and keeps the fault that has to be answered with. Of missing fields that is the outermost.
type reader struct {
	family Family
	fault  *Error
	rank   rank
}

func (r *reader) add(k rank, e Error) {
	if r.fault == nil || k < r.rank || k == missingRank && k == r.rank && depth(e) < depth(*r.fault) {
		r.fault, r.rank = &e, k
	}
}

func depth(e Error) int { return strings.Count(e.Field, ".") }

// err is nil, not a nil *Error, when nothing is wrong.
func (r *reader) err() error {
	if r.fault == nil {
		return nil
	}
	return r.fault
}

// fields is one object of a document; its node is nil when the document has none.
type fields struct {
	r    *reader
	node *node
	path string
}

func (f fields) at(name string) string {
	if f.path == "" {
		return name
	}
	return f.path + "." + name
}

func (f fields) missing(name string) {
	if f.node != nil {
		f.r.add(missingRank, Error{Code: MissingRequiredField, Field: f.at(name), Detail: "a required field is not set"})
	}
}

func (f fields) malformed(name, detail string) {
	f.r.add(shapeRank, Error{Code: InvalidDecryptedRequest, Field: f.at(name), Detail: detail})
}

func (f fields) invalid(name, detail string) {
	f.r.add(valueRank, Error{Code: InvalidFieldValue, Field: f.at(name), Detail: detail})
}

// object is a member that is an object. An absent one reads as an object that is not there.
func (f fields) object(name string) fields {
	n := f.node.member(name)
	if n != nil && n.shape != shapeObject {
		f.malformed(name, "an object is needed")
		n = nil
	}
	return fields{r: f.r, node: n, path: f.at(name)}
}

func (f fields) requiredObject(name string) fields {
	if f.node.member(name) == nil {
		f.missing(name)
	}
	return f.object(name)
}

// text is a text; an empty one is the same as none.
func (f fields) text(name string) string {
	n := f.node.member(name)
	if n == nil {
		return ""
	}
	if n.shape != shapeString {
		f.malformed(name, "a text is needed")
	}
	return n.text
}

func (f fields) requiredText(name string) string {
	text := f.text(name)
	if text == "" && !f.node.member(name).is(shapeArray, shapeObject) {
		f.missing(name)
	}
	return text
}

// keepable refuses a text that is too long to be kept.
func (f fields) keepable(name, text string) string {
	if utf8.RuneCountInString(text) > maxText {
		f.invalid(name, "at most 200 characters are supported")
	}
	return text
}

// id is a request id: a request's own, or one that it refers to.
func (f fields) id(name string) schemas.RequestID {
	id := schemas.RequestID(f.requiredText(name))
	if id != "" && !id.Valid() {
		f.invalid(name, "1 to 100 characters of a-z A-Z 0-9 : - _ are needed")
	}
	return id
}

// integer is a required 64-bit integer, written as text or as a number. wrong takes note of one that is no integer.
func (f fields) integer(name string, wrong func(name, detail string)) (int64, bool) {
	n := f.node.member(name)
	switch {
	case n == nil:
		f.missing(name)
		return 0, false
	case n.shape != shapeString && n.shape != shapeNumber:
		f.malformed(name, "an integer is needed")
		return 0, false
	case n.text == "":
		f.missing(name)
		return 0, false
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || strconv.FormatInt(i, 10) != n.text {
		wrong(name, "a 64-bit integer is needed")
		return 0, false
	}
	return i, true
}

// micros is a positive amount.
func (f fields) micros(name string) int64 {
	i, ok := f.integer(name, f.invalid)
	if ok && i <= 0 {
		f.invalid(name, "a positive amount is needed")
	}
	return i
}

// timestamp is a required time in the family's form.
func (f fields) timestamp(name string) time.Time {
	if f.r.family == Object {
		f, name = f.requiredObject(name), "epochMillis"
	}
	i, _ := f.integer(name, f.malformed)
	return time.UnixMilli(i)
}

// only is the one member of a union and its payload. A union without a member is the same as none; one with several
// contradicts itself.
func (f fields) only() (string, fields) {
	var name string
	set := 0
	if f.node != nil {
		for key := range f.node.members {
			if f.node.member(key) != nil {
				name, set = key, set+1
			}
		}
	}
	switch {
	case set == 1:
		return name, f.object(name)
	case set > 1:
		f.r.add(shapeRank, Error{Code: InvalidDecryptedRequest, Field: f.path, Detail: "exactly one member is needed"})
	case f.node != nil:
		f.r.add(missingRank, Error{Code: MissingRequiredField, Field: f.path, Detail: "a member is needed"})
	}
	return "", fields{r: f.r, path: f.path}
}

// header reads what the request header has in both families.
func (f fields) header() Header {
	h := f.requiredObject("requestHeader")
	version := h.requiredObject("protocolVersion")
	if major, ok := version.integer("major", version.malformed); ok && major != servedMajor {
		f.r.add(versionRank, Error{Code: InvalidAPIVersion, Field: version.at("major"), Detail: "only major version 1 is served",
			major: major})
	}
	return Header{RequestID: h.id("requestId"), Timestamp: h.timestamp("requestTimestamp")}
}

// account is the account in its family's place.
func (f fields) account() string {
	if f.r.family == Object {
		f = f.object("requestHeader")
	}
	return f.requiredText("paymentIntegratorAccountId")
}

// request opens a request and reads what all requests have; the account is left to the method.
func (f Family) request(document []byte) (fields, Header, error) {
	node, err := parse(document)
	if err != nil {
		return fields{}, Header{}, &Error{Code: InvalidDecryptedRequest, Detail: err.Error()}
	}
	root := fields{r: &reader{family: f}, node: node}
	h := root.header()
	h.Content = content(node)
	return root, h, nil
}

var errOtherResult = errors.New("the result is not the expected one")

// response reads an answer that is a yes in exactly the family's form, and returns its timestamp.
func (f Family) response(document []byte, yes string) (time.Time, error) {
	node, err := parse(document)
	if err != nil {
		return time.Time{}, err
	}
	root := fields{r: &reader{family: f}, node: node}
	at := root.requiredObject("responseHeader").timestamp("responseTimestamp")
	if f == Flat {
		if root.requiredText("result") != yes {
			root.malformed("result", errOtherResult.Error())
		}
	} else if name, _ := root.requiredObject("result").only(); name != yes {
		root.malformed("result", errOtherResult.Error())
	}
	return at, root.r.err()
}
