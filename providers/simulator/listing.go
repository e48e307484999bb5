package simulator

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"refundworker/schemas"
)

// BBMSLKey lets a merchant in. A merchant may be listed several times, once for each of its keys.
type BBMSLKey struct {
	MerchantID string
	// PublicKey is an RSA key of at least 2048 bits as SPKI PEM.
	PublicKey string
}

// BBMSLPayment is a payment as control lists it.
type BBMSLPayment struct {
	// Reference is the order id when it is all digits, otherwise the merchant reference. Faults and the
	// ledger name the payment by it.
	Reference string
	// MerchantReference is a second handle of a payment whose Reference is an order id.
	MerchantReference string
	// Amount is in HKD or USD, the currencies of BBMSL orders.
	Amount schemas.Money
	// Status is SETTLED when empty.
	Status BBMSLStatus
}

// SetKeys replaces the merchants and their keys.
func (b *BBMSL) SetKeys(list []BBMSLKey) error { return b.setKeys(list).err() }

// SetPayments replaces the payments that exist. A payment that has moved money stays as it is until Forget.
func (b *BBMSL) SetPayments(list []BBMSLPayment) error { return b.setPayments(list).err() }

// SetOpen makes every payment exist as soon as it is asked for, in the given shape, which has no references.
func (b *BBMSL) SetOpen(shape BBMSLPayment) error { return b.setOpen(shape).err() }

// SetBalance sets the merchants' unsettled money, from which refunds are taken. Before it is set there is
// enough; refunds in another currency than the balance's are refused.
func (b *BBMSL) SetBalance(unsettled schemas.Money) error { return b.setBalance(unsettled).err() }

func (b *BBMSL) setKeys(list []BBMSLKey) (found problems) {
	keys := map[string][]*rsa.PublicKey{}
	for i, k := range list {
		at := "/" + strconv.Itoa(i)
		if k.MerchantID == "" {
			found.add(at+"/merchantId", "must not be empty")
		}
		key, err := parsePublicKey(k.PublicKey)
		if err != nil {
			found.add(at+"/publicKey", err.Error())
		}
		keys[k.MerchantID] = append(keys[k.MerchantID], key)
	}
	if len(found) > 0 {
		return found
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = keys
	return nil
}

func parsePublicKey(text string) (*rsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("must be one PEM block PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok || key.N.BitLen() < 2048 {
		return nil, errors.New("must hold an RSA key of at least 2048 bits")
	}
	return key, nil
}

func (b *BBMSL) setPayments(list []BBMSLPayment) (found problems) {
	list = slices.Clone(list)
	seen := map[handles]bool{}
	for i := range list {
		p, at := &list[i], "/"+strconv.Itoa(i)
		found.under(at, p.complete())
		found.under(at, p.checkReferences())
		h := p.handles()
		for _, handle := range []handles{{orderID: h.orderID}, {merchantReference: h.merchantReference}} {
			if seen[handle] && handle != (handles{}) {
				found.add(at, "has a handle that an earlier payment has")
			}
			seen[handle] = true
		}
	}
	if len(found) > 0 {
		return found
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.book.list(list, b.core.clock())
}

func (b *BBMSL) setOpen(shape BBMSLPayment) (found problems) {
	if shape.Reference != "" || shape.MerchantReference != "" {
		found.add("", "must have no reference: it is the shape of all payments")
	}
	found.under("", shape.complete())
	if len(found) > 0 {
		return found
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.book.open = &shape
	return nil
}

func (b *BBMSL) setBalance(unsettled schemas.Money) (found problems) {
	if unsettled.Micros < 0 || unsettled.Currency == "" {
		found.add("/unsettled", "must be an amount that is not negative")
		return found
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.book.unsettled = &unsettled
	return nil
}

// complete fills in the default status and checks amount and status.
func (p *BBMSLPayment) complete() (found problems) {
	if p.Status == "" {
		p.Status = BBMSLSettled
	}
	if !slices.Contains(bbmslStatuses, p.Status) {
		found.add("/status", "must be a status of BBMSL orders")
	}
	micros := p.Amount.Micros
	switch {
	case p.Amount.Currency != "HKD" && p.Amount.Currency != "USD":
		found.add("/amount", "must be in HKD or USD")
	case micros <= 0 || micros%microsPerCent != 0 || micros > int64(maxCents)*microsPerCent:
		found.add("/amount", "must be from 0.01 to 9999999.99 in whole cents")
	}
	return found
}

func (p *BBMSLPayment) checkReferences() (found problems) {
	id, isID := p.orderID()
	switch {
	case p.Reference == "":
		found.add("/reference", "is missing")
	case isID && (id == 0 || id > lastListedID):
		found.add("/reference", "is all digits and so an order id: at most 15 digits, no leading zero")
	case !isID && p.MerchantReference != "" && p.MerchantReference != p.Reference:
		found.add("/merchantReference", "must be left out where the reference is not an order id")
	}
	if utf8.RuneCountInString(p.handles().merchantReference) > maxReference {
		found.add("/merchantReference", "must be at most 64 characters")
	}
	return found
}

// orderID is the order id that the reference spells, 0 for a malformed one, and whether it is meant as one.
func (p *BBMSLPayment) orderID() (id int64, isID bool) {
	if p.Reference == "" || strings.Trim(p.Reference, "0123456789") != "" {
		return 0, false
	}
	id, err := parseOrderID(p.Reference)
	if err != nil {
		return 0, true
	}
	return id, true
}

// handles are what requests can call the payment by.
func (p *BBMSLPayment) handles() handles {
	if id, isID := p.orderID(); isID {
		return handles{orderID: id, merchantReference: p.MerchantReference}
	}
	return handles{merchantReference: p.Reference}
}

func (b *BBMSL) takeKeys(raw []byte) problems {
	list, found := decodeList(raw, func(element []byte) (k BBMSLKey, found problems) {
		found.object("", element, map[string]any{"merchantId": (*literal)(&k.MerchantID), "publicKey": &k.PublicKey})
		return k, found
	})
	if len(found) > 0 {
		return found
	}
	return b.setKeys(list)
}

func (b *BBMSL) takePayments(raw []byte) problems {
	list, found := decodeList(raw, decodePayment)
	if len(found) > 0 {
		return found
	}
	return b.setPayments(list)
}

func (b *BBMSL) takeOpen(raw []byte) problems {
	shape, found := decodePayment(raw)
	if len(found) > 0 {
		return found
	}
	return b.setOpen(shape)
}

func decodePayment(raw []byte) (p BBMSLPayment, found problems) {
	found.object("", raw, map[string]any{"reference": &p.Reference, "merchantReference": &p.MerchantReference,
		"amount": &p.Amount, "status": &p.Status})
	return p, found
}

func (b *BBMSL) takeBalance(raw []byte) (found problems) {
	var unsettled schemas.Money
	found.object("", raw, map[string]any{"unsettled": &unsettled})
	if len(found) > 0 {
		return found
	}
	return b.setBalance(unsettled)
}
