package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Where refunded money goes. CARD is a deprecated name for PROVIDER.
const (
	cgToProvider = "PROVIDER"
	cgToWallet   = "WALLET"
	cgToCard     = "CARD"
)

// cgOrder is what a refund call asks for.
type cgOrder struct {
	// paymentID is set for a whole payment, itemID for one payment transaction.
	paymentID, itemID string
	conversationID    string
	// price is the wanted part of an item as it was written, empty for all that is left.
	price       string
	destination string
}

var (
	cgIDForm    = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
	cgPriceForm = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]{1,8})?$`)
)

var errPrice = errors.New("refundPrice must be positive and have no more decimals than the currency")

// readCGOrder reads a body. With an error it returns what could be read. Members that are null count as
// absent, because clients send what they do not set.
func readCGOrder(body []byte, operation string) (o cgOrder, err error) {
	given, err := members(body)
	if err != nil {
		return o, fmt.Errorf("body: %w", err)
	}
	maps.DeleteFunc(given, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	var price json.RawMessage
	var chargeFromMe bool
	for name, into := range sorted(map[string]any{
		"paymentId": (*literal)(&o.paymentID), "paymentTransactionId": (*literal)(&o.itemID),
		"conversationId": &o.conversationID, "refundPrice": &price,
		"refundDestinationType": &o.destination, "chargeFromMe": &chargeFromMe,
	}) {
		if value, ok := given[name]; ok && json.Unmarshal(value, into) != nil && err == nil {
			err = fmt.Errorf("%s has a wrong type", name)
		}
	}
	o.price = string(price)
	if o.destination == "" || o.destination == cgToCard {
		o.destination = cgToProvider
	}
	if err != nil {
		return o, err
	}
	return o, o.check(operation)
}

// check looks for what an operation needs.
func (o cgOrder) check(operation string) error {
	switch {
	case operation == opRefund && !cgIDForm.MatchString(o.paymentID):
		return errors.New("paymentId must be a number")
	case operation == opRefund && (o.price != "" || o.itemID != ""):
		// Ignoring them would give back the whole payment to a caller who meant a part.
		return errors.New("a whole payment is refunded without refundPrice and paymentTransactionId")
	case operation == opRefundTransaction && !cgIDForm.MatchString(o.itemID):
		return errors.New("paymentTransactionId must be a number")
	case o.price != "" && !cgPriceForm.MatchString(o.price):
		return errors.New("refundPrice must be a plain decimal number with at most eight decimals")
	case !slices.Contains([]string{cgToProvider, cgToWallet}, o.destination):
		return errors.New("refundDestinationType must be PROVIDER or WALLET")
	}
	return nil
}
