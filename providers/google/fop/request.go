package fop

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"

	"refundworker/providers"
	"refundworker/schemas"
)

const opRefund = "refund"

// check returns an Invalid error with every problem of a command, before any call.
func check(op string, r providers.Request) error {
	problems := optionProblems(r.Options)
	if !r.RequestID.Valid() {
		problems = append(problems, schemas.Problem{Pointer: "/requestId", Rule: "must be 1 to 100 characters of a-z A-Z 0-9 : - _"})
	}
	// A payment began with a request of its own, so its reference is a request id, too.
	if !schemas.RequestID(r.Payment.Reference).Valid() {
		problems = append(problems, schemas.Problem{Pointer: "/payment/reference", Rule: "must be 1 to 100 characters of a-z A-Z 0-9 : - _"})
	}
	if minor, err := r.Amount.Minor(); err != nil || minor <= 0 {
		problems = append(problems, schemas.Problem{Pointer: "/amount/amountMicros",
			Rule: "must be a positive whole number of the currency's minor units"})
	}
	if captured := r.Payment.Amount; captured != nil && captured.Currency != r.Amount.Currency {
		problems = append(problems, schemas.Problem{Pointer: "/amount/currencyCode", Rule: "must be the currency of the payment's amount"})
	}
	if len(problems) > 0 {
		return &providers.Error{Kind: providers.Invalid, Op: op, Err: errors.New("the command cannot be served"), Problems: problems}
	}
	return nil
}

// optionProblems refuses every option: there are none.
func optionProblems(raw json.RawMessage) []schemas.Problem {
	if len(raw) == 0 {
		return nil
	}
	var options map[string]json.RawMessage
	if json.Unmarshal(raw, &options) != nil || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return []schemas.Problem{{Pointer: "/options", Rule: "must be an object"}}
	}
	var problems []schemas.Problem
	for key := range options {
		pointer := "/options"
		if plainWord.MatchString(key) { // anything else can be free text
			pointer += "/" + key
		}
		problems = append(problems, schemas.Problem{Pointer: pointer, Rule: "must not be given: this provider has no options"})
	}
	return problems
}

var plainWord = regexp.MustCompile(`^[a-zA-Z0-9_]{1,40}$`)
