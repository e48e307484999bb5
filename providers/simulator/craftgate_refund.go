package simulator

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/schemas"
)

// cgStatus is how a refund, or a part of one, stands.
type cgStatus string

const (
	cgSuccessful cgStatus = "SUCCESS"
	cgFailure    cgStatus = "FAILURE"
	cgWaiting    cgStatus = "WAITING"
)

// cgRefund is one refund that the bank was asked for.
type cgRefund struct {
	payment *cgPayment
	order   cgOrder
	// key is the x-idempotency-key, apiKey the merchant's who asked.
	key, apiKey string
	// id is set in the shapes of a cancel and of a single item, not in that of a whole refund.
	id    string
	kind  MovementKind
	parts []*cgPart
	at    time.Time
	// lookups is how many will still find it waiting; fails is whether it ends with FAILURE then.
	lookups int
	fails   bool
}

// cgPart is what a refund takes from one item.
type cgPart struct {
	refund *cgRefund
	item   *cgItem
	id     string
	amount schemas.Money
	status cgStatus
	error  *cgRefusal
}

func (r *cgRefund) reference() string {
	if r == nil {
		return ""
	}
	return r.payment.Reference
}

func (p *cgPart) reference() string {
	if p == nil {
		return ""
	}
	return p.refund.reference()
}

// refund does a refund call. What the first call under a key was answered is the answer to each repeat.
func (c *Craftgate) refund(q *cgCall) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.book.repeat[q.repeat()]; first != nil {
		if refused := first.refuses(q); refused != nil {
			return c.refuse(q, refused)
		}
		return *first.answer
	}
	p, wanted, refused := c.book.wanted(q.order)
	if refused != nil {
		return c.refuse(q, refused)
	}
	if p.waiting() {
		return c.refuse(q, refusedByBank(cgGroupRunning))
	}
	first := c.book.remember(q)
	c.bankWorks(p)
	first.answer = c.execute(q, p, wanted)
	return *first.answer
}

// refuse answers that a rule does not allow the refund.
func (c *Craftgate) refuse(q *cgCall, refused *cgRefusal) reply {
	about := call{TypeCraftgate, q.operation, c.book.referenceOf(q.order)}
	c.core.refuse(about, cmp.Or(refused.Group, refused.Code))
	return refused.reply()
}

// wanted finds the payment of an order and what is to be refunded of which items.
func (b *cgBook) wanted(o cgOrder) (*cgPayment, []cgShare, *cgRefusal) {
	if o.paymentID != "" {
		p := b.payment(o.paymentID)
		if p == nil {
			return nil, nil, refusedNoPayment
		}
		return p, p.rest(), nil
	}
	i := b.item(o.itemID)
	if i == nil {
		return nil, nil, refusedNoPayment
	}
	share := cgShare{i, i.left()}
	if o.price != "" {
		var err error
		share.amount, err = schemas.ParseDecimal(o.price, i.Amount.Currency)
		if err != nil || share.amount.Micros == 0 {
			return nil, nil, refusedOrder(errPrice)
		}
	}
	return i.payment, []cgShare{share}, nil
}

// cgShare is an amount of an item.
type cgShare struct {
	item   *cgItem
	amount schemas.Money
}

// rest is everything that is left, item by item.
func (p *cgPayment) rest() (shares []cgShare) {
	for _, i := range p.items {
		if left := i.left(); left.Micros > 0 {
			shares = append(shares, cgShare{i, left})
		}
	}
	return shares
}

// bankWorks lets the bank's time pass, with the lock released and the payment marked.
func (c *Craftgate) bankWorks(p *cgPayment) {
	if p.Takes == 0 {
		return
	}
	book, timer := c.book, time.NewTimer(p.Takes)
	p.running = true
	c.mu.Unlock()
	select {
	case <-timer.C:
	case <-book.gone:
	}
	timer.Stop()
	c.mu.Lock()
	p.running = false
	if c.book != book {
		hangUp()
	}
}

// execute is what the bank makes of a refund.
func (c *Craftgate) execute(q *cgCall, p *cgPayment, wanted []cgShare) *reply {
	if !fit(wanted) {
		answer := c.refuse(q, refusedByBank(cgGroupAboveRest))
		return &answer
	}
	r := &cgRefund{payment: p, order: q.order, key: q.Header.Get(cgIdempotencyKey), apiKey: q.caller.APIKey,
		kind: MovementRefund, at: c.core.clock(), lookups: p.Lookups, fails: p.Behaviour == CraftgateWaitingFailure}
	if q.order.paymentID != "" && p.SameDay && p.untouched() {
		r.kind = MovementCancel
	}
	for _, share := range wanted {
		part := &cgPart{refund: r, item: share.item, amount: share.amount}
		part.status, part.error = p.verdict(share.item)
		r.parts = append(r.parts, part)
	}
	c.book.add(r)
	c.record(r)
	c.announce(r)
	answer := cgSuccess(r.answer())
	if group := string(p.Behaviour); cgGroups[group] != "" {
		answer = refusedByBank(group).reply()
	}
	return &answer
}

// fit tells whether there is something to give back, and no more than is left of each item.
func fit(wanted []cgShare) bool {
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(share cgShare) bool {
		return share.amount.Micros == 0 || share.amount.Micros > share.item.left().Micros
	})
}

// verdict is what becomes of a refund of an item.
func (p *cgPayment) verdict(i *cgItem) (cgStatus, *cgRefusal) {
	switch p.Behaviour {
	case "":
		return cgSuccessful, nil
	case CraftgateWaiting, CraftgateWaitingFailure:
		return cgWaiting, nil
	case CraftgateMixed:
		if i != p.items[len(p.items)-1] {
			return cgSuccessful, nil
		}
		return cgFailure, refusedByBank(cgGroupDeclined)
	case CraftgateFailure:
		return cgFailure, refusedByBank(cgGroupDeclined)
	}
	return cgFailure, refusedByBank(string(p.Behaviour))
}

// add puts a refund into the book and gives it its ids.
func (b *cgBook) add(r *cgRefund) {
	b.refunds = append(b.refunds, r)
	r.payment.refunds = append(r.payment.refunds, r)
	if r.kind == MovementCancel {
		r.id = strconv.Itoa(firstCGRefund + len(b.refundsByID))
		b.refundsByID[r.id] = r
		return
	}
	for _, part := range r.parts {
		part.id = strconv.Itoa(firstCGPart + len(b.parts))
		b.parts[part.id] = part
	}
}

// status is that of all parts, and FAILURE when they differ.
func (r *cgRefund) status() cgStatus {
	for _, part := range r.parts {
		if part.status != r.parts[0].status {
			return cgFailure
		}
	}
	return r.parts[0].status
}

// settle ends a refund that waits.
func (c *Craftgate) settle(r *cgRefund) {
	if r.status() != cgWaiting {
		return
	}
	for _, part := range r.parts {
		part.status = cgSuccessful
		if r.fails {
			part.status, part.error = cgFailure, refusedByBank(cgGroupDeclined)
		}
	}
	c.record(r)
}

// moved is what really went back.
func (r *cgRefund) moved() schemas.Money {
	sum := schemas.Money{Currency: r.payment.Amount.Currency}
	for _, part := range r.parts {
		if part.status == cgSuccessful {
			sum.Micros += part.amount.Micros
		}
	}
	return sum
}

// record writes what moved: one line for a refund, however many items it has.
func (c *Craftgate) record(r *cgRefund) {
	moved := r.moved()
	if moved.Micros == 0 {
		return
	}
	id := r.id
	if r.kind == MovementRefund {
		id = strings.Join(r.movedParts(), ",")
	}
	c.core.ledger.add(Movement{Type: TypeCraftgate, Reference: r.payment.Reference, Kind: r.kind, Amount: moved,
		Key: r.key, ProviderRefundID: id, At: c.core.clock().UTC()})
}

// movedParts are the ids of the parts that went back.
func (r *cgRefund) movedParts() (ids []string) {
	for _, part := range r.parts {
		if part.status == cgSuccessful {
			ids = append(ids, part.id)
		}
	}
	return ids
}
