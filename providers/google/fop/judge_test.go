package fop

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// verdict is what an answer was read as.
type verdict struct {
	status providers.Status
	reason schemas.Reason
	after  time.Duration
	kind   providers.Kind
	failed bool
}

func verdictOf(res providers.Result, err error) verdict {
	return verdict{res.Status, res.Reason, res.After, providers.KindOf(err), err != nil}
}

// noted is a result, of which no kind is asked.
func noted(s providers.Status, reason schemas.Reason) verdict {
	return verdict{status: s, reason: reason}
}

func failed(k providers.Kind) verdict { return verdict{kind: k, failed: true} }

func wantVerdict(t *testing.T, res providers.Result, err error, want verdict) {
	t.Helper()
	got := verdictOf(res, err)
	if err == nil {
		got.kind = 0
	}
	if got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

// Every error code is read as the table says, in both APIs' spelling and wherever a sealed document brings it.
func TestCodesAreReadAsListed(t *testing.T) {
	cases := []struct {
		status      int
		code        names
		about       string
		description string
		age         time.Duration
		want        verdict
	}{
		{400, names{"PRECONDITION_VIOLATION", "preconditionViolation"}, `{}`, "", 0, noted(providers.Declined, schemas.ReasonExceedsRemaining)},
		{404, names{"INVALID_IDENTIFIER", "invalidIdentifier"}, `{"invalidIdentifierType":"captureRequestId"}`, "captureRequestId", 59 * time.Minute,
			noted(providers.NotNow, schemas.ReasonProviderBusy)},
		{404, names{"INVALID_IDENTIFIER", "invalidIdentifier"}, `{"invalidIdentifierType":"captureRequestId"}`, "captureRequestId", 61 * time.Minute,
			noted(providers.Declined, schemas.ReasonNotFound)},
		{400, names{"INVALID_IDENTIFIER", "invalidIdentifier"}, `{}`, "no such capture under this account", 61 * time.Minute,
			noted(providers.Declined, schemas.ReasonNotFound)},
		{404, names{"INVALID_IDENTIFIER", "invalidIdentifier"}, `{}`, "", 61 * time.Minute, noted(providers.Declined, schemas.ReasonNotFound)},
		{404, names{"INVALID_IDENTIFIER", "invalidIdentifier"}, `{"invalidIdentifierType":"paymentIntegratorAccountId"}`, "unknown account", 0,
			failed(providers.Unauthorized)},
		{412, names{"IDEMPOTENCY_VIOLATION", "idempotencyViolation"}, `{}`, "", 0, noted(providers.Conflicting, "")},
		{423, names{"USER_ACTION_IN_PROGRESS", "userActionInProgress"}, `{}`, "", 0, failed(providers.Unavailable)},
		{400, names{"USER_ACTION_IN_PROGRESS", "userActionInProgress"}, `{}`, "", 0, failed(providers.Unavailable)},
		{400, names{"REQUEST_TIMESTAMP_OUT_OF_RANGE", "requestTimestampOutOfRange"}, `{}`, "", 0, failed(providers.Unavailable)},
		{400, names{"INVALID_API_VERSION", "invalidApiVersion"}, `{}`, "", 0, failed(providers.Invalid)},
		{400, names{"INVALID_DECRYPTED_REQUEST", "invalidDecryptedRequest"}, `{}`, "", 0, failed(providers.Invalid)},
		{400, names{"INVALID_FIELD_VALUE", "invalidFieldValue"}, `{"invalidFieldName":"refundAmount"}`, "", 0, failed(providers.Invalid)},
		{400, names{"MISSING_REQUIRED_FIELD", "missingRequiredField"}, `{"missingFieldNames":["x"]}`, "", 0, failed(providers.Invalid)},
		{401, names{"INVALID_PAYLOAD_SIGNATURE", "invalidPayloadSignature"}, `{}`, "", 0, failed(providers.Unauthorized)},
		{400, names{"INVALID_PAYLOAD_ENCRYPTION", "invalidPayloadEncryption"}, `{}`, "", 0, failed(providers.Unauthorized)},
		{403, names{"FORBIDDEN", "forbidden"}, `{}`, "", 0, failed(providers.Unauthorized)},
		// A server in trouble is not believed, whatever it says.
		{500, names{"PRECONDITION_VIOLATION", "preconditionViolation"}, `{}`, "", 0, failed(providers.Unknown)},
		{200, names{"PRECONDITION_VIOLATION", "preconditionViolation"}, `{}`, "", 0, failed(providers.Unknown)},
		{302, names{"PRECONDITION_VIOLATION", "preconditionViolation"}, `{}`, "", 0, failed(providers.Unknown)},
		// A code that is not published says no more than its status.
		{400, names{"BANK_WAS_SHUT", "bankWasShut"}, `{}`, "", 0, failed(providers.Unauthorized)},
		{418, names{"BANK_WAS_SHUT", "bankWasShut"}, `{}`, "", 0, failed(providers.Unknown)},
	}
	covered := map[wire.Code]bool{}
	for _, c := range cases {
		for _, api := range apis {
			t.Run(string(api)+"/"+c.code.member, func(t *testing.T) {
				in := newIntegrator(t, api, reply{status: c.status, text: refuses(api, c.code, c.about, c.description)})
				r := request(t)
				r.RequestedAt = time.Now().Add(-c.age)
				res, err := in.Refund(t.Context(), r)
				wantVerdict(t, res, err, c.want)
				if err == nil && (res.Raw == nil || res.Raw.Scope != "google.errorResponseCode" || res.Raw.Code != c.code.enum || res.Raw.Message != c.description) {
					t.Errorf("raw result: got %+v, want %s %q", res.Raw, c.code.enum, c.description)
				}
			})
		}
		covered[wire.Code(c.code.enum)] = true
	}
	for _, row := range wire.Codes {
		if !covered[row.Code] {
			t.Errorf("%s is in no case", row.Code)
		}
	}
}

// Without a code the status is all there is: a refusal of keys or account, a wait, or nothing that anybody could know.
func TestStatusesAreReadWithoutACode(t *testing.T) {
	want := map[int]verdict{400: failed(providers.Unauthorized), 401: failed(providers.Unauthorized), 403: failed(providers.Unauthorized),
		404: failed(providers.Unauthorized), 409: failed(providers.Unavailable), 412: noted(providers.Conflicting, ""),
		423: failed(providers.Unavailable), 429: failed(providers.RateLimited)}
	for status := 200; status < 600; status++ {
		switch status {
		case 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 402, 405, 406, 408, 410, 413, 415, 422, 425, 499, 500, 501, 502, 503, 504, 599:
			want[status] = failed(providers.Unknown)
		}
	}
	bodies := map[string]reply{"empty": {unsealed: true}, "text": {text: "Something went wrong. Please retry later.", unsealed: true},
		"no code": {text: `{"responseHeader":{"responseTimestamp":"$now"}}`}}
	for name, a := range bodies {
		in := newIntegrator(t, RedirectFOP, a)
		for status, want := range want {
			if status == 204 || status == 304 { // these have no body
				a.unsealed, a.text = true, ""
			}
			a.status = status
			in.answersWith(a)
			res, err := in.Refund(t.Context(), request(t))
			if got := verdictOf(res, err); got.status != want.status || err != nil && got != want || (err != nil) != want.failed {
				t.Errorf("%s with status %d: got %+v (%v), want %+v", name, status, got, err, want)
			}
			if res.Raw != nil {
				t.Errorf("%s with status %d: got %+v, want nothing said", name, status, res.Raw)
			}
		}
	}
}

// Who asks to wait is heard, whatever it is that went wrong.
func TestRetryAfterIsPassedOn(t *testing.T) {
	for _, status := range []int{409, 423, 429, 503} {
		in := newIntegrator(t, CardFOP, reply{status: status, header: http.Header{"Retry-After": {"7"}}, unsealed: true})
		_, err := in.Refund(t.Context(), request(t))
		var e *providers.Error
		if !errors.As(err, &e) || e.RetryAfter != 7*time.Second {
			t.Errorf("%d: got %v, want to wait 7s", status, err)
		}
	}
}

// A no while an earlier attempt is in doubt may be overtaken by that attempt. It waits until the straggler can no longer
// be taken on, and is asked again under the same requestId. A yes needs no wait, nor does a contradiction.
func TestANoToARepeatedCallIsAskedAgain(t *testing.T) {
	later := verdict{status: providers.NotNow, reason: schemas.ReasonProviderBusy, after: 2 * time.Minute}
	cases := []struct {
		status int
		text   string
		age    time.Duration
		want   verdict
	}{
		{400, refuses(CardFOP, names{enum: "PRECONDITION_VIOLATION"}, "", ""), 2 * time.Hour, later},
		{404, refuses(CardFOP, names{enum: "INVALID_IDENTIFIER"}, "", ""), 2 * time.Hour, later},
		// "Not now" for a young payment is a no as well: the payment may be old when it is asked again.
		{404, refuses(CardFOP, names{enum: "INVALID_IDENTIFIER"}, "", ""), 59 * time.Minute, later},
		{412, refuses(CardFOP, names{enum: "IDEMPOTENCY_VIOLATION"}, "", ""), 2 * time.Hour, noted(providers.Conflicting, "")},
		{200, acknowledges(CardFOP), 2 * time.Hour, noted(providers.Acknowledged, "")},
	}
	for _, c := range cases {
		in := newIntegrator(t, CardFOP, reply{status: c.status, text: c.text})
		r := request(t)
		r.Attempt, r.RequestedAt = 2, time.Now().Add(-c.age)
		res, err := in.Refund(t.Context(), r)
		wantVerdict(t, res, err, c.want)
	}
}

// Nobody but the integrator's own seal is believed, and not a message that was caught earlier.
func TestOnlyFreshSealedAnswersAreBelieved(t *testing.T) {
	stale := func(text string) string {
		return strings.ReplaceAll(text, "$now", "1780315200000")
	}
	over := names{"PRECONDITION_VIOLATION", "preconditionViolation"}
	clock := names{"REQUEST_TIMESTAMP_OUT_OF_RANGE", "requestTimestampOutOfRange"}
	for _, api := range apis {
		other := CardFOP
		if api == CardFOP {
			other = RedirectFOP
		}
		cases := map[string]struct {
			reply reply
			want  verdict
		}{
			"yes without a seal":        {reply{status: 200, text: acknowledges(api), unsealed: true}, failed(providers.Unknown)},
			"stale yes":                 {reply{status: 200, text: stale(acknowledges(api))}, failed(providers.Unknown)},
			"yes of the other api":      {reply{status: 200, text: acknowledges(other)}, failed(providers.Unknown)},
			"yes of another type":       {reply{status: 200, text: acknowledges(api), contentType: "text/html"}, failed(providers.Unknown)},
			"yes of an unreadable type": {reply{status: 200, text: acknowledges(api), contentType: ";"}, failed(providers.Unknown)},
			"yes, other parameters":     {reply{status: 200, text: acknowledges(api), contentType: "Application/Stamped"}, noted(providers.Acknowledged, "")},
			"yes with another status":   {reply{status: 202, text: acknowledges(api)}, failed(providers.Unknown)},
			"no without a seal":         {reply{status: 400, text: refuses(api, over, "{}", ""), unsealed: true}, failed(providers.Unauthorized)},
			"stale no":                  {reply{status: 400, text: stale(refuses(api, over, "{}", ""))}, failed(providers.Unauthorized)},
			"no of the other api":       {reply{status: 400, text: refuses(other, over, "{}", "")}, noted(providers.Declined, schemas.ReasonExceedsRemaining)},
			"clocks apart":              {reply{status: 400, text: stale(refuses(api, clock, "{}", ""))}, failed(providers.Unavailable)},
		}
		for name, c := range cases {
			t.Run(string(api)+"/"+name, func(t *testing.T) {
				in := newIntegrator(t, api, c.reply)
				res, err := in.Refund(t.Context(), request(t))
				wantVerdict(t, res, err, c.want)
			})
		}
	}
}

// What an integrator writes reaches an event cleaned, and an error not at all.
func TestTextsOfTheIntegratorAreCleaned(t *testing.T) {
	over := names{"PRECONDITION_VIOLATION", "preconditionViolation"}
	in := newIntegrator(t, RedirectFOP, reply{status: 400, text: refuses(RedirectFOP, over, "{}", "card 4111 1111 1111 1111 is full")})
	res, err := in.Refund(t.Context(), request(t))
	if err != nil || res.Raw == nil || res.Raw.Message != "card [number] is full" {
		t.Errorf("got %+v, %v, want the number masked", res.Raw, err)
	}
	value := names{"INVALID_FIELD_VALUE", "invalidFieldValue"}
	for field, want := range map[string]string{"refundAmount.amountMicros": "refund: http status 400: INVALID_FIELD_VALUE at refundAmount.amountMicros (invalid)",
		"card 4111 1111": "refund: http status 400: INVALID_FIELD_VALUE (invalid)"} {
		in.answersWith(reply{status: 400, text: refuses(RedirectFOP, value, `{"invalidFieldName":"`+field+`"}`, "oops")})
		if _, err := in.Refund(t.Context(), request(t)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A seal that fails on our side leaves nothing in doubt.
func TestNothingIsSentWithoutASeal(t *testing.T) {
	in := newIntegrator(t, RedirectFOP, reply{status: 200, text: acknowledges(RedirectFOP)})
	in.cfg.Seal = broken{in.seal}
	res, err := in.Refund(t.Context(), request(t))
	wantVerdict(t, res, err, failed(providers.Unavailable))
	if got := in.calls(); got != 0 {
		t.Errorf("calls: got %d, want none", got)
	}
}

type broken struct{ Sealer }

func (broken) Seal([]byte) ([]byte, error) { return nil, errors.New("no usable key") }

// Every row of the table is there once and ends in an answer or in a kind of its own.
func TestAnswersListEachRefusalOnce(t *testing.T) {
	type place struct {
		code wire.Code
		of   Case
		http int
	}
	seen := map[place]bool{}
	for _, row := range Answers {
		at := place{row.Code, row.Case, row.HTTP}
		if seen[at] || (row.Code == "") == (row.HTTP == 0) || row.Why == "" {
			t.Errorf("%+v: want one row for a code or a status, with its reason", row)
		}
		seen[at] = true
		if (row.Status == providers.NoResult) != (row.Kind != providers.Unknown) {
			t.Errorf("%+v: want either an answer or a kind", row)
		}
	}
}

var recorded = regexp.MustCompile(`17803152000\d\d`)

// The recorded answers lead to what their cases say: only a good acknowledgement is one, and an error is never an answer
// under 200.
func TestRecordedAnswers(t *testing.T) {
	for name, api := range map[string]API{"asynchronous_refund_redirect": RedirectFOP, "asynchronous_refund_card": CardFOP, "error_responses": RedirectFOP} {
		raw, err := os.ReadFile(filepath.Join("testdata/vectors", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Cases []struct {
				ID, Direction string
				Valid         bool
				HTTP          int
				Body          json.RawMessage
				Raw           *string
			}
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
		for _, c := range file.Cases {
			if c.Direction != "response" {
				continue
			}
			t.Run(name+"/"+c.ID, func(t *testing.T) {
				a := reply{status: max(c.HTTP, 200), text: recorded.ReplaceAllLiteralString(string(c.Body), "$now")}
				if c.Raw != nil {
					a.text, a.unsealed = *c.Raw, true
				}
				in := newIntegrator(t, api, a)
				res, err := in.Refund(t.Context(), request(t))
				switch {
				case a.status == 200 && c.Valid:
					wantVerdict(t, res, err, noted(providers.Acknowledged, ""))
				case a.status == 200:
					wantVerdict(t, res, err, failed(providers.Unknown))
				default:
					_, spelled, _ := strings.Cut(c.ID, "-")
					wantListed(t, res, err, c.Valid, c.HTTP, spelled)
				}
			})
		}
	}
}

// wantListed compares with the row that the table has for a recorded refusal.
func wantListed(t *testing.T, res providers.Result, err error, valid bool, status int, spelled string) {
	t.Helper()
	var code wire.Code
	var of Case
	for _, row := range wire.Codes {
		if valid && (spelled == row.Member || spelled == string(row.Code)) {
			code = row.Code
		}
	}
	if code == wire.InvalidIdentifier {
		of = OfPayment
	}
	row, _ := answerOf(code, of, status)
	want := noted(row.Status, row.Reason)
	if row.Status == providers.NoResult {
		want = failed(row.Kind)
	}
	wantVerdict(t, res, err, want)
}
