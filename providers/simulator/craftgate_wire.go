package simulator

import (
	"encoding/json"
	"fmt"
	"time"

	"refundworker/schemas"
)

// cgZone is the time that Craftgate's times without a zone are in; Turkey has no summer time.
var cgZone = time.FixedZone("TRT", 3*60*60)

// cgTime is how Craftgate writes times.
const cgTime = "2006-01-02T15:04:05"

// cgPrice is written as a JSON number with eight decimals, as in the published examples.
type cgPrice schemas.Money

// MarshalJSON writes the number.
func (p cgPrice) MarshalJSON() ([]byte, error) { return []byte(p.text()), nil }

func (p cgPrice) text() string {
	return fmt.Sprintf("%d.%06d00", p.Micros/1_000_000, p.Micros%1_000_000)
}

// cgBase is what every refund in an answer has, of a payment or of an item.
type cgBase struct {
	ID                    json.Number `json:"id,omitempty"`
	ConversationID        *string     `json:"conversationId"`
	CreatedDate           string      `json:"createdDate"`
	Status                cgStatus    `json:"status"`
	RefundPrice           cgPrice     `json:"refundPrice"`
	RefundBankPrice       cgPrice     `json:"refundBankPrice"`
	RefundWalletPrice     cgPrice     `json:"refundWalletPrice"`
	RefundDestinationType string      `json:"refundDestinationType"`
	AuthCode              *string     `json:"authCode"`
	HostReference         *string     `json:"hostReference"`
	TransID               *string     `json:"transId"`
}

// cgRefundAnswer is a refund of a payment, where it is made or retrieved.
type cgRefundAnswer struct {
	cgBase
	RefundType                MovementKind     `json:"refundType"`
	Currency                  schemas.Currency `json:"currency"`
	PaymentID                 json.Number      `json:"paymentId"`
	PaymentTransactionRefunds []cgPartAnswer   `json:"paymentTransactionRefunds"`
}

// cgPartAnswer is a refund of an item, where it is made or retrieved.
type cgPartAnswer struct {
	cgBase
	IsAfterSettlement    bool             `json:"isAfterSettlement"`
	Currency             schemas.Currency `json:"currency"`
	PaymentTransactionID json.Number      `json:"paymentTransactionId"`
	PaymentID            json.Number      `json:"paymentId"`
}

// cgReported is what reports add; they leave the currency out.
type cgReported struct {
	PaymentType string     `json:"paymentType"`
	Error       *cgRefusal `json:"error"`
}

type cgRefundReport struct {
	cgBase
	PaymentID json.Number `json:"paymentId"`
	cgReported
}

type cgPartReport struct {
	cgBase
	IsAfterSettlement    bool        `json:"isAfterSettlement"`
	PaymentTransactionID json.Number `json:"paymentTransactionId"`
	cgReported
}

// cgPaymentReport has the refundable price as a string, as it is documented; the report of an item has it
// as a number, as the official clients type it. Callers must take both.
type cgPaymentReport struct {
	ID              json.Number      `json:"id"`
	Price           cgPrice          `json:"price"`
	PaidPrice       cgPrice          `json:"paidPrice"`
	Currency        schemas.Currency `json:"currency"`
	PaymentStatus   string           `json:"paymentStatus"`
	RefundStatus    string           `json:"refundStatus"`
	RefundablePrice string           `json:"refundablePrice"`
	Refunds         []cgRefundReport `json:"refunds"`
}

type cgItemReport struct {
	ID              json.Number `json:"id"`
	Price           cgPrice     `json:"price"`
	PaidPrice       cgPrice     `json:"paidPrice"`
	RefundablePrice cgPrice     `json:"refundablePrice"`
}

// cgList is a page of a list.
type cgList[T any] struct {
	Items     []T `json:"items"`
	Page      int `json:"page"`
	Size      int `json:"size"`
	TotalSize int `json:"totalSize"`
}

// answer is the refund as its own call shows it: an item's refund alone, or a payment's with its parts.
func (r *cgRefund) answer() any {
	if r.order.itemID != "" {
		return r.parts[0].answer()
	}
	a := cgRefundAnswer{cgBase: r.base(), RefundType: r.kind, Currency: r.payment.Amount.Currency,
		PaymentID: json.Number(r.payment.Reference), PaymentTransactionRefunds: []cgPartAnswer{}}
	if r.kind == MovementRefund {
		for _, p := range r.parts {
			a.PaymentTransactionRefunds = append(a.PaymentTransactionRefunds, p.answer())
		}
	}
	return a
}

func (p *cgPart) answer() cgPartAnswer {
	return cgPartAnswer{cgBase: p.base(), Currency: p.amount.Currency,
		PaymentTransactionID: json.Number(p.item.Reference), PaymentID: json.Number(p.refund.payment.Reference)}
}

func (r *cgRefund) report() cgRefundReport {
	return cgRefundReport{cgBase: r.base(), PaymentID: json.Number(r.payment.Reference),
		cgReported: cgReported{"CARD_PAYMENT", r.parts[0].error}}
}

func (p *cgPart) report() cgPartReport {
	return cgPartReport{cgBase: p.base(), PaymentTransactionID: json.Number(p.item.Reference),
		cgReported: cgReported{"CARD_PAYMENT", p.error}}
}

func (r *cgRefund) base() cgBase {
	sum := schemas.Money{Currency: r.payment.Amount.Currency}
	for _, p := range r.parts {
		sum.Micros += p.amount.Micros
	}
	b := newCGBase(r.order, sum, r.status())
	b.ID, b.CreatedDate = json.Number(r.id), r.at.In(cgZone).Format(cgTime)
	return b
}

func (p *cgPart) base() cgBase {
	b := newCGBase(p.refund.order, p.amount, p.status)
	b.ID, b.CreatedDate = json.Number(p.id), p.refund.at.In(cgZone).Format(cgTime)
	return b
}

// newCGBase leaves out what the bank has not said yet, or says only about a success.
func newCGBase(o cgOrder, amount schemas.Money, status cgStatus) cgBase {
	zero := cgPrice{Currency: amount.Currency}
	b := cgBase{Status: status, RefundPrice: cgPrice(amount), RefundBankPrice: cgPrice(amount), RefundWalletPrice: zero,
		RefundDestinationType: o.destination}
	if o.destination == cgToWallet {
		b.RefundBankPrice, b.RefundWalletPrice = zero, cgPrice(amount)
	}
	if o.conversationID != "" {
		b.ConversationID = &o.conversationID
	}
	if status != cgWaiting {
		b.HostReference, b.TransID = new("H10000"), new("T10000")
	}
	if status == cgSuccessful {
		b.AuthCode = new("A10000")
	}
	return b
}

// report is the payment as reports show it. What waits is held back from the refundable price and not
// counted as refunded.
func (p *cgPayment) report() cgPaymentReport {
	paid := cgPrice(p.Amount)
	a := cgPaymentReport{ID: json.Number(p.Reference), Price: paid, PaidPrice: paid, Currency: p.Amount.Currency,
		PaymentStatus: "SUCCESS", RefundStatus: "NOT_REFUNDED", RefundablePrice: cgPrice(p.left()).text(), Refunds: []cgRefundReport{}}
	var refunded int64
	for _, r := range p.refunds {
		refunded += r.moved().Micros
		if r.id != "" {
			a.Refunds = append(a.Refunds, r.report())
		}
	}
	switch {
	case refunded == p.Amount.Micros:
		a.RefundStatus = "FULLY_REFUNDED"
	case refunded > 0:
		a.RefundStatus = "PARTIAL_REFUNDED"
	}
	return a
}

func (i *cgItem) report() cgItemReport {
	return cgItemReport{ID: json.Number(i.Reference), Price: cgPrice(i.Amount), PaidPrice: cgPrice(i.Amount),
		RefundablePrice: cgPrice(i.left())}
}
