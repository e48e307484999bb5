package simulator

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReadRequest holds what every accepted request must fulfil, whatever the bytes: a merchant, a usable
// handle, and an amount exactly where the operation takes one, within nine digits, as it was written.
func FuzzReadRequest(f *testing.F) {
	for _, request := range []string{
		`{"merchantId":"700123","orderId":88001,"amount":12.5}`,
		`{"merchantId":700123,"merchantReference":"訂單-42"}`,
		`{"merchantId":"1","orderId":"1","amount":9999999.99}`,
		`{"merchantId":"1","orderId":1,"orderId":2}`,
		`{"merchantId":"1","orderId":1,"amount":1e3}`,
		`{"merchantId":null}`,
	} {
		inner, err := json.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(`{"request":`+string(inner)+`,"signature":"AAAA"}`), uint8(0))
	}
	f.Add([]byte(`{"request":"{}","signature":"AA=="`), uint8(1))
	f.Add([]byte(`[{"request":1}]`), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		operation := []string{opRefund, opQuery, opVoid}[which%3]
		r, err := readRequest(body, operation)
		if err != nil {
			if text := err.Error(); text == "" || !utf8.ValidString(text) || strings.ContainsRune(text, '\n') {
				t.Errorf("error %q is not one line of text", text)
			}
			return
		}
		if r.merchantID == "" || len(r.signature) == 0 || r.signed == "" {
			t.Errorf("accepted without merchant, signature or request: %+v", r)
		}
		if r.orderID < 0 || r.orderID == 0 && r.merchantReference == "" {
			t.Errorf("accepted without a handle: %+v", r.handles)
		}
		if (r.amount != nil) != (operation == opRefund) {
			t.Errorf("%s has amount %v", operation, r.amount)
		}
		if r.amount != nil {
			checkAmount(t, *r.amount)
		}
	})
}

func checkAmount(t *testing.T, amount cents) {
	t.Helper()
	text, err := json.Marshal(amount)
	var back cents
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back != amount || amount <= 0 || amount > maxCents {
		t.Errorf("amount %d writes as %s and reads as %d, %v", amount, text, back, err)
	}
}
