package simulator

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// TypeCraftgate is the provider type of Craftgate in faults, in the ledger and in control paths.
const TypeCraftgate = "craftgate"

// Operations of Craftgate besides opRefund, the refund of a whole payment. Every GET is a lookup.
const (
	opRefundTransaction = "refund-transaction"
	opLookup            = "lookup"
)

// Craftgate is the Craftgate side of a Server.
type Craftgate struct {
	core *core

	mu   sync.Mutex
	keys cgKeys
	book *cgBook
}

func newCraftgate(c *core) *Craftgate { return &Craftgate{core: c, book: newCGBook()} }

func (c *Craftgate) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.book.gone)
	c.keys, c.book = nil, newCGBook()
}

// mount adds the paths.
func (c *Craftgate) mount(mux *http.ServeMux) {
	const payments = "/payment-reporting/v1/payments/{payment}"
	for _, e := range []struct {
		method, path, operation string
		act                     func(*cgCall) reply
	}{
		{http.MethodPost, "/payment/v1/refunds", opRefund, c.refund},
		{http.MethodPost, "/payment/v1/refund-transactions", opRefundTransaction, c.refund},
		{http.MethodGet, "/payment/v1/refunds/{refund}", opLookup, c.look(retrieveRefund)},
		{http.MethodGet, "/payment/v1/refund-transactions/{part}", opLookup, c.look(retrievePart)},
		{http.MethodGet, payments, opLookup, c.look(reportPayment)},
		{http.MethodGet, payments + "/refunds", opLookup, c.look(reportRefunds)},
		{http.MethodGet, payments + "/transactions", opLookup, c.look(reportItems)},
		{http.MethodGet, payments + "/transactions/{item}/refunds", opLookup, c.look(reportParts)},
		{http.MethodGet, "/payment-reporting/v1/refunds", opLookup, c.look(searchRefunds)},
		{http.MethodGet, "/payment-reporting/v1/refund-transactions", opLookup, c.look(searchParts)},
	} {
		mux.HandleFunc(e.method+" /"+TypeCraftgate+e.path, c.handler(e.operation, e.act))
	}
}

// cgCall is one call and who made it.
type cgCall struct {
	*http.Request
	operation string
	body      []byte
	// order is what a POST asks for; malformed says why it cannot be read.
	order     cgOrder
	malformed error
	caller    CraftgateKey
}

func (c *Craftgate) handler(operation string, act func(*cgCall) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			reply{status: http.StatusRequestEntityTooLarge, contentType: contentText}.write(w)
			return
		}
		if err != nil {
			hangUp()
		}
		q := &cgCall{Request: r, operation: operation, body: body}
		if r.Method == http.MethodPost {
			q.order, q.malformed = readCGOrder(body, operation)
		}
		c.mu.Lock()
		about := call{provider: TypeCraftgate, operation: operation, reference: c.book.reference(q)}
		c.mu.Unlock()
		c.core.serve(w, r, about, func(refuse string) reply { return c.answer(q, refuse, act) })
	}
}

// answer verifies who asks and does what is asked, or refuses it with the group that a fault demands.
func (c *Craftgate) answer(q *cgCall, refuse string, act func(*cgCall) reply) reply {
	c.mu.Lock()
	keys := c.keys // replaced as a whole, never changed
	c.mu.Unlock()
	caller, refused := keys.verify(q)
	switch {
	case refused != nil:
		return refused.reply()
	case refuse != "":
		return refusedByBank(refuse).reply()
	case q.malformed != nil:
		return refusedOrder(q.malformed).reply()
	}
	q.caller = caller
	return act(q)
}

// reference is the payment that a call is about, for faults; a search over all payments is about none.
func (b *cgBook) reference(q *cgCall) string {
	switch part, refund := q.PathValue("part"), q.PathValue("refund"); {
	case q.Method == http.MethodPost:
		return b.referenceOf(q.order)
	case part != "":
		return b.parts[part].reference()
	case refund != "":
		return b.refundsByID[refund].reference()
	case q.PathValue("payment") != "":
		return q.PathValue("payment")
	}
	return q.URL.Query().Get("paymentId")
}
