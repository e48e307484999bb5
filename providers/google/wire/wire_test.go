package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/schemas"
)

func decoded(t testing.TB, body []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func wantSame(t *testing.T, got []byte, want any) {
	t.Helper()
	if !reflect.DeepEqual(decoded(t, got), want) {
		t.Errorf("got %s, want %s", got, encoded(t, want))
	}
}

// tolerated are the recorded requests that other senders write in ways that are read but not written here.
var tolerated = []string{"deprecated-locale", "higher-minor", "minor-and-revision-present", "unknown-field-ignored",
	"epoch-millis-as-number"}

// What is written is what the recorded requests have, field by field.
func TestEncodeRefundWritesTheRecordedRequests(t *testing.T) {
	written := 0
	for _, name := range []string{"asynchronous_refund_redirect.json", "asynchronous_refund_card.json"} {
		v := readVectors(t, name)
		for _, c := range v.Cases {
			if c.Direction != "request" || !c.Valid || slices.Contains(tolerated, c.ID) {
				continue
			}
			r, err := v.family().decodeRefund(c.Body)
			if err != nil {
				t.Fatalf("%s: %v", c.ID, err)
			}
			wantSame(t, v.family().EncodeRefund(r), decoded(t, c.Body))
			written++
		}
	}
	if written != 10 {
		t.Errorf("requests: got %d, want 10", written)
	}
}

// A result or a reversal is taken in with the family's own word for it.
func TestEncodeAcceptedWritesTheRecordedResponses(t *testing.T) {
	for name, id := range map[string]string{"refund_result_notification_redirect.json": "rsp-accepted",
		"refund_result_notification_card.json": "rsp-success", "reverse_refund_notification_card.json": "rsp-success"} {
		v := readVectors(t, name)
		for _, c := range v.Cases {
			if c.ID != id {
				continue
			}
			at, err := v.family().response(c.Body, v.family().name("accepted", "SUCCESS"))
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, v.family().EncodeAccepted(at), decoded(t, c.Body))
		}
	}
}

// flat and object write a request with a header and one more member.
func flat(member string) []byte {
	return []byte(`{"requestHeader":{"protocolVersion":{"major":1},"requestId":"n-1","requestTimestamp":"1780315200000"},
		"paymentIntegratorAccountId":"LanternCards_CAD","refundRequestId":"crf_55-B7",` + member + `}`)
}

func union(member string) []byte {
	return []byte(`{"requestHeader":{"protocolVersion":{"major":1},"requestId":"n-1","requestTimestamp":{"epochMillis":"1780315200000"},
		"paymentIntegratorAccountId":"NorthQuayRedirect_EUR"},"refundRequestId":"rfd-2c81:A1",` + member + `}`)
}

// A result says which refund it is about, what became of it and what the processor said.
func TestDecodeResultReadsTheWholeNotification(t *testing.T) {
	header := Header{RequestID: "n-1", Timestamp: time.UnixMilli(1780315200000)}
	cases := []struct {
		name     string
		family   Family
		document []byte
		want     ResultNotification
	}{
		{"success", Object, union(`"paymentIntegratorRefundId":"NQ-1","result":{"success":{}}`),
			ResultNotification{IntegratorRefundID: "NQ-1", Result: Results[0]}},
		{"failure", Object, union(`"result":{"accountOnHold":{"rawResult":{"rawCode":"H02"}},"success":null}`),
			ResultNotification{Result: Results[4], Raw: &RawResult{Code: "H02"}}},
		{"flat", Flat, flat(`"refundResult":"NO_MONEY_LEFT_ON_TRANSACTION","rawResult":{"scope":"VISA","rawCode":"51"}`),
			ResultNotification{Result: Results[9], Raw: &RawResult{Scope: "VISA", Code: "51"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.family.DecodeResult(c.document)
			c.want.Header = header
			c.want.Account, c.want.RefundRequestID = "NorthQuayRedirect_EUR", "rfd-2c81:A1"
			if c.family == Flat {
				c.want.Account, c.want.RefundRequestID = "LanternCards_CAD", "crf_55-B7"
			}
			c.want.Content = got.Content
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
			if got.Content == ([32]byte{}) {
				t.Error("the content has no hash")
			}
		})
	}
}

// Of an amount nothing is guessed: other spellings of an integer, fractions and what 64 bits do not hold are refused.
func TestDecodeReversalReadsOnlyExactAmounts(t *testing.T) {
	cases := []struct {
		amount string
		want   int64
		code   Code
	}{
		{`"64990000"`, 64990000, ""},
		{`64990000`, 64990000, ""},
		{`"9223372036854775807"`, 9223372036854775807, ""},
		{`9223372036854775807`, 9223372036854775807, ""},
		{`9223372036854775808`, 0, InvalidFieldValue},
		{`6.5e7`, 0, InvalidFieldValue},
		{`64990000.0`, 0, InvalidFieldValue},
		{`"+1"`, 0, InvalidFieldValue},
		{`"01"`, 0, InvalidFieldValue},
		{`"1 "`, 0, InvalidFieldValue},
		{`"-0"`, 0, InvalidFieldValue},
		{`-1`, 0, InvalidFieldValue},
		{`""`, 0, MissingRequiredField},
		{`null`, 0, MissingRequiredField},
		{`true`, 0, InvalidDecryptedRequest},
		{`["1"]`, 0, InvalidDecryptedRequest},
	}
	for _, c := range cases {
		n, err := Flat.DecodeReversal(flat(`"rawResult":{"rawCode":"62"},"amount":` + c.amount))
		var e *Error
		if errors.As(err, &e); c.code == "" && (err != nil || n.Micros != c.want) ||
			c.code != "" && (e == nil || e.Code != c.code || e.Field != "amount") {
			t.Errorf("amount %s: got %d, %v, want %d, %s", c.amount, n.Micros, err, c.want, c.code)
		}
	}
}

// An endpoint answers with the check that comes first: version, then what is missing, outermost first, then forms, then
// values.
func TestErrorsComeInTheOrderOfChecks(t *testing.T) {
	cases := []struct {
		name, document string
		code           Code
		field          string
	}{
		{"version before all else", `{"requestHeader":{"protocolVersion":{"major":2},"requestId":"a b"}}`, InvalidAPIVersion,
			"requestHeader.protocolVersion.major"},
		{"outer before inner", `{"requestHeader":{}}`, MissingRequiredField, "refundRequestId"},
		{"missing before form", `{"requestHeader":[],"refundRequestId":"r"}`, MissingRequiredField, "result"},
		{"form before value", `{"requestHeader":[],"refundRequestId":"a b","result":{"success":{}}}`, InvalidDecryptedRequest,
			"requestHeader"},
		{"value", string(union(`"result":{"bankWasShut":{}}`)), InvalidFieldValue, "result"},
		{"value of the other family", string(union(`"result":{"SUCCESS":{}}`)), InvalidFieldValue, "result"},
		{"long own id", string(union(`"result":{"success":{}},"paymentIntegratorRefundId":"` + strings.Repeat("é", 201) + `"`)),
			InvalidFieldValue, "paymentIntegratorRefundId"},
		{"long raw code", string(union(`"result":{"accountClosed":{"rawResult":{"rawCode":"` + strings.Repeat("x", 201) + `"}}}`)),
			InvalidFieldValue, "result.accountClosed.rawResult.rawCode"},
	}
	for _, c := range cases {
		_, err := Object.DecodeResult([]byte(c.document))
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || e.Field != c.field {
			t.Errorf("%s: got %v, want %s at %s", c.name, err, c.code, c.field)
		}
	}
}

// What two readers could read differently is no document.
func TestOnlyStrictJSONIsRead(t *testing.T) {
	good := string(union(`"result":{"success":{}}`))
	nested := func(levels int) string {
		return strings.Replace(good, `"result"`, `"more":`+strings.Repeat("[", levels)+strings.Repeat("]", levels)+`,"result"`, 1)
	}
	if _, err := Object.DecodeResult([]byte(nested(schemas.MaxDepth - 1))); err != nil {
		t.Errorf("the deepest document: got %v, want it read", err)
	}
	for name, document := range map[string]string{
		"empty": "", "null": "null", "array": "[]", "text behind": good + " x", "second document": good + good,
		"comment":              strings.Replace(good, "{", "{/* */", 1),
		"not UTF-8":            strings.Replace(good, "n-1", "n-1\xff", 1),
		"half a pair":          strings.Replace(good, `"result"`, `"x":"\ud800","result"`, 1),
		"pair of high halves":  strings.Replace(good, `"result"`, `"x":"\ud83d\ud83d","result"`, 1),
		"low half":             strings.Replace(good, `"result"`, `"x":"\\\uDE00","result"`, 1),
		"key twice deep below": strings.Replace(good, `"result"`, `"x":[{"y":{"a":1,"\u0061":2}}],"result"`, 1),
		"result twice":         strings.Replace(good, `"result"`, `"result":{"success":{}},"result"`, 1),
		"too deep":             nested(schemas.MaxDepth),
	} {
		_, err := Object.DecodeResult([]byte(document))
		var e *Error
		if !errors.As(err, &e) || e.Code != InvalidDecryptedRequest {
			t.Errorf("%s: got %v, want %s", name, err, InvalidDecryptedRequest)
		}
	}
	for name, text := range map[string]string{"pair": `\ud83d\ude00`, "escaped backslash": `\\ud800`, "other escape": `\u00e9\n`} {
		document := strings.Replace(good, `"result"`, `"x":"`+text+`","result"`, 1)
		if _, err := Object.DecodeResult([]byte(document)); err != nil {
			t.Errorf("%s: got %v, want it read", name, err)
		}
	}
}

// The window is 60 s either way, and its edge is inside.
func TestCheckClockTakesSixtySeconds(t *testing.T) {
	now := time.UnixMilli(1780315200000)
	for apart, want := range map[time.Duration]bool{0: true, MaxSkew: true, -MaxSkew: true, MaxSkew + time.Millisecond: false,
		-MaxSkew - time.Millisecond: false} {
		if err := (Header{Timestamp: now.Add(apart)}).CheckClock(now); (err == nil) != want {
			t.Errorf("%v apart: got %v, want inside %v", apart, err, want)
		}
	}
	for _, extreme := range []int64{-1 << 63, 1<<63 - 1} {
		if (Header{Timestamp: time.UnixMilli(extreme)}).CheckClock(now) == nil {
			t.Errorf("%d: got it inside, want outside", extreme)
		}
	}
}

// The hash is over all that was sent, known or not, and over nothing of how it was written.
func TestContentCoversEverythingButTheTimestamp(t *testing.T) {
	hash := func(document string) [32]byte {
		t.Helper()
		n, err := Object.DecodeResult([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		return n.Content
	}
	plain := string(union(`"result":{"success":{}},"x":{"requestTimestamp":1,"b":[1,"1"]}`))
	same := map[string]string{
		"timestamp": strings.Replace(plain, "1780315200000", "1780315209999", 1),
		"order":     string(union(`"x":{"b":[1,"1"],"requestTimestamp":1},"result":{"success":{}}`)),
		"spaces":    strings.ReplaceAll(plain, `":`, "\" :\n"),
		"escapes":   strings.Replace(plain, "rfd", `\u0072fd`, 1),
	}
	for name, document := range same {
		if hash(document) != hash(plain) {
			t.Errorf("%s: got another hash, want the same", name)
		}
	}
	seen := map[[32]byte]string{hash(plain): "plain"}
	for name, document := range map[string]string{
		"request id":              strings.Replace(plain, "n-1", "n-2", 1),
		"account":                 strings.Replace(plain, "_EUR", "_SEK", 1),
		"result":                  strings.Replace(plain, "success", "accountClosed", 1),
		"unknown member":          strings.Replace(plain, `"b"`, `"c"`, 1),
		"timestamp somewhere":     strings.Replace(plain, `"requestTimestamp":1,`, `"requestTimestamp":2,`, 1),
		"number for text":         strings.Replace(plain, `[1,"1"]`, `["1",1]`, 1),
		"another number literal":  strings.Replace(plain, `[1,`, `[1.0,`, 1),
		"elements run together":   strings.Replace(plain, `[1,"1"]`, `[1,"1",[]]`, 1),
		"elements nested":         strings.Replace(plain, `[1,"1"]`, `[1,["1"]]`, 1),
		"member beside, not in":   strings.Replace(plain, `,"b":[1,"1"]}`, `},"b":[1,"1"]`, 1),
		"minor version":           strings.Replace(plain, `"major":1`, `"major":1,"minor":2`, 1),
		"text like a length":      strings.Replace(plain, `"b":[1,"1"]`, `"k":"s0:"`, 1),
		"key like a length":       strings.Replace(plain, `"b":[1,"1"]`, `"ks3:":""`, 1),
		"null is written as well": strings.Replace(plain, `"x":`, `"y":null,"x":`, 1),
	} {
		sum := hash(document)
		if other, known := seen[sum]; known {
			t.Errorf("%s: got the hash of %s, want another", name, other)
		}
		seen[sum] = name
	}
}

// An answer is believed only in the route's own family and with exactly the expected result.
func TestDecodeRefundResponseBelievesOnlyAnAcknowledgement(t *testing.T) {
	object := `{"responseHeader":{"responseTimestamp":{"epochMillis":"1780315200040"}},"result":%s}`
	flatForm := `{"responseHeader":{"responseTimestamp":"1780315200040"},"result":%s}`
	cases := []struct {
		family   Family
		document string
		want     bool
	}{
		{Object, fmt.Sprintf(object, `{"acknowledged":{"more":1}}`), true},
		{Object, fmt.Sprintf(object, `{"acknowledged":{},"later":null}`), true},
		{Object, fmt.Sprintf(object, `{"acknowledged":{},"success":{}}`), false},
		{Object, fmt.Sprintf(object, `{"acknowledged":true}`), false},
		{Object, fmt.Sprintf(object, `{"Acknowledged":{}}`), false},
		{Object, fmt.Sprintf(flatForm, `"ACKNOWLEDGED"`), false},
		{Flat, fmt.Sprintf(flatForm, `"ACKNOWLEDGED"`), true},
		{Flat, fmt.Sprintf(flatForm, `"acknowledged"`), false},
		{Flat, fmt.Sprintf(flatForm, `null`), false},
		{Flat, fmt.Sprintf(flatForm, `["ACKNOWLEDGED"]`), false},
		{Flat, fmt.Sprintf(object, `"ACKNOWLEDGED"`), false},
		{Flat, `<html>`, false},
	}
	for _, c := range cases {
		at, err := c.family.DecodeRefundResponse([]byte(c.document))
		if (err == nil) != c.want || c.want && !at.Equal(time.UnixMilli(1780315200040)) {
			t.Errorf("%v %s: got %v, %v, want it believed: %v", c.family, c.document, at, err, c.want)
		}
	}
}
