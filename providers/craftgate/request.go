package craftgate

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"

	"refundworker/providers"
	"refundworker/schemas"
)

// Destinations of refunded money.
const (
	toProvider = "PROVIDER"
	toWallet   = "WALLET"
)

// currencies are those that Craftgate lists.
var currencies = []schemas.Currency{"TRY", "USD", "EUR", "GBP", "CNY", "ARS", "BRL", "AED", "IQD", "AZN", "KZT", "KWD",
	"SAR", "BHD", "RUB", "JPY", "EGP"}

// ask is one refund in Craftgate's terms.
type ask struct {
	payment string
	options
	amount       schemas.Money
	conversation string
	key          string
	// attempts is how many calls may have taken effect, this one included where there is one.
	attempts int
	// taken is the id of the refund that Craftgate has taken on and whose end is looked up; empty when none is known.
	taken string
	// before is the payment before the first of them; nil when it is not known.
	before *state
}

// options is what a command may say beyond the rest. Its schema is options.schema.json.
type options struct {
	item         string
	destination  string
	chargeFromMe *bool
}

// whole tells whether all that is left of the payment is to be refunded, by a call that carries no amount.
func (a ask) whole() bool { return a.item == "" }

// earlier tells whether an earlier call may have taken effect: then what the payment looks like may be our own doing.
func (a ask) earlier() bool { return a.attempts > 0 || a.before != nil }

// check reads a refund, or returns an Invalid error with every problem.
func check(op string, r providers.Request) (ask, error) {
	o, problems := readOptions(r.Options)
	if !idForm.MatchString(r.Payment.Reference) {
		problems = append(problems, problem("/payment/reference", "must be Craftgate's paymentId: 1 to 18 digits, no leading zero")...)
	}
	problems = append(problems, checkAmount(r.Amount)...)
	if len(problems) > 0 {
		return ask{}, &providers.Error{Kind: providers.Invalid, Op: op, Err: errors.New("the command cannot be served"), Problems: problems}
	}
	before, err := readBaseline(r.Baseline)
	if err != nil {
		// Nothing was sent, yet an earlier call may have been: the worker keeps its doubt with either kind.
		return ask{}, &providers.Error{Kind: providers.Unavailable, Op: op, Err: err}
	}
	return ask{payment: r.Payment.Reference, options: o, amount: r.Amount, attempts: r.Attempt, before: before,
		conversation: conversationOf(string(r.RequestID)), key: conversationOf(r.IdempotencyKey)}, nil
}

func checkAmount(m schemas.Money) []schemas.Problem {
	if !slices.Contains(currencies, m.Currency) {
		return problem("/amount/currencyCode", "must be a currency that Craftgate lists")
	}
	minor, err := m.Minor()
	if err != nil || minor <= 0 || minor > schemas.MaxMinorUnits {
		return problem("/amount/amountMicros", "must be a positive whole number of minor units, at most 2^53-1")
	}
	return nil
}

func problem(pointer, rule string) []schemas.Problem {
	return []schemas.Problem{{Pointer: pointer, Rule: rule}}
}

// readOptions reads token by token because encoding/json takes repeated and differently cased keys without a word.
func readOptions(raw json.RawMessage) (o options, problems []schemas.Problem) {
	o.destination = toProvider
	if len(raw) == 0 {
		return o, nil
	}
	if !json.Valid(raw) {
		return o, problem("/options", "must be JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, _ := d.Token(); open != json.Delim('{') {
		return o, problem("/options", "must be an object")
	}
	given := map[string]bool{}
	for d.More() {
		token, _ := d.Token()
		var value any
		if err := d.Decode(&value); err != nil {
			return o, problem("/options", "must be JSON")
		}
		key, _ := token.(string)
		if rule := o.set(key, value); given[key] {
			problems = append(problems, problem("/options"+strangerToken(key), "must be given once")...)
		} else if rule != "" {
			problems = append(problems, problem("/options"+strangerToken(key), rule)...)
		}
		given[key] = true
	}
	return o, problems
}

// set takes one option in, or returns the rule that it breaks.
func (o *options) set(key string, value any) (rule string) {
	text, _ := value.(string)
	switch key {
	case "paymentTransactionId":
		if o.item = text; !idForm.MatchString(text) {
			return "must be a text of 1 to 18 digits, no leading zero"
		}
	case "refundDestinationType":
		if o.destination = text; text != toProvider && text != toWallet {
			return "must be PROVIDER or WALLET"
		}
	case "chargeFromMe":
		charge, ok := value.(bool)
		if o.chargeFromMe = &charge; !ok {
			return "must be true or false"
		}
	default:
		return "must not be given: this provider has no such option"
	}
	return ""
}

// strangerToken shows an unknown key only when it is a plain word: anything else can be free text.
func strangerToken(key string) string {
	if len(key) > 40 || !plainWord.MatchString(key) {
		return ""
	}
	return "/" + key
}

var plainWord = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)

// refundBody is the body of both refund calls; paymentId and the other two exclude each other.
type refundBody struct {
	PaymentID             json.Number `json:"paymentId,omitempty"`
	PaymentTransactionID  json.Number `json:"paymentTransactionId,omitempty"`
	ConversationID        string      `json:"conversationId"`
	RefundPrice           json.Number `json:"refundPrice,omitempty"`
	RefundDestinationType string      `json:"refundDestinationType"`
	ChargeFromMe          *bool       `json:"chargeFromMe,omitempty"`
}

// body is what is sent and signed. The same refund always has the same bytes, so that a repeat under the same key is one.
func (a ask) body() ([]byte, error) {
	b := refundBody{ConversationID: a.conversation, RefundDestinationType: a.destination, ChargeFromMe: a.chargeFromMe}
	if a.whole() {
		b.PaymentID = json.Number(a.payment)
	} else {
		b.PaymentTransactionID, b.RefundPrice = json.Number(a.item), json.Number(a.amount.Decimal())
	}
	return json.Marshal(b)
}
