package bbmsl

import (
	"encoding/json"
	"errors"
	"fmt"

	"refundworker/providers"
	"refundworker/schemas"
)

// text is what BBMSL documents as numbers, yet its own clients send and read partly as strings.
type text = providers.LooseText

// answer is the part of BBMSL's answers that the worker reads. Card data and mail addresses are not decoded.
type answer struct {
	ResponseCode text         `json:"responseCode"`
	Message      text         `json:"message"`
	Order        *order       `json:"order"`
	Transaction  *transaction `json:"transaction"`
}

type order struct {
	ID                text `json:"id"`
	MerchantReference text `json:"merchantReference"`
	Currency          text `json:"currency"`
	Amount            text `json:"amount"`
	NetAmount         text `json:"netAmount"`
	// TotalRefundedAmount is in no table of the documentation; the vendor's shop plug-in reads it.
	TotalRefundedAmount text `json:"totalRefundedAmount"`
	Status              text `json:"status"`
}

type transaction struct {
	ID       text `json:"id"`
	Type     text `json:"type"`
	Amount   text `json:"amount"`
	Currency text `json:"currency"`
	Status   text `json:"status"`
}

// readAnswer decodes a body. Its errors hold nothing of the body.
func readAnswer(body []byte) (answer, error) {
	var a answer
	if json.Unmarshal(body, &a) != nil {
		return answer{}, errors.New("the answer is not readable JSON")
	}
	if a.ResponseCode == "" {
		return answer{}, errors.New("the answer has no responseCode")
	}
	return a, nil
}

// about reports whether an order is the one that was asked for, as far as it says.
func (o order) about(h orderHandle) bool {
	if h.id != "" {
		return o.ID == "" || string(o.ID) == h.id
	}
	return o.MerchantReference == "" || string(o.MerchantReference) == h.reference
}

// state is an order's state, and, as JSON, the baseline that is journalled. Amounts are in micros.
type state struct {
	Status   string           `json:"status"`
	Amount   int64            `json:"amount,string"`
	Net      *int64           `json:"netAmount,omitempty,string"`
	Currency schemas.Currency `json:"currency"`
}

// stateOf reads status and amounts. A missing amount, an amount that is no decimal and a rest above the
// amount make the whole order unreadable.
func stateOf(o order) (state, error) {
	s := state{Status: string(o.Status), Currency: schemas.Currency(o.Currency)}
	if s.Status == "" {
		return state{}, errors.New("the order has no status")
	}
	amount, err := s.micros("amount", o.Amount)
	if err != nil {
		return state{}, err
	}
	s.Amount = amount
	if o.NetAmount != "" {
		net, err := s.micros("netAmount", o.NetAmount)
		if err != nil {
			return state{}, err
		}
		s.lower(net)
	}
	if o.TotalRefundedAmount != "" {
		refunded, err := s.micros("totalRefundedAmount", o.TotalRefundedAmount)
		if err != nil {
			return state{}, err
		}
		s.lower(s.Amount - refunded)
	}
	if s.Net != nil && (*s.Net < 0 || *s.Net > s.Amount) {
		return state{}, errors.New("the order's amounts contradict each other")
	}
	return s, nil
}

func (s *state) micros(field string, value text) (int64, error) {
	m, err := schemas.ParseDecimal(string(value), s.Currency)
	if err != nil {
		return 0, fmt.Errorf("the order's %s is not readable: %w", field, err)
	}
	return m.Micros, nil
}

// lower keeps the smaller rest: of two numbers, the one that shows a refund is the one to heed.
func (s *state) lower(net int64) {
	if s.Net == nil || net < *s.Net {
		s.Net = &net
	}
}

// refunded is how much of the order is gone, and whether the order says so.
func (s state) refunded() (micros int64, known bool) {
	if s.Net == nil {
		return 0, false
	}
	return s.Amount - *s.Net, true
}

// readBaseline reads what Prepare returned; nil when there is none.
func readBaseline(raw json.RawMessage) (*state, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var s state
	if json.Unmarshal(raw, &s) != nil || s.Status == "" {
		return nil, errors.New("the baseline is not readable")
	}
	return &s, nil
}
