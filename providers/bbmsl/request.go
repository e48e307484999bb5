package bbmsl

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"refundworker/providers"
	"refundworker/schemas"
)

const (
	byOrderID           = "orderId"
	byMerchantReference = "merchantReference"

	maxMerchantReference = 64
	// maxMinor is the documented (9,2): nine digits, two of them decimals.
	maxMinor = 999_999_999
)

// orderHandle names the order that a refund belongs to: one of the two handles that BBMSL knows.
type orderHandle struct {
	id        string
	reference string
}

// inner is the signed request; its fields stand in the order of BBMSL's samples.
type inner struct {
	MerchantID        string      `json:"merchantId"`
	OrderID           json.Number `json:"orderId,omitempty"`
	MerchantReference string      `json:"merchantReference,omitempty"`
	Amount            json.Number `json:"amount,omitempty"`
}

type envelope struct {
	Request   string `json:"request"`
	Signature string `json:"signature"`
}

// check reads handle and amount from a refund, or returns an Invalid error with every problem.
func check(op string, r providers.Request) (orderHandle, json.Number, error) {
	handle, problems := handleOf(r)
	amount, more := amountOf(r.Amount)
	if problems = append(problems, more...); len(problems) > 0 {
		return orderHandle{}, "", &providers.Error{Kind: providers.Invalid, Op: op,
			Err: errors.New("the command cannot be served"), Problems: problems}
	}
	return handle, amount, nil
}

func handleOf(r providers.Request) (orderHandle, []schemas.Problem) {
	by, problems := readOptions(r.Options)
	if len(problems) > 0 {
		return orderHandle{}, problems
	}
	ref := r.Payment.Reference
	if by == "" {
		by = byMerchantReference
		if isOrderID(ref) {
			by = byOrderID
		}
	}
	switch {
	case by == byOrderID && isOrderID(ref):
		return orderHandle{id: ref}, nil
	case by == byOrderID:
		return orderHandle{}, problem("/payment/reference", "must be a positive whole number when options.by is orderId")
	case ref == "" || len(ref) > maxMerchantReference:
		return orderHandle{}, problem("/payment/reference", "must have 1 to 64 characters as a merchant reference")
	}
	return orderHandle{reference: ref}, nil
}

// isOrderID also refuses leading zeros: sent as a number they would be lost and name another reference.
func isOrderID(ref string) bool {
	n, err := strconv.ParseInt(ref, 10, 64)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == ref
}

func problem(pointer, rule string) []schemas.Problem {
	return []schemas.Problem{{Pointer: pointer, Rule: rule}}
}

// readOptions returns the one option, empty when it is not given. It reads token by token because
// encoding/json takes repeated and differently cased keys without a word.
func readOptions(raw json.RawMessage) (by string, problems []schemas.Problem) {
	if len(raw) == 0 {
		return "", nil
	}
	if !json.Valid(raw) {
		return "", problem("/options", "must be JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, _ := d.Token(); open != json.Delim('{') {
		return "", problem("/options", "must be an object")
	}
	given := false
	for d.More() {
		key, _ := d.Token()
		var value any
		if err := d.Decode(&value); err != nil {
			return "", problem("/options", "must be JSON")
		}
		text, _ := value.(string)
		switch {
		case key != "by":
			problems = append(problems, problem("/options"+strangerToken(key), "must not be given: this provider has no such option")...)
		case given:
			problems = append(problems, problem("/options/by", "must be given once")...)
		case text != byOrderID && text != byMerchantReference:
			problems = append(problems, problem("/options/by", "must be orderId or merchantReference")...)
		}
		given = given || key == "by"
		if key == "by" {
			by = text
		}
	}
	return by, problems
}

// strangerToken shows an unknown key only when it is a plain word: anything else can be free text.
func strangerToken(key json.Token) string {
	text, _ := key.(string)
	if len(text) > 40 || !plainWord.MatchString(text) {
		return ""
	}
	return "/" + text
}

var plainWord = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)

// amountOf writes an amount as BBMSL reads it, with two decimals, which both of its currencies have.
func amountOf(m schemas.Money) (json.Number, []schemas.Problem) {
	if m.Currency != "HKD" && m.Currency != "USD" {
		return "", problem("/amount/currencyCode", "must be HKD or USD")
	}
	minor, err := m.Minor()
	if err != nil || minor <= 0 {
		return "", problem("/amount/amountMicros", "must be a positive whole number of cents")
	}
	if minor > maxMinor {
		return "", problem("/amount/amountMicros", "must be at most 9999999.99")
	}
	return json.Number(fmt.Sprintf("%d.%02d", minor/100, minor%100)), nil
}

// seal builds the body of one call: the inner request once, signed and embedded as those very bytes.
func seal(key *rsa.PrivateKey, in inner) ([]byte, error) {
	request, err := encode(in)
	if err != nil {
		return nil, err
	}
	signature, err := sign(key, request)
	if err != nil {
		return nil, err
	}
	return encode(envelope{Request: string(request), Signature: signature})
}

// encode writes JSON without the escapes for HTML that encoding/json adds by default.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
