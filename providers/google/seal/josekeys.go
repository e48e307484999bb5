package seal

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
)

// Kinds of JOSE algorithms.
type algorithmKind int

const (
	encrypts algorithmKind = iota + 1
	enciphers
	signs
)

// known are the algorithms that can be allowed. None of them is symmetric or "none".
var known = map[string]algorithmKind{
	"RSA-OAEP-256": encrypts, "RSA-OAEP": encrypts, "RSA1_5": encrypts,
	"A128GCM": enciphers, "A256GCM": enciphers, "A128CBC-HS256": enciphers, "A256CBC-HS512": enciphers,
	"RS256": signs, "RS384": signs, "RS512": signs, "PS256": signs, "PS384": signs, "PS512": signs,
	"ES256": signs, "ES384": signs, "ES512": signs,
}

var defaultAlgorithms = []string{"RSA-OAEP-256", "A256GCM", "A128CBC-HS256", "RS256", "PS256", "ES256"}

// curves are what the signatures over elliptic curves demand of a key, in bits.
var curves = map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}

// algorithms are the allowed names in the form that the library takes.
type algorithms struct {
	keys       []jose.KeyAlgorithm
	contents   []jose.ContentEncryption
	signatures []jose.SignatureAlgorithm
}

func readAlgorithms(names []string) (algorithms, error) {
	var a algorithms
	var problems []error
	for _, name := range names {
		switch known[name] {
		case encrypts:
			a.keys = append(a.keys, jose.KeyAlgorithm(name))
		case enciphers:
			a.contents = append(a.contents, jose.ContentEncryption(name))
		case signs:
			a.signatures = append(a.signatures, jose.SignatureAlgorithm(name))
		default:
			problems = append(problems, fmt.Errorf("algorithms: %q is not supported", name))
		}
	}
	if len(a.keys) == 0 || len(a.contents) == 0 || len(a.signatures) == 0 {
		problems = append(problems, errors.New("algorithms: one for keys, one for content and one for signatures are needed"))
	}
	return a, errors.Join(problems...)
}

// kind is what an allowed algorithm of a key does; 0 when it is not allowed.
func (a algorithms) kind(name string) algorithmKind {
	for _, k := range a.keys {
		if string(k) == name {
			return encrypts
		}
	}
	for _, s := range a.signatures {
		if string(s) == name {
			return signs
		}
	}
	return 0
}

// joseKey is a JWK, what it is for and when it ends.
type joseKey struct {
	jwk  jose.JSONWebKey
	kind algorithmKind
	end  time.Time
}

func (k joseKey) inForce(now time.Time) bool { return k.end.IsZero() || now.Before(k.end) }

func (k joseKey) appendExpiry(list []KeyExpiry, signing, encrypting Use) []KeyExpiry {
	if k.end.IsZero() {
		return list
	}
	use := signing
	if k.kind == encrypts {
		use = encrypting
	}
	return append(list, KeyExpiry{k.jwk.KeyID, use, k.end})
}

func firstKey(keys []joseKey, kind algorithmKind, now time.Time) (joseKey, bool) {
	for _, k := range keys {
		if k.kind == kind && k.inForce(now) {
			return k, true
		}
	}
	return joseKey{}, false
}

func findKey(keys []joseKey, id, algorithm string) (joseKey, bool) {
	for _, k := range keys {
		if k.jwk.KeyID == id && k.jwk.Algorithm == algorithm {
			return k, true
		}
	}
	return joseKey{}, false
}

func reveal(secrets []providers.Secret) []string {
	texts := make([]string, len(secrets))
	for i, s := range secrets {
		texts[i] = s.Reveal()
	}
	return texts
}

// jwkRules are what the keys of one list must be.
type jwkRules struct {
	allowed algorithms
	private bool
	now     time.Time
}

// readJWKs reads and judges a list of JWK and JWKS. One key of each kind is needed at least.
func readJWKs(list string, texts []string, rules jwkRules) ([]joseKey, error) {
	var keys []joseKey
	var problems []error
	seen := map[string]bool{}
	kinds := map[algorithmKind]bool{}
	for i, text := range texts {
		raws, err := splitJWKS(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s[%d]: %w", list, i, err))
		}
		for _, raw := range raws {
			k, err := readJWK(raw, rules)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s[%d]: key %q: %w", list, i, k.jwk.KeyID, err))
				continue
			}
			if seen[k.jwk.KeyID+" "+k.jwk.Algorithm] {
				problems = append(problems, fmt.Errorf("%s[%d]: key %q: given twice", list, i, k.jwk.KeyID))
			}
			seen[k.jwk.KeyID+" "+k.jwk.Algorithm], kinds[k.kind] = true, true
			keys = append(keys, k)
		}
	}
	if !kinds[signs] {
		problems = append(problems, fmt.Errorf("%s: no key for signatures", list))
	}
	if !kinds[encrypts] {
		problems = append(problems, fmt.Errorf("%s: no key for encryption", list))
	}
	return keys, errors.Join(problems...)
}

func splitJWKS(text string) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return nil, errors.New("not a JWK or JWKS")
	}
	if set.Keys == nil {
		return []json.RawMessage{json.RawMessage(text)}, nil
	}
	return set.Keys, nil
}

func readJWK(raw json.RawMessage, rules jwkRules) (joseKey, error) {
	var k joseKey
	var life struct {
		Exp *int64 `json:"exp"`
	}
	// The library's errors are not handed on: they may quote the text.
	if err := errors.Join(k.jwk.UnmarshalJSON(raw), json.Unmarshal(raw, &life)); err != nil {
		return k, errors.New("not a readable asymmetric JWK")
	}
	if life.Exp != nil {
		k.end = time.Unix(*life.Exp, 0)
	}
	k.kind = rules.allowed.kind(k.jwk.Algorithm)
	return k, errors.Join(k.problems(rules)...)
}

func (k joseKey) problems(rules jwkRules) []error {
	var problems []error
	refuse := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New(text))
		}
	}
	refuse(k.jwk.KeyID == "", "kid is missing")
	refuse(k.jwk.Algorithm == "", "alg is missing")
	refuse(k.jwk.Algorithm != "" && k.kind == 0, "alg is not allowed")
	refuse(k.kind == signs && k.jwk.Use == "enc" || k.kind == encrypts && k.jwk.Use == "sig", "use does not fit alg")
	refuse(rules.private && k.jwk.IsPublic(), "a private key is needed, this is a public one")
	refuse(!rules.private && !k.jwk.IsPublic(), "a public key is needed, this is a private one")
	refuse(!k.inForce(rules.now), "expired")
	refuse(!k.jwk.Valid(), "not a valid key")
	return append(problems, k.strength()...)
}

// strength tells whether the key is of the type and size that its algorithm needs.
func (k joseKey) strength() []error {
	bits := curves[k.jwk.Algorithm]
	switch key := k.jwk.Public().Key.(type) {
	case *rsa.PublicKey:
		if bits != 0 {
			return []error{errors.New("alg needs an elliptic curve key")}
		}
		if key.N.BitLen() < minRSABits {
			return []error{errors.New("an RSA key of 2048 bits or more is needed")}
		}
		return nil
	case *ecdsa.PublicKey:
		if !strings.HasPrefix(k.jwk.Algorithm, "ES") || key.Curve.Params().BitSize != bits {
			return []error{errors.New("alg does not fit the key's curve")}
		}
		return nil
	}
	return []error{errors.New("neither an RSA nor an elliptic curve key")}
}
