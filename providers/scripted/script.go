package scripted

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

// step is one scripted call: what it does to the ledger, and what it says.
type step struct {
	result providers.Result
	kind   providers.Kind
	after  time.Duration
	// fails: the caller gets an error of kind.
	fails bool
	// applies: the result takes effect, whatever the caller gets.
	applies bool
	panics  bool
}

var declineReasons = []schemas.Reason{schemas.ReasonDeclined, schemas.ReasonAlreadyRefunded, schemas.ReasonNotRefundable,
	schemas.ReasonNotFound, schemas.ReasonWindowExceeded, schemas.ReasonExceedsRemaining, schemas.ReasonBalanceLimit,
	schemas.ReasonPromotionalBalance, schemas.ReasonAccountClosed, schemas.ReasonAccountOnHold}

var notNowReasons = []schemas.Reason{schemas.ReasonInsufficientBalance, schemas.ReasonDayEnd, schemas.ReasonProviderBusy}

var plainSteps = map[string]step{
	"succeeded":       {result: providers.Result{Status: providers.Succeeded}, applies: true},
	"cancelled":       {result: providers.Result{Status: providers.Cancelled}, applies: true},
	"acknowledged":    {result: providers.Result{Status: providers.Acknowledged}, applies: true},
	"partial":         {result: providers.Result{Status: providers.Partial}, applies: true},
	"unknown_applied": {result: providers.Result{Status: providers.Succeeded}, applies: true, fails: true},
	"unknown_lost":    {fails: true},
	"unavailable":     {fails: true, kind: providers.Unavailable},
	"invalid":         {fails: true, kind: providers.Invalid},
	"unauthorized":    {fails: true, kind: providers.Unauthorized},
	"panic":           {panics: true},
}

// parseStep reads one outcome: a plain word, declined:<reason>, not_now:<reason>[:<after>] or
// rate_limited[:<after>].
func parseStep(text string) (step, error) {
	if s, ok := plainSteps[text]; ok {
		return s, nil
	}
	word, rest, _ := strings.Cut(text, ":")
	switch word {
	case "declined":
		return parseAnswer(providers.Declined, rest, declineReasons)
	case "not_now":
		reason, after, _ := strings.Cut(rest, ":")
		s, err := parseAnswer(providers.NotNow, reason, notNowReasons)
		if err == nil {
			s.result.After, err = parseAfter(after)
		}
		return s, err
	case "rate_limited":
		after, err := parseAfter(rest)
		return step{fails: true, kind: providers.RateLimited, after: after}, err
	}
	return step{}, errors.New("must be an outcome that the script knows")
}

func parseAnswer(status providers.Status, reason string, known []schemas.Reason) (step, error) {
	if !slices.Contains(known, schemas.Reason(reason)) {
		return step{}, errors.New("must name a reason that fits the outcome")
	}
	return step{applies: true, result: providers.Result{Status: status, Reason: schemas.Reason(reason)}}, nil
}

func parseAfter(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("must end in a duration such as 90s")
	}
	return d, nil
}

// parseOptions reads the options of a command: {"script":["..."]}. A nil script means that there is none.
func parseOptions(raw json.RawMessage) ([]step, []schemas.Problem) {
	if len(raw) == 0 {
		return nil, nil
	}
	var options struct {
		Script []string `json:"script"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&options) != nil {
		return nil, []schemas.Problem{{Pointer: "/options", Rule: `must be an object with at most "script", a list of outcomes`}}
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, []schemas.Problem{{Pointer: "/options", Rule: "must be one JSON value"}}
	}
	var (
		steps    []step
		problems []schemas.Problem
	)
	for i, text := range options.Script {
		s, err := parseStep(text)
		if err != nil {
			problems = append(problems, schemas.Problem{Pointer: fmt.Sprintf("/options/script/%d", i), Rule: err.Error()})
		}
		steps = append(steps, s)
	}
	return steps, problems
}
