package simulator

import (
	"slices"
	"strconv"

	"refundworker/schemas"
)

// Ids that the simulator gives out. The two kinds of refunds have ids far apart, so that one taken for the
// other is not found.
const (
	firstCGRefund = 4_000_000_001
	firstCGPart   = 5_000_000_001
)

// cgBook holds the payments and the refunds of them. Its owner locks.
type cgBook struct {
	payments map[string]*cgPayment
	items    map[string]*cgItem
	// refunds are all that the bank was asked for, oldest first; refundsByID those that have an id.
	refunds     []*cgRefund
	refundsByID map[string]*cgRefund
	parts       map[string]*cgPart
	// open is the shape of payments that exist when asked for; nil means that only listed payments exist.
	open   *CraftgatePayment
	repeat map[cgRepeat]*cgFirst
	// gone ends the bank's work when everything is forgotten.
	gone chan struct{}
}

func newCGBook() *cgBook {
	return &cgBook{payments: map[string]*cgPayment{}, items: map[string]*cgItem{}, refundsByID: map[string]*cgRefund{},
		parts: map[string]*cgPart{}, repeat: map[cgRepeat]*cgFirst{}, gone: make(chan struct{})}
}

// cgPayment is a payment, as it was listed.
type cgPayment struct {
	CraftgatePayment
	items   []*cgItem
	refunds []*cgRefund
	// running is set while the bank works on a refund.
	running bool
}

// cgItem is one transaction of a payment.
type cgItem struct {
	CraftgateTransaction
	payment *cgPayment
}

// list replaces the payments by the listed ones. Payments whose refund was tried or runs stay, whether
// listed or not: forgetting one would let its money move again.
func (b *cgBook) list(payments []CraftgatePayment) (found problems) {
	next := newCGBook()
	for _, p := range b.payments {
		if p.running || len(p.refunds) > 0 {
			next.put(p)
		}
	}
	for i, listed := range payments {
		at := "/" + strconv.Itoa(i)
		if kept := next.payments[listed.Reference]; kept != nil {
			if kept.Amount != listed.Amount || !slices.Equal(kept.Transactions, listed.Transactions) {
				found.add(at, "has another amount or other transactions than before the first refund of it was tried")
			}
			continue
		}
		for j, t := range listed.Transactions {
			if next.items[t.Reference] != nil {
				found.add(at+"/transactions/"+strconv.Itoa(j)+"/reference", "is a transaction of another payment, whose refund was tried")
			}
		}
		next.put(newCGPayment(listed))
	}
	if len(found) > 0 {
		return found
	}
	b.payments, b.items = next.payments, next.items
	for _, listed := range payments {
		b.payments[listed.Reference].CraftgatePayment = listed
	}
	return nil
}

func newCGPayment(listed CraftgatePayment) *cgPayment {
	p := &cgPayment{CraftgatePayment: listed}
	for _, t := range listed.Transactions {
		p.items = append(p.items, &cgItem{t, p})
	}
	return p
}

func (b *cgBook) put(p *cgPayment) {
	b.payments[p.Reference] = p
	for _, i := range p.items {
		b.items[i.Reference] = i
	}
}

// payment finds a payment, or makes it in the open shape; nil means that it does not exist.
func (b *cgBook) payment(reference string) *cgPayment {
	p := b.payments[reference]
	if p == nil && b.open != nil && cgReference(reference) && b.items[reference] == nil {
		listed := *b.open
		listed.Reference = reference
		listed.Transactions = []CraftgateTransaction{{reference, listed.Amount}}
		p = newCGPayment(listed)
		b.put(p)
	}
	return p
}

// item finds an item of any payment, or makes it with its payment in the open shape.
func (b *cgBook) item(reference string) *cgItem {
	if i := b.items[reference]; i != nil || b.payments[reference] != nil {
		return i
	}
	b.payment(reference)
	return b.items[reference]
}

// referenceOf is the payment that an order is about, or would be about if it existed.
func (b *cgBook) referenceOf(o cgOrder) string {
	if i := b.items[o.itemID]; i != nil {
		return i.payment.Reference
	}
	if o.itemID != "" {
		return o.itemID
	}
	return o.paymentID
}

// left is what of an item can still be refunded: what failed came back to it, what waits is still held.
func (i *cgItem) left() schemas.Money {
	left := i.Amount
	for _, r := range i.payment.refunds {
		for _, part := range r.parts {
			if part.item == i && part.status != cgFailure {
				left.Micros -= part.amount.Micros
			}
		}
	}
	return left
}

// left is what of all items can still be refunded.
func (p *cgPayment) left() schemas.Money {
	left := schemas.Money{Currency: p.Amount.Currency}
	for _, i := range p.items {
		left.Micros += i.left().Micros
	}
	return left
}

// untouched is whether no part of the payment was refunded and none is about to be.
func (p *cgPayment) untouched() bool { return p.left() == p.Amount }

// waiting is whether a refund of the payment has not ended at the bank.
func (p *cgPayment) waiting() bool {
	return p.running || slices.ContainsFunc(p.refunds, func(r *cgRefund) bool { return r.status() == cgWaiting })
}
