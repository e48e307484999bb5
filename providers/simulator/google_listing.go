package simulator

import (
	"fmt"
	"slices"
	"strconv"

	"refundworker/schemas"
)

// GoogleMode says how messages of an account are sealed.
type GoogleMode string

// Modes of sealing.
const (
	// GooglePlain is no seal at all.
	GooglePlain GoogleMode = "plain"
	// GooglePGP is signed and encrypted OpenPGP in URL-safe Base64.
	GooglePGP GoogleMode = "pgp"
	// GoogleJOSE is a compact JWS in a compact JWE.
	GoogleJOSE GoogleMode = "jose"
)

// GoogleKeys lets an account in. Keys are armored OpenPGP keys or JWK documents.
type GoogleKeys struct {
	Account string
	Mode    GoogleMode
	// PublicKeys are the caller's: one of them must have signed a message, and what is sent is encrypted to them.
	PublicKeys []string
	// PrivateKeys are the integrator's: they sign what is sent, and one of them must open a message.
	PrivateKeys []string
}

// GooglePayment is a payment as control lists it.
type GooglePayment struct {
	// Reference is the captureRequestId.
	Reference string
	// Account is the one that the payment belongs to. In an open shape it may be empty, for every account.
	Account string
	Amount  schemas.Money
}

// SetKeys replaces the accounts and their keys.
func (g *Google) SetKeys(list []GoogleKeys) error { return g.setKeys(list).err() }

// SetPayments replaces the payments that exist. A payment with a refund stays as it is until Forget.
func (g *Google) SetPayments(list []GooglePayment) error { return g.setPayments(list).err() }

// SetOpen makes every payment exist as soon as it is asked for, in the given shape, which has no reference.
func (g *Google) SetOpen(shape GooglePayment) error { return g.setOpen(shape).err() }

func (g *Google) setKeys(list []GoogleKeys) (found problems) {
	seals := map[string]googleSeal{}
	for i, k := range list {
		at := "/" + strconv.Itoa(i)
		if k.Account == "" {
			found.add(at+"/account", "must not be empty")
		}
		if _, twice := seals[k.Account]; twice {
			found.add(at+"/account", "is listed before; give all its keys in one place")
		}
		seal, wrong := k.seal()
		found.under(at, wrong)
		seals[k.Account] = seal
	}
	if len(found) > 0 {
		return found
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seals = seals
	return nil
}

// seal builds what seals and opens the messages of an account.
func (k GoogleKeys) seal() (googleSeal, problems) {
	var found problems
	switch k.Mode {
	case GooglePlain:
		if len(k.PublicKeys)+len(k.PrivateKeys) > 0 {
			found.add("", "plain takes no keys")
		}
		return plainSeal{}, found
	case GooglePGP:
		return newPGPSeal(k)
	case GoogleJOSE:
		return newJOSESeal(k)
	}
	found.add("/mode", fmt.Sprintf("must be one of %q", []GoogleMode{GooglePlain, GooglePGP, GoogleJOSE}))
	return nil, found
}

// readKeys reads each key of a list, which must not be empty.
func readKeys[K any](at string, texts []string, read func(text string) (K, error)) (keys []K, found problems) {
	if len(texts) == 0 {
		found.add(at, "must have a key")
	}
	for i, text := range texts {
		key, err := read(text)
		if err != nil {
			found.add(at+"/"+strconv.Itoa(i), err.Error())
		}
		keys = append(keys, key)
	}
	return keys, found
}

func (g *Google) setPayments(list []GooglePayment) (found problems) {
	seen := map[paymentKey]bool{}
	for i, p := range list {
		at := "/" + strconv.Itoa(i)
		if !googleID.MatchString(p.Reference) {
			found.add(at+"/reference", "must be 1 to 100 characters of a-z A-Z 0-9 : - _")
		}
		if p.Account == "" {
			found.add(at+"/account", "must not be empty")
		}
		found.under(at, p.checkAmount())
		key := paymentKey{p.Account, p.Reference}
		if seen[key] {
			found.add(at, "is listed before")
		}
		seen[key] = true
	}
	if len(found) > 0 {
		return found
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book.list(slices.Clone(list))
	return nil
}

func (p GooglePayment) checkAmount() (found problems) {
	if _, known := p.Amount.Currency.Exponent(); !known || p.Amount.Micros <= 0 {
		found.add("/amount", "must be a positive amount of a known currency")
	}
	return found
}

func (g *Google) setOpen(shape GooglePayment) (found problems) {
	if shape.Reference != "" {
		found.add("/reference", "must be left out: it is the shape of all payments")
	}
	found.under("", shape.checkAmount())
	if len(found) > 0 {
		return found
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book.open = &shape
	return nil
}

func (g *Google) takeKeys(raw []byte) problems {
	list, found := decodeList(raw, func(element []byte) (k GoogleKeys, found problems) {
		found.object("", element, map[string]any{"account": &k.Account, "mode": &k.Mode,
			"publicKeys": &k.PublicKeys, "privateKeys": &k.PrivateKeys})
		return k, found
	})
	if len(found) > 0 {
		return found
	}
	return g.setKeys(list)
}

func (g *Google) takePayments(raw []byte) problems {
	list, found := decodeList(raw, decodeGooglePayment)
	if len(found) > 0 {
		return found
	}
	return g.setPayments(list)
}

func (g *Google) takeOpen(raw []byte) problems {
	shape, found := decodeGooglePayment(raw)
	if len(found) > 0 {
		return found
	}
	return g.setOpen(shape)
}

func decodeGooglePayment(raw []byte) (p GooglePayment, found problems) {
	found.object("", raw, map[string]any{"reference": &p.Reference, "account": &p.Account, "amount": &p.Amount})
	return p, found
}
