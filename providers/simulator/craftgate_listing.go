package simulator

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/schemas"
)

// CraftgateKey lets a merchant in.
type CraftgateKey struct {
	APIKey, SecretKey string
	// WebhookKey signs the webhooks about refunds that this merchant asked for.
	WebhookKey string
}

// CraftgateTransaction is one item of a payment; a partial refund names it by its reference.
type CraftgateTransaction struct {
	// Reference is all digits, as the payment's.
	Reference string
	Amount    schemas.Money
}

// CraftgatePayment is a payment as control lists it.
type CraftgatePayment struct {
	// Reference is the paymentId: all digits.
	Reference string
	// Amount is in one of the currencies that Craftgate lists.
	Amount schemas.Money
	// SameDay is whether the bank's day end is still to come, so that a refund of all of it is a CANCEL.
	SameDay bool
	// Transactions make up the amount. When empty there is one, with the payment's own reference.
	Transactions []CraftgateTransaction
	// Behaviour is how each refund of the payment ends. The sandbox has a test card for each behaviour.
	Behaviour CraftgateBehaviour
	// Lookups is how many lookups find a WAITING refund still waiting; the next one finds it ended.
	Lookups int
	// Takes is how long the bank works on each refund of the payment, a minute at most. It finishes the
	// work also when the caller has hung up.
	Takes time.Duration
}

// cgMaxTakes keeps a server that closes from waiting long for its last calls.
const cgMaxTakes = time.Minute

// CraftgateBehaviour is how refunds of a payment end. Empty means with success; a group of errors, such as
// "REQUIRES_DAY_END", that the bank refuses with it.
type CraftgateBehaviour string

// Behaviours besides the groups.
const (
	// CraftgateFailure answers HTTP 200 with the status FAILURE.
	CraftgateFailure CraftgateBehaviour = "FAILURE"
	// CraftgateWaiting answers WAITING, which becomes SUCCESS.
	CraftgateWaiting CraftgateBehaviour = "WAITING"
	// CraftgateWaitingFailure answers WAITING, which becomes FAILURE.
	CraftgateWaitingFailure CraftgateBehaviour = "WAITING_FAILURE"
	// CraftgateMixed refunds every item but the payment's last one, which answers FAILURE.
	CraftgateMixed CraftgateBehaviour = "MIXED"
)

var cgBehaviours = func() []string {
	list := append(names(cgGroups), string(CraftgateFailure), string(CraftgateWaiting), string(CraftgateWaitingFailure), string(CraftgateMixed))
	return slices.Sorted(slices.Values(list))
}()

var cgCurrencies = strings.Fields("TRY USD EUR GBP CNY ARS BRL AED IQD AZN KZT KWD SAR BHD RUB JPY EGP")

// SetKeys replaces the merchants and their keys.
func (c *Craftgate) SetKeys(list []CraftgateKey) error { return c.setKeys(list).err() }

// SetPayments replaces the payments that exist. A payment whose refund was tried stays as it is until
// Forget, but for its SameDay, Behaviour, Lookups and Takes.
func (c *Craftgate) SetPayments(list []CraftgatePayment) error { return c.setPayments(list).err() }

// SetOpen makes every payment exist as soon as it is asked for, in the given shape, which has no reference
// and no transactions: payment 771 has the one transaction 771.
func (c *Craftgate) SetOpen(shape CraftgatePayment) error { return c.setOpen(shape).err() }

func (c *Craftgate) setKeys(list []CraftgateKey) (found problems) {
	keys := cgKeys{}
	for i, k := range list {
		at := "/" + strconv.Itoa(i)
		if k.APIKey == "" {
			found.add(at+"/apiKey", "must not be empty")
		}
		if k.SecretKey == "" {
			found.add(at+"/secretKey", "must not be empty")
		}
		if _, twice := keys[k.APIKey]; twice {
			found.add(at+"/apiKey", "is an earlier merchant's")
		}
		keys[k.APIKey] = k
	}
	if len(found) > 0 {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
	return nil
}

func (c *Craftgate) setPayments(list []CraftgatePayment) (found problems) {
	list = slices.Clone(list)
	payments, items := map[string]bool{}, map[string]bool{}
	for i := range list {
		p, at := &list[i], "/"+strconv.Itoa(i)
		if !cgReference(p.Reference) {
			found.add(at+"/reference", cgReferenceRule)
		}
		if payments[p.Reference] {
			found.add(at+"/reference", "is an earlier payment's")
		}
		payments[p.Reference] = true
		found.under(at, p.complete())
		found.under(at, p.checkTransactions(items))
	}
	if len(found) > 0 {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.book.list(list)
}

func (c *Craftgate) setOpen(shape CraftgatePayment) (found problems) {
	if shape.Reference != "" || len(shape.Transactions) > 0 {
		found.add("", "must have no reference and no transactions: it is the shape of all payments")
	}
	found.under("", shape.complete())
	if shape.Behaviour == CraftgateMixed {
		found.add("/behaviour", "MIXED needs several transactions")
	}
	if len(found) > 0 {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.open = &shape
	return nil
}

const cgReferenceRule = "must be all digits, at most 15, without leading zero"

func cgReference(text string) bool { return len(text) <= 15 && cgIDForm.MatchString(text) }

// complete fills in the only transaction where none is listed, and checks everything but references.
func (p *CraftgatePayment) complete() (found problems) {
	if len(p.Transactions) == 0 && p.Reference != "" {
		p.Transactions = []CraftgateTransaction{{p.Reference, p.Amount}}
	}
	if !cgAmount(p.Amount) {
		found.add("/amount", "must be positive, in whole minor units and in a currency that Craftgate lists")
	}
	if p.Behaviour != "" && !slices.Contains(cgBehaviours, string(p.Behaviour)) {
		found.add("/behaviour", "must be one of "+strings.Join(cgBehaviours, ", "))
	}
	waits := p.Behaviour == CraftgateWaiting || p.Behaviour == CraftgateWaitingFailure
	if p.Lookups < 0 || p.Lookups > 0 && !waits {
		found.add("/lookups", "must not be negative, and belongs to WAITING and WAITING_FAILURE")
	}
	if p.Takes < 0 || p.Takes > cgMaxTakes {
		found.add("/takes", "must be a duration of at most one minute")
	}
	return found
}

func cgAmount(m schemas.Money) bool {
	minor, err := m.Minor()
	return err == nil && minor > 0 && minor <= schemas.MaxMinorUnits && slices.Contains(cgCurrencies, string(m.Currency))
}

// checkTransactions checks the items against the payment and against the items of all payments before.
func (p *CraftgatePayment) checkTransactions(seen map[string]bool) (found problems) {
	if p.Behaviour == CraftgateMixed && (len(p.Transactions) < 2 || p.SameDay) {
		found.add("/behaviour", "MIXED needs several transactions and another day than the payment's")
	}
	sum := schemas.Money{Currency: p.Amount.Currency}
	for i, t := range p.Transactions {
		at := "/transactions/" + strconv.Itoa(i)
		switch {
		case !cgReference(t.Reference):
			found.add(at+"/reference", cgReferenceRule)
		case seen[t.Reference]:
			found.add(at+"/reference", "is an earlier transaction's")
		}
		seen[t.Reference] = true
		var err error
		if sum, err = sum.Add(t.Amount); err != nil || !cgAmount(t.Amount) {
			found.add(at+"/amount", "must be positive, in whole minor units and in the payment's currency")
			return found
		}
	}
	if sum != p.Amount {
		found.add("/transactions", "must add up to the payment's amount")
	}
	return found
}

func (c *Craftgate) takeKeys(raw []byte) problems {
	list, found := decodeList(raw, func(element []byte) (k CraftgateKey, found problems) {
		found.object("", element, map[string]any{"apiKey": &k.APIKey, "secretKey": &k.SecretKey, "webhookKey": &k.WebhookKey})
		return k, found
	})
	if len(found) > 0 {
		return found
	}
	return c.setKeys(list)
}

func (c *Craftgate) takePayments(raw []byte) problems {
	list, found := decodeList(raw, decodeCGPayment)
	if len(found) > 0 {
		return found
	}
	return c.setPayments(list)
}

func (c *Craftgate) takeOpen(raw []byte) problems {
	shape, found := decodeCGPayment(raw)
	if len(found) > 0 {
		return found
	}
	return c.setOpen(shape)
}

func decodeCGPayment(raw []byte) (p CraftgatePayment, found problems) {
	var transactions json.RawMessage
	var takes string
	found.object("", raw, map[string]any{"reference": &p.Reference, "amount": &p.Amount, "sameDay": &p.SameDay,
		"transactions": &transactions, "behaviour": &p.Behaviour, "lookups": &p.Lookups, "takes": &takes})
	if transactions != nil {
		list, wrong := decodeList(transactions, decodeCGTransaction)
		p.Transactions = list
		found.under("/transactions", wrong)
	}
	if takes != "" {
		var err error
		if p.Takes, err = time.ParseDuration(takes); err != nil {
			found.add("/takes", "must be a duration such as 1500ms or 2s")
		}
	}
	return p, found
}

func decodeCGTransaction(raw []byte) (t CraftgateTransaction, found problems) {
	found.object("", raw, map[string]any{"reference": &t.Reference, "amount": &t.Amount})
	return t, found
}
