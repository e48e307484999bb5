package simulator

import (
	"cmp"
	"strconv"
	"time"

	"refundworker/schemas"
)

// BBMSLStatus is the status of a BBMSL order.
type BBMSLStatus string

// Statuses of BBMSL orders. Only SETTLED orders can be refunded, only OPEN and SUCCESS orders voided.
const (
	BBMSLOpen     BBMSLStatus = "OPEN"
	BBMSLSuccess  BBMSLStatus = "SUCCESS"
	BBMSLVoided   BBMSLStatus = "VOIDED"
	BBMSLRefunded BBMSLStatus = "REFUNDED"
	BBMSLClosed   BBMSLStatus = "CLOSED"
	BBMSLSettled  BBMSLStatus = "SETTLED"
)

var bbmslStatuses = []BBMSLStatus{BBMSLOpen, BBMSLSuccess, BBMSLVoided, BBMSLRefunded, BBMSLClosed, BBMSLSettled}

// lastListedID is the highest order id that control can list; ids that the simulator makes up lie above.
const lastListedID = 999_999_999_999_999

// firstTransaction keeps transaction ids apart from order ids in whatever a person reads.
const firstTransaction = 9_000_000_001

// order is a BBMSL order.
type order struct {
	// reference is the payment's in faults and ledger.
	reference         string
	id                int64
	merchantReference string
	amount, net       cents
	currency          schemas.Currency
	status            BBMSLStatus
	created, updated  time.Time
	moved             bool
}

// transaction is one refund or void.
type transaction struct {
	id     int64
	kind   string
	amount cents
}

// book holds the orders and the money behind them. Its owner locks.
type book struct {
	byID        map[int64]*order
	byReference map[string]*order
	// open is the shape of orders that exist when asked for; nil means that only listed orders exist.
	open *BBMSLPayment
	// unsettled is what refunds are taken from; nil means enough.
	unsettled               *schemas.Money
	lastID, lastTransaction int64
}

func newBook() *book {
	return &book{byID: map[int64]*order{}, byReference: map[string]*order{},
		lastID: lastListedID, lastTransaction: firstTransaction - 1}
}

// find returns the order that all given handles name.
func (b *book) find(h handles, now time.Time) (*order, *refusal) {
	byID, byReference := b.byID[h.orderID], b.byReference[h.merchantReference]
	named := cmp.Or(byID, byReference)
	if named == nil && b.open != nil && h.orderID <= lastListedID {
		return b.create(h, now), nil
	}
	if named == nil {
		return nil, refusedUnknownOrder
	}
	if h.orderID != 0 && byID != named || h.merchantReference != "" && byReference != named {
		return nil, refusedTwoOrders
	}
	return named, nil
}

// reference is the payment that handles name, or would name if it existed.
func (b *book) reference(h handles) string {
	if o := cmp.Or(b.byID[h.orderID], b.byReference[h.merchantReference]); o != nil {
		return o.reference
	}
	if h.orderID != 0 {
		return strconv.FormatInt(h.orderID, 10)
	}
	return h.merchantReference
}

// create makes the order that handles ask for, in the open shape.
func (b *book) create(h handles, now time.Time) *order {
	p := *b.open
	p.Reference, p.MerchantReference = b.reference(h), h.merchantReference
	return b.add(p, h.orderID, now)
}

// add puts a payment into the book as an order; an id of 0 is replaced by a new one.
func (b *book) add(p BBMSLPayment, id int64, now time.Time) *order {
	if id == 0 {
		b.lastID++
		id = b.lastID
	}
	o := &order{reference: p.Reference, id: id, merchantReference: p.MerchantReference,
		amount: cents(p.Amount.Micros / microsPerCent), currency: p.Amount.Currency, status: p.Status,
		created: now, updated: now}
	switch o.status {
	case BBMSLOpen, BBMSLSuccess, BBMSLSettled:
		o.net = o.amount
	}
	b.put(o)
	return o
}

func (b *book) put(o *order) {
	b.byID[o.id] = o
	if o.merchantReference != "" {
		b.byReference[o.merchantReference] = o
	}
}

// list replaces the orders by the listed payments. Orders that have moved money stay as they are, whether
// listed or not: forgetting one would let its money move again.
func (b *book) list(payments []BBMSLPayment, now time.Time) (found problems) {
	next := newBook()
	next.lastID = b.lastID
	for _, o := range b.byID {
		if o.moved {
			next.put(o)
		}
	}
	for i, p := range payments {
		h := p.handles()
		switch kept := cmp.Or(next.byID[h.orderID], next.byReference[h.merchantReference]); {
		case kept == nil:
			p.MerchantReference = h.merchantReference
			next.add(p, h.orderID, now)
		case kept.reference != p.Reference:
			found.add("/"+strconv.Itoa(i), "has a handle of a payment that has moved money under another reference")
		}
	}
	if len(found) == 0 {
		b.byID, b.byReference, b.lastID = next.byID, next.byReference, next.lastID
	}
	return found
}

// refund gives back the whole order or a part of it, once for ever.
func (b *book) refund(o *order, amount cents, now time.Time) (*transaction, *refusal) {
	switch {
	case o.status == BBMSLRefunded:
		return nil, refusedRefundedBefore
	case o.status != BBMSLSettled:
		return nil, refusedNotSettled
	case amount > o.amount:
		return nil, refusedAboveOrder
	}
	if b.unsettled != nil {
		rest, err := b.unsettled.Sub(amount.money(o.currency))
		if err != nil || rest.Micros < 0 {
			return nil, refusedBalance
		}
		b.unsettled = &rest
	}
	o.status, o.net = BBMSLRefunded, o.amount-amount
	return b.move(o, &transaction{kind: "REFUND", amount: amount}, now), nil
}

// void cancels the whole order before settlement.
func (b *book) void(o *order, now time.Time) (*transaction, *refusal) {
	if o.status != BBMSLOpen && o.status != BBMSLSuccess {
		return nil, refusedNotVoidable
	}
	o.status, o.net = BBMSLVoided, 0
	return b.move(o, &transaction{kind: "VOID", amount: o.amount}, now), nil
}

func (b *book) move(o *order, t *transaction, now time.Time) *transaction {
	b.lastTransaction++
	t.id = b.lastTransaction
	o.updated, o.moved = now, true
	return t
}
