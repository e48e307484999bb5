package simulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"refundworker/schemas"
)

// maxReference is how long a BBMSL merchant reference may be, in characters.
const maxReference = 64

// handles name a BBMSL order: by id, by merchant reference, or by both.
type handles struct {
	orderID           int64
	merchantReference string
}

// request is a BBMSL request as it stands in its envelope, not yet verified.
type request struct {
	handles
	merchantID string
	// amount is nil where the request has none.
	amount *cents
	// signed is the text that the signature covers.
	signed    string
	signature []byte
}

// readRequest reads an envelope and the request inside. With an error it returns what could be read.
func readRequest(body []byte, operation string) (request, error) {
	var r request
	var signature string
	if err := readMembers(body, map[string]any{"request": &r.signed, "signature": &signature}); err != nil {
		return r, fmt.Errorf("envelope: %w", err)
	}
	var merchantID, orderID literal
	err := readMembers([]byte(r.signed), map[string]any{"merchantId": &merchantID, "orderId": &orderID,
		"merchantReference": &r.merchantReference, "amount": &r.amount})
	if err != nil {
		return r, fmt.Errorf("request: %w", err)
	}
	r.merchantID = string(merchantID)
	if orderID != "" {
		if r.orderID, err = parseOrderID(string(orderID)); err != nil {
			return r, fmt.Errorf("request: orderId %w", err)
		}
	}
	if r.signature, err = decodeSignature(signature); err != nil {
		return r, fmt.Errorf("envelope: signature %w", err)
	}
	return r, r.check(operation)
}

// check looks for what an operation needs.
func (r request) check(operation string) error {
	switch {
	case r.merchantID == "":
		return errors.New("request: merchantId is missing")
	case r.orderID == 0 && r.merchantReference == "":
		return errors.New("request: orderId or merchantReference is missing")
	case utf8.RuneCountInString(r.merchantReference) > maxReference:
		return fmt.Errorf("request: merchantReference is longer than %d characters", maxReference)
	case operation == opRefund && r.amount == nil:
		return errors.New("request: amount is missing")
	case operation == opRefund && *r.amount == 0:
		return errors.New("request: amount must be positive")
	case operation != opRefund && r.amount != nil:
		// Ignoring it would void a whole order for a caller who meant a part.
		return fmt.Errorf("request: %s takes no amount", operation)
	}
	return nil
}

// signedBy reports whether the signature over exactly the signed text is from one of the keys.
func (r request) signedBy(keys []*rsa.PublicKey) bool {
	sum := sha256.Sum256([]byte(r.signed))
	for _, key := range keys {
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], r.signature) == nil {
			return true
		}
	}
	return false
}

// readMembers reads the members of an object that have a field, and ignores others, as the provider does.
func readMembers(raw []byte, fields map[string]any) error {
	found, err := members(raw)
	if err != nil {
		return err
	}
	for name, into := range sorted(fields) {
		if value, ok := found[name]; ok {
			if found := decode(value, into); len(found) > 0 {
				return fmt.Errorf("%s %s", name, found[0].Rule)
			}
		}
	}
	return nil
}

// decodeSignature reads standard Base64 with padding on one line; the library alone would skip line breaks.
func decodeSignature(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("is missing")
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("must be Base64 with padding on one line")
	}
	return signature, nil
}

var orderIDForm = regexp.MustCompile(`^[1-9][0-9]{0,15}$`)

func parseOrderID(text string) (int64, error) {
	if !orderIDForm.MatchString(text) {
		return 0, errors.New("must be a whole number of at most 16 digits")
	}
	return strconv.ParseInt(text, 10, 64)
}

// cents is a BBMSL amount, a JSON number of nine digits with two decimals, in hundredths of the unit.
type cents int64

// maxCents is the largest amount that nine digits with two decimals hold.
const maxCents cents = 999_999_999

// microsPerCent leads to schemas.Money.
const microsPerCent = 10_000

var centsForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?$`)

// UnmarshalJSON reads a plain decimal number; an exponent or a third decimal is refused, not rounded.
func (c *cents) UnmarshalJSON(raw []byte) error {
	if !centsForm.Match(raw) {
		return errors.New("must be a number with at most seven digits before and two after the point")
	}
	whole, fraction, _ := strings.Cut(string(raw), ".")
	n, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	*c = cents(n)
	return err
}

// MarshalJSON writes a number with two decimals.
func (c cents) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%d.%02d", c/100, c%100), nil }

func (c cents) money(currency schemas.Currency) schemas.Money {
	return schemas.Money{Micros: int64(c) * microsPerCent, Currency: currency}
}

// merchantNumber writes a merchant id as a number, as the provider does, where it is one.
func merchantNumber(id string) any {
	if orderIDForm.MatchString(id) {
		return json.Number(id)
	}
	return id
}
