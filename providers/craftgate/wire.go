package craftgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"refundworker/providers"
	"refundworker/schemas"
)

// text is what Craftgate's pages and clients take for different kinds: ids, prices and codes.
type text = providers.LooseText

// envelope is every answer: data, or errors.
type envelope struct {
	Data   json.RawMessage `json:"data"`
	Errors *refusal        `json:"errors"`
}

// refusal is why Craftgate said no.
type refusal struct {
	Code          text       `json:"errorCode"`
	Description   text       `json:"errorDescription"`
	Group         text       `json:"errorGroup"`
	ProviderError *bankError `json:"providerError"`
	// booked is set when a refund was booked and failed, instead of being refused as a request.
	booked bool
}

type bankError struct {
	Code    text `json:"errorCode"`
	Message text `json:"errorMessage"`
}

// record is a refund as Craftgate tells it: of a payment, of an item, or as one entry of a list.
type record struct {
	ID             text     `json:"id"`
	ConversationID text     `json:"conversationId"`
	Status         text     `json:"status"`
	RefundPrice    text     `json:"refundPrice"`
	RefundType     text     `json:"refundType"`
	Currency       text     `json:"currency"`
	PaymentID      text     `json:"paymentId"`
	ItemID         text     `json:"paymentTransactionId"`
	Parts          []record `json:"paymentTransactionRefunds"`
	// The reports' pages call a failure's cause error, one of the clients paymentError.
	Error        *refusal `json:"error"`
	PaymentError *refusal `json:"paymentError"`
}

// Statuses and types of a record.
const (
	statusSuccess = "SUCCESS"
	statusFailure = "FAILURE"
	statusWaiting = "WAITING"

	typeCancel = "CANCEL"
	typeRefund = "REFUND"
)

// failed tells whether a record failed whole. One that is told to have failed may name parts that did not.
func (r record) failed() bool {
	return r.Status == statusFailure && !slices.ContainsFunc(r.Parts, func(p record) bool { return p.Status != statusFailure })
}

// failure is the cause of a record that failed, without a group when none is told.
func (r record) failure() refusal {
	var cause refusal
	switch {
	case r.Error != nil:
		cause = *r.Error
	case r.PaymentError != nil:
		cause = *r.PaymentError
	}
	cause.booked = true
	return cause
}

// payment is the report of a payment.
type payment struct {
	ID              text     `json:"id"`
	PaymentStatus   text     `json:"paymentStatus"`
	RefundStatus    text     `json:"refundStatus"`
	RefundablePrice text     `json:"refundablePrice"`
	PaidPrice       text     `json:"paidPrice"`
	Currency        text     `json:"currency"`
	Refunds         []record `json:"refunds"`
}

// item is one of a payment's items.
type item struct {
	ID              text `json:"id"`
	RefundablePrice text `json:"refundablePrice"`
}

// list is one page of a list.
type list[T any] struct {
	Items     *[]T `json:"items"`
	TotalSize *int `json:"totalSize"`
}

// state is a payment's state and, as JSON, the baseline that is journalled. Amounts are in micros.
type state struct {
	Payment  string           `json:"paymentStatus"`
	Refund   string           `json:"refundStatus"`
	Paid     *int64           `json:"paidPrice,omitempty,string"`
	Rest     int64            `json:"refundablePrice,string"`
	ItemRest *int64           `json:"itemRefundablePrice,omitempty,string"`
	Currency schemas.Currency `json:"currency"`
	// Failed are the ids of our refunds that were listed as failed before: they say nothing about later ones.
	Failed []string `json:"failed,omitempty"`
}

// Values of a payment's refundStatus and paymentStatus.
const (
	noRefund          = "NO_REFUND"
	notRefunded       = "NOT_REFUNDED"
	partialRefunded   = "PARTIAL_REFUNDED"
	fullyRefunded     = "FULLY_REFUNDED"
	paymentSuccessful = "SUCCESS"
)

// stateOf reads a payment. A missing status and a rest that is missing or no decimal make it unreadable.
func stateOf(p payment) (state, error) {
	s := state{Payment: string(p.PaymentStatus), Refund: string(p.RefundStatus), Currency: schemas.Currency(p.Currency)}
	switch s.Refund {
	case noRefund, notRefunded, partialRefunded, fullyRefunded:
	default:
		return state{}, errors.New("the payment's refundStatus is not known")
	}
	if s.Payment == "" || s.Currency == "" {
		return state{}, errors.New("the payment has no paymentStatus or no currency")
	}
	rest, _, err := micros(p.RefundablePrice)
	if err != nil {
		return state{}, fmt.Errorf("the payment's refundablePrice is not readable: %w", err)
	}
	s.Rest = rest
	if p.PaidPrice != "" {
		paid, _, err := micros(p.PaidPrice)
		if err != nil {
			return state{}, fmt.Errorf("the payment's paidPrice is not readable: %w", err)
		}
		s.Paid = &paid
	}
	return s, nil
}

// readBaseline reads what Prepare returned; nil when there is none.
func readBaseline(raw json.RawMessage) (*state, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var s state
	if json.Unmarshal(raw, &s) != nil || s.Refund == "" {
		return nil, errors.New("the baseline is not readable")
	}
	return &s, nil
}

// maxExponent bounds what an exponent may shift; Java writes a zero of eight decimals as 0E-8.
const maxExponent = 30

var errPrice = errors.New("not a decimal number of a usable size")

// micros reads a price from its literal text, in millionths. Digits finer than that are cut off, and exact says whether
// there were any: what is left of an item may have eight decimals, a refund that was asked for has not.
func micros(price text) (n int64, exact bool, err error) {
	mantissa, power, scaled := strings.Cut(strings.ToUpper(string(price)), "E")
	shift := 0
	if scaled {
		if shift, err = strconv.Atoi(power); err != nil || shift > maxExponent || shift < -maxExponent {
			return 0, false, errPrice
		}
	}
	units, decimals, pointed := strings.Cut(mantissa, ".")
	if !digits(units) || pointed && !digits(decimals) {
		return 0, false, errPrice
	}
	kept := strings.TrimLeft(units+decimals, "0")
	shift += 6 - len(decimals)
	if shift >= 0 {
		kept += strings.Repeat("0", shift)
		exact = true
	} else {
		cut := max(len(kept)+shift, 0)
		exact = strings.Trim(kept[cut:], "0") == ""
		kept = kept[:cut]
	}
	if strings.Trim(kept, "0") == "" {
		return 0, exact, nil
	}
	if n, err = strconv.ParseInt(kept, 10, 64); err != nil {
		return 0, false, errPrice
	}
	return n, exact, nil
}

// price is what a record refunds. It must be exact: a refund of another amount is not ours.
func (r record) price() (int64, error) {
	n, exact, err := micros(r.RefundPrice)
	if err != nil || !exact {
		return 0, errors.New("a refund's price is not readable")
	}
	return n, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// plus adds amounts that are not negative; a sum that does not fit stays at the largest, which equals no amount.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
