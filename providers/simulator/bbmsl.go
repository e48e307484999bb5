package simulator

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// TypeBBMSL is the provider type of BBMSL in faults, in the ledger and in control paths.
const TypeBBMSL = "bbmsl"

// The two models of BBMSL, as their paths spell them, and the operations of both.
const (
	modelHosted = "hosted-checkout"
	modelDirect = "direct"

	opRefund = "refund"
	opQuery  = "query"
	opVoid   = "void"
)

// maxRequest bounds a BBMSL request; real ones have a few hundred bytes.
const maxRequest = 64 << 10

// codeSuccess is the only response code that BBMSL has published.
const codeSuccess = "0000"

// refusal is a business no: HTTP 200 with another response code.
type refusal struct {
	code, message string
}

// Refusals. BBMSL publishes no table of codes, so these codes and texts are the simulator's own: a caller
// must not read a meaning into them, and asks by query what became of an order.
var (
	refusedMerchant       = &refusal{"SIM102", "merchant is not known"}
	refusedSignature      = &refusal{"SIM103", "signature does not fit the request"}
	refusedUnknownOrder   = &refusal{"SIM201", "order is not known"}
	refusedTwoOrders      = &refusal{"SIM202", "orderId and merchantReference name different orders"}
	refusedRefundedBefore = &refusal{"SIM301", "order has been refunded before"}
	refusedNotSettled     = &refusal{"SIM302", "order is not settled"}
	refusedAboveOrder     = &refusal{"SIM303", "amount is above the order's"}
	refusedBalance        = &refusal{"SIM304", "unsettled balance is too small"}
	refusedNotVoidable    = &refusal{"SIM305", "order cannot be voided in this status"}
)

// refusedRequest is SIM101: the envelope or the request in it cannot be read, or lacks something.
func refusedRequest(err error) *refusal { return &refusal{"SIM101", err.Error()} }

// BBMSL is the BBMSL side of a Server.
type BBMSL struct {
	core *core

	mu   sync.Mutex
	keys map[string][]*rsa.PublicKey
	book *book
}

func newBBMSL(c *core) *BBMSL { return &BBMSL{core: c, book: newBook()} }

func (b *BBMSL) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys, b.book = nil, newBook()
}

// mount adds the paths. The pages show them without a trailing slash, the vendor's plug-in calls them with.
func (b *BBMSL) mount(mux *http.ServeMux) {
	for _, model := range []string{modelHosted, modelDirect} {
		for _, operation := range []string{opRefund, opQuery, opVoid} {
			path := "POST /" + TypeBBMSL + "/" + model + "/" + operation
			mux.HandleFunc(path, b.handler(model, operation))
			mux.HandleFunc(path+"/{$}", b.handler(model, operation))
		}
	}
}

func (b *BBMSL) handler(model, operation string) http.HandlerFunc {
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
		request, err := readRequest(body, operation)
		about := call{provider: TypeBBMSL, operation: operation, reference: b.reference(request.handles)}
		b.core.serve(w, r, about, func(refuse string) reply {
			if err != nil {
				return refusedRequest(err).reply()
			}
			return b.answer(exchange{model, operation, request}, refuse)
		})
	}
}

// reference is the payment that a request is about, for faults.
func (b *BBMSL) reference(h handles) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.book.reference(h)
}

// exchange is one readable request and where it came in.
type exchange struct {
	model, operation string
	request
}

// answer verifies who asks and does what is asked, or refuses it with the code that a fault demands.
func (b *BBMSL) answer(e exchange, refuse string) reply {
	keys, known := b.keysOf(e.merchantID)
	switch {
	case !known:
		return refusedMerchant.reply()
	case !e.signedBy(keys):
		return refusedSignature.reply()
	case refuse != "":
		return (&refusal{refuse, "refused by a scripted fault"}).reply()
	}
	o, t, refused := b.act(e)
	if refused != nil {
		return refused.reply()
	}
	return success(e, o, t)
}

func (b *BBMSL) keysOf(merchantID string) ([]*rsa.PublicKey, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys, known := b.keys[merchantID]
	return keys, known
}

// act does what is asked under the lock and returns the order as it is then, and the transaction if one
// was made.
func (b *BBMSL) act(e exchange) (order, *transaction, *refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, t, refused := b.execute(e)
	if refused != nil && e.operation != opQuery {
		b.core.refuse(call{TypeBBMSL, e.operation, b.book.reference(e.handles)}, refused.code)
	}
	return o, t, refused
}

func (b *BBMSL) execute(e exchange) (order, *transaction, *refusal) {
	now := b.core.clock()
	o, refused := b.book.find(e.handles, now)
	if refused != nil {
		return order{}, nil, refused
	}
	var t *transaction
	kind := MovementRefund
	switch e.operation {
	case opRefund:
		t, refused = b.book.refund(o, *e.amount, now)
	case opVoid:
		kind = MovementCancel
		t, refused = b.book.void(o, now)
	}
	if t != nil {
		b.core.ledger.add(Movement{Type: TypeBBMSL, Reference: o.reference, Kind: kind,
			Amount: t.amount.money(o.currency), ProviderRefundID: strconv.FormatInt(t.id, 10), At: now.UTC()})
	}
	return *o, t, refused
}

// wireTime is how BBMSL writes times: with milliseconds and an offset.
const wireTime = "2006-01-02T15:04:05.000-07:00"

// wireOrder is an order in an answer. Refund and void in the direct model document fewer fields.
type wireOrder struct {
	ID                int64  `json:"id"`
	MerchantID        any    `json:"merchantId,omitempty"`
	MerchantReference string `json:"merchantReference,omitempty"`
	Currency          string `json:"currency"`
	Amount            cents  `json:"amount"`
	*wireOrderDetails
	CreateTime string      `json:"createTime"`
	UpdateTime string      `json:"updateTime"`
	Status     BBMSLStatus `json:"status"`
}

// wireOrderDetails are the fields that the short form leaves out.
type wireOrderDetails struct {
	NetAmount cents  `json:"netAmount"`
	CardType  string `json:"cardType"`
	Email     string `json:"email"`
	Recurring bool   `json:"recurring"`
}

// wireTransaction is a transaction in an answer; the direct model leaves currency and card out.
type wireTransaction struct {
	ID         int64  `json:"id"`
	MerchantID any    `json:"merchantId"`
	Type       string `json:"type"`
	Amount     cents  `json:"amount"`
	Currency   string `json:"currency,omitempty"`
	Status     string `json:"status"`
	MaskedPAN  string `json:"maskedPan,omitempty"`
	STAN       string `json:"stan"`
}

// wireAnswer is any answer.
type wireAnswer struct {
	ResponseCode string           `json:"responseCode"`
	Message      string           `json:"message"`
	Order        *wireOrder       `json:"order,omitempty"`
	Transaction  *wireTransaction `json:"transaction,omitempty"`
}

func (r *refusal) reply() reply {
	return wireAnswer{ResponseCode: r.code, Message: r.message}.reply()
}

// success builds the answer of the model that was called.
func success(e exchange, o order, t *transaction) reply {
	answer := wireAnswer{ResponseCode: codeSuccess, Message: "Success", Order: &wireOrder{ID: o.id,
		MerchantReference: o.merchantReference, Currency: string(o.currency), Amount: o.amount,
		CreateTime: formatTime(o.created), UpdateTime: formatTime(o.updated), Status: o.status}}
	if e.model == modelHosted || e.operation == opQuery {
		answer.Order.MerchantID = merchantNumber(e.merchantID)
		answer.Order.wireOrderDetails = &wireOrderDetails{NetAmount: o.net, CardType: "VISA"}
	}
	if t != nil {
		answer.Transaction = &wireTransaction{ID: t.id, MerchantID: merchantNumber(e.merchantID), Type: t.kind,
			Amount: t.amount, Status: "SUCCESS", STAN: "S" + strconv.FormatInt(t.id%1_000_000, 10)}
		if e.model == modelHosted {
			answer.Transaction.Currency, answer.Transaction.MaskedPAN = string(o.currency), "455555XXXXXX4242"
		}
	}
	return answer.reply()
}

func (a wireAnswer) reply() reply {
	body, err := json.Marshal(a)
	if err != nil {
		hangUp()
	}
	return reply{status: http.StatusOK, contentType: contentJSON, body: body}
}

func formatTime(t time.Time) string { return t.UTC().Format(wireTime) }
