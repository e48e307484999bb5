package simulator

import (
	"fmt"
	"time"

	"refundworker/schemas"
)

// paymentKey names a payment. A reference belongs to its account: another account asking for it gets the
// answer for an unknown one.
type paymentKey struct{ account, reference string }

// googlePayment is a payment and what is left of it.
type googlePayment struct {
	paymentKey
	captured schemas.Money
	// taken are the micros of all refunds taken on that have not failed.
	taken int64
	// pinned payments have a refund and stay as they are until Forget.
	pinned bool
}

// refundKey is what a repeat of a request is known by. Google asks for the account and the request id, and
// each API has its own method.
type refundKey struct {
	family             headerFamily
	account, requestID string
}

// googleRefund is a refund that was taken on. It never changes.
type googleRefund struct {
	refundKey
	// id is the integrator's own.
	id        string
	reference string
	amount    schemas.Money
	content   string
}

// googleBook holds payments and refunds. Its owner locks.
type googleBook struct {
	payments map[paymentKey]*googlePayment
	refunds  map[refundKey]*googleRefund
	// open is the shape of payments that exist when asked for; nil means that only listed payments exist.
	open *GooglePayment
}

func newGoogleBook() *googleBook {
	return &googleBook{payments: map[paymentKey]*googlePayment{}, refunds: map[refundKey]*googleRefund{}}
}

// list replaces the payments. Those with refunds stay as they are, whether listed or not: forgetting one would
// let its money move again.
func (b *googleBook) list(payments []GooglePayment) {
	next := map[paymentKey]*googlePayment{}
	for key, p := range b.payments {
		if p.pinned {
			next[key] = p
		}
	}
	for _, p := range payments {
		if key := (paymentKey{p.Account, p.Reference}); next[key] == nil {
			next[key] = &googlePayment{paymentKey: key, captured: p.Amount}
		}
	}
	b.payments = next
}

// find returns the payment of a key, nil where there is none.
func (b *googleBook) find(key paymentKey) *googlePayment {
	p := b.payments[key]
	if p == nil && b.open != nil && (b.open.Account == "" || b.open.Account == key.account) {
		p = &googlePayment{paymentKey: key, captured: b.open.Amount}
		b.payments[key] = p
	}
	return p
}

// take takes a refund on, or returns the one that the same request was taken on as before. A repeat is not
// judged again, and a refused request leaves no trace: its id is as free as before.
func (b *googleBook) take(r googleRequest) (refund *googleRefund, isNew bool, refused *googleRefusal) {
	key := refundKey{r.family, r.account, r.requestID}
	if known := b.refunds[key]; known != nil {
		if known.content != r.content {
			return nil, false, refusedContent
		}
		return known, false, nil
	}
	p := b.find(paymentKey{r.account, r.capture})
	switch {
	case p == nil:
		return nil, false, refusedCapture
	case r.family == objectFamily && r.amount.Currency != p.captured.Currency:
		return nil, false, refusedCurrency
	case r.amount.Micros > p.captured.Micros-p.taken:
		return nil, false, refusedRest
	}
	p.taken += r.amount.Micros
	p.pinned = true
	refund = &googleRefund{refundKey: key, id: fmt.Sprintf("SIM-R-%06d", len(b.refunds)+1), reference: r.capture,
		amount: schemas.Money{Micros: r.amount.Micros, Currency: p.captured.Currency}, content: r.content}
	b.refunds[key] = refund
	return refund, true, nil
}

// release gives back what a refund took: it has failed.
func (b *googleBook) release(r *googleRefund) {
	b.payments[paymentKey{r.account, r.reference}].taken -= r.amount.Micros
}

// movement is the ledger's line of money that moved for a refund. Reversals carry the refund's key and id, so
// that all movements of one refund can be found by either.
func (r *googleRefund) movement(kind MovementKind, amount schemas.Money, at time.Time) Movement {
	return Movement{Type: TypeGoogle, Reference: r.reference, Kind: kind, Amount: amount, Key: r.requestID,
		ProviderRefundID: r.id, At: at.UTC()}
}
