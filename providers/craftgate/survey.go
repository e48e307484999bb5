package craftgate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"refundworker/providers"
)

// sight is what Craftgate shows of a payment and of the refunds under one conversation id.
type sight struct {
	state
	// stranger is set when the item is not one of the payment's.
	stranger bool
	// refunds are of the payment as a whole, parts of its items. Both are ours by conversation id.
	refunds, parts []record
}

const (
	pageSize = 10
	// maxPages bounds a list: one refund has an entry for each item and attempt.
	maxPages = 30
)

var (
	errIncomplete = errors.New("the list cannot be read to its end")
	// errNoPayment is in the error of a survey of a payment that Craftgate does not know. Only the payment's own report can
	// say so: whatever else is missing was not read.
	errNoPayment = errors.New("there is no such payment")
)

// survey reads the payment first: a refund that happens meanwhile is then found in the lists, which are read after it.
func (p *Provider) survey(ctx context.Context, op string, a ask) (sight, error) {
	var report payment
	base := "/payment-reporting/v1/payments/" + a.payment
	switch err := p.get(ctx, op, base, &report); {
	case errors.Is(err, errNoSuch):
		return sight{}, unknown(op, fmt.Errorf("%w: %w", providers.ErrRefused, errNoPayment))
	case err != nil:
		return sight{}, err
	}
	if string(report.ID) != a.payment {
		return sight{}, unknown(op, errors.New("the answer is about another payment"))
	}
	st, err := stateOf(report)
	if err != nil {
		return sight{}, unknown(op, err)
	}
	s := sight{state: st}
	if a.whole() {
		if s.refunds, err = p.search(ctx, op, "refunds", a); err != nil {
			return sight{}, err
		}
	} else if err = p.addItem(ctx, op, a, &s); err != nil {
		return sight{}, err
	}
	s.take(a, report.Refunds)
	if s.parts, err = p.search(ctx, op, "refund-transactions", a); err != nil {
		return sight{}, err
	}
	s.noteFailed()
	return s, nil
}

// addItem reads what is left of the item. A refund of an item names no payment: that the item belongs to the payment is
// known only from here.
func (p *Provider) addItem(ctx context.Context, op string, a ask, s *sight) error {
	var items list[item]
	if err := p.get(ctx, op, "/payment-reporting/v1/payments/"+a.payment+"/transactions", &items); err != nil {
		return err
	}
	if items.Items == nil {
		return unknown(op, errors.New("the answer has no items"))
	}
	i := slices.IndexFunc(*items.Items, func(it item) bool { return string(it.ID) == a.item })
	switch {
	case i < 0 && items.TotalSize != nil && *items.TotalSize > len(*items.Items):
		return unknown(op, errIncomplete)
	case i < 0:
		s.stranger = true
	case (*items.Items)[i].RefundablePrice != "":
		rest, _, err := micros((*items.Items)[i].RefundablePrice)
		if err != nil {
			return unknown(op, fmt.Errorf("the item's refundablePrice is not readable: %w", err))
		}
		s.ItemRest = &rest
	}
	return nil
}

// search lists the refunds under our conversation id. Whether the server heeded the filters is checked again.
func (p *Provider) search(ctx context.Context, op, kind string, a ask) (found []record, err error) {
	seen := 0
	for page := range maxPages {
		path := fmt.Sprintf("/payment-reporting/v1/%s?paymentId=%s&conversationId=%s&page=%d&size=%d",
			kind, a.payment, a.conversation, page, pageSize)
		var l list[record]
		if err := p.get(ctx, op, path, &l); err != nil {
			return nil, err
		}
		if l.Items == nil || l.TotalSize == nil {
			return nil, unknown(op, errors.New("the answer has no items or no totalSize"))
		}
		for _, r := range *l.Items {
			if !a.named(r) || slices.ContainsFunc(found, r.same) {
				continue
			}
			if !idForm.MatchString(string(r.ID)) {
				return nil, unknown(op, errors.New("a refund is listed without an id"))
			}
			found = append(found, r)
		}
		if seen += len(*l.Items); seen >= *l.TotalSize {
			return found, nil
		}
		if len(*l.Items) == 0 {
			break
		}
	}
	return nil, unknown(op, errIncomplete)
}

// named reports whether a listed refund bears our conversation id and is of our payment, as far as it says.
func (a ask) named(r record) bool {
	return string(r.ConversationID) == a.conversation && (r.PaymentID == "" || string(r.PaymentID) == a.payment)
}

func (r record) same(other record) bool { return r.ID == other.ID }

// take adds the refunds that the payment's own report lists. A refund of another day has no id of its own there, and its
// parts are listed elsewhere.
func (s *sight) take(a ask, reported []record) {
	for _, r := range reported {
		if a.named(r) && idForm.MatchString(string(r.ID)) && !slices.ContainsFunc(s.refunds, r.same) {
			s.refunds = append(s.refunds, r)
		}
	}
}

func (s *sight) noteFailed() {
	for _, r := range slices.Concat(s.refunds, s.parts) {
		if r.failed() {
			s.Failed = append(s.Failed, string(r.ID))
		}
	}
}
