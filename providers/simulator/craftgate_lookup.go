package simulator

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Sizes of pages. The pages of a list begin with 0.
const (
	cgPageSize    = 25
	cgMaxPageSize = 100
)

// look does a lookup under the lock.
func (c *Craftgate) look(find func(*Craftgate, *cgCall) (any, *cgRefusal)) func(*cgCall) reply {
	return func(q *cgCall) reply {
		c.mu.Lock()
		defer c.mu.Unlock()
		data, refused := find(c, q)
		if refused != nil {
			return refused.reply()
		}
		return cgSuccess(data)
	}
}

// shown counts a lookup that shows a refund: it still waits, or has just ended.
func (c *Craftgate) shown(r *cgRefund) {
	if r.lookups == 0 {
		c.settle(r)
		return
	}
	r.lookups--
}

func retrieveRefund(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	r := c.book.refundsByID[q.PathValue("refund")]
	if r == nil {
		return nil, refusedNotFound
	}
	c.shown(r)
	return r.answer(), nil
}

func retrievePart(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	p := c.book.parts[q.PathValue("part")]
	if p == nil {
		return nil, refusedNotFound
	}
	c.shown(p.refund)
	return p.answer(), nil
}

// reportPayment is no lookup of a refund, though it shows some: it would end what a search of the same
// moment has found waiting.
func reportPayment(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	p := c.book.payment(q.PathValue("payment"))
	if p == nil {
		return nil, refusedNotFound
	}
	return p.report(), nil
}

func reportItems(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	p := c.book.payment(q.PathValue("payment"))
	if p == nil {
		return nil, refusedNotFound
	}
	list := []cgItemReport{}
	for _, i := range p.items {
		list = append(list, i.report())
	}
	return cgWhole(list), nil
}

func reportRefunds(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	p := c.book.payment(q.PathValue("payment"))
	if p == nil {
		return nil, refusedNotFound
	}
	return cgWhole(c.refundReports(p.refunds, func(*cgRefund) bool { return true })), nil
}

func reportParts(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	p, i := c.book.payment(q.PathValue("payment")), c.book.item(q.PathValue("item"))
	if p == nil || i == nil || i.payment != p {
		return nil, refusedNotFound
	}
	return cgWhole(c.partReports(p.refunds, func(part *cgPart) bool { return part.item == i })), nil
}

// refundReports shows those of the refunds that have an id and fit.
func (c *Craftgate) refundReports(refunds []*cgRefund, fits func(*cgRefund) bool) []cgRefundReport {
	list := []cgRefundReport{}
	for _, r := range refunds {
		if r.id != "" && fits(r) {
			c.shown(r)
			list = append(list, r.report())
		}
	}
	return list
}

// partReports shows those parts of the refunds that have an id and fit.
func (c *Craftgate) partReports(refunds []*cgRefund, fits func(*cgPart) bool) []cgPartReport {
	list := []cgPartReport{}
	for _, r := range refunds {
		fitting := slices.DeleteFunc(slices.Clone(r.parts), func(p *cgPart) bool { return p.id == "" || !fits(p) })
		if len(fitting) > 0 {
			c.shown(r)
		}
		for _, p := range fitting {
			list = append(list, p.report())
		}
	}
	return list
}

func searchRefunds(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	s, err := readCGSearch(q.URL.RawQuery, cgRefundFilters)
	if err != nil {
		return nil, refusedOrder(err)
	}
	found := c.refundReports(c.book.candidates(s), func(r *cgRefund) bool { return s.fits(r, r.id) })
	return cgPaged(s, slices.DeleteFunc(found, func(r cgRefundReport) bool { return !s.is("status", string(r.Status)) })), nil
}

func searchParts(c *Craftgate, q *cgCall) (any, *cgRefusal) {
	s, err := readCGSearch(q.URL.RawQuery, cgPartFilters)
	if err != nil {
		return nil, refusedOrder(err)
	}
	found := c.partReports(c.book.candidates(s), func(p *cgPart) bool {
		return s.fits(p.refund, p.id) && s.is("paymentTransactionId", p.item.Reference) && s.is("isAfterSettlement", "false")
	})
	return cgPaged(s, slices.DeleteFunc(found, func(p cgPartReport) bool { return !s.is("status", string(p.Status)) })), nil
}

// candidates are the refunds that a search has to look at.
func (b *cgBook) candidates(s cgSearch) []*cgRefund {
	if reference := s.filters.Get("paymentId"); reference != "" {
		if p := b.payments[reference]; p != nil {
			return p.refunds
		}
		return nil
	}
	return b.refunds
}

// The filters of the two searches. Bounds of prices are missing: page and official clients disagree on
// their names. There are no buyers, so a buyerMemberId finds nothing.
var (
	cgRefundFilters = []string{"id", "paymentId", "buyerMemberId", "conversationId", "status", "currency",
		"minCreatedDate", "maxCreatedDate", "page", "size"}
	cgPartFilters = append(slices.Clone(cgRefundFilters), "paymentTransactionId", "isAfterSettlement")
)

// cgSearch is what a search asks for.
type cgSearch struct {
	filters    url.Values
	page, size int
	from, to   time.Time
}

// readCGSearch reads a query. An unknown filter is refused: ignoring it would show more than was asked for.
func readCGSearch(query string, known []string) (s cgSearch, err error) {
	if s.filters, err = url.ParseQuery(query); err != nil {
		return s, errors.New("query cannot be read")
	}
	for name, values := range sorted(s.filters) {
		if !slices.Contains(known, name) || len(values) > 1 {
			return s, errors.New("filter " + strconv.Quote(name) + " is not known or comes twice")
		}
	}
	s.size = cgPageSize
	err = errors.Join(s.number("page", &s.page), s.number("size", &s.size),
		s.time("minCreatedDate", &s.from), s.time("maxCreatedDate", &s.to))
	if err != nil || s.size == 0 {
		return s, errors.New("page and size must be whole numbers, minCreatedDate and maxCreatedDate times")
	}
	s.size = min(s.size, cgMaxPageSize)
	return s, nil
}

func (s cgSearch) number(name string, into *int) error {
	text := s.filters.Get(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	*into = int(n)
	return err
}

// time reads a time with or without a zone; without one it is in Craftgate's.
func (s cgSearch) time(name string, into *time.Time) error {
	text := s.filters.Get(name)
	if text == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.ParseInLocation(cgTime, text, cgZone)
	}
	*into = at
	return err
}

// is reports whether a filter is absent or has this value.
func (s cgSearch) is(name, value string) bool {
	wanted := s.filters.Get(name)
	return wanted == "" || wanted == value
}

// fits compares everything but the status, which may change as the refund is shown.
func (s cgSearch) fits(r *cgRefund, id string) bool {
	return s.is("id", id) && s.is("paymentId", r.payment.Reference) && s.is("conversationId", r.order.conversationID) &&
		s.is("currency", string(r.payment.Amount.Currency)) && s.is("buyerMemberId", "none") &&
		!r.at.Before(s.from) && (s.to.IsZero() || !r.at.After(s.to))
}

func cgPaged[T any](s cgSearch, all []T) cgList[T] {
	first := min(s.page*s.size, len(all))
	last := min(first+s.size, len(all))
	return cgList[T]{Items: all[first:last], Page: s.page, Size: s.size, TotalSize: len(all)}
}

func cgWhole[T any](all []T) cgList[T] {
	return cgList[T]{Items: all, Size: max(cgPageSize, len(all)), TotalSize: len(all)}
}
