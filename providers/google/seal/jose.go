package seal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// josed is the JOSE envelope: a compact JWE around a compact JWS, one level and no more.
type josed struct {
	maxSize      int64
	allowed      algorithms
	ours, theirs []joseKey
}

func newJOSE(c Config) (envelope, error) {
	allowed, err := readAlgorithms(c.Algorithms)
	problems := []error{err}
	ours, err := readJWKs("signingKeys", reveal(c.SigningKeys), jwkRules{allowed: allowed, private: true, now: c.Clock()})
	problems = append(problems, err)
	theirs, err := readJWKs("peerKeys", c.PeerKeys, jwkRules{allowed: allowed, now: c.Clock()})
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &josed{maxSize: c.MaxSize, allowed: allowed, ours: ours, theirs: theirs}, nil
}

func (j *josed) contentType() string { return "application/jose; charset=utf-8" }

func (j *josed) seal(document []byte, now time.Time) ([]byte, error) {
	signing, ok := firstKey(j.ours, signs, now)
	if !ok {
		return nil, errors.New("no key in force to sign with")
	}
	recipient, ok := firstKey(j.theirs, encrypts, now)
	if !ok {
		return nil, errors.New("no key in force to encrypt to")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(signing.jwk.Algorithm), Key: signing.jwk}, nil)
	if err != nil {
		return nil, err
	}
	signed, err := signer.Sign(document)
	if err != nil {
		return nil, err
	}
	inner, err := signed.CompactSerialize()
	if err != nil {
		return nil, err
	}
	encrypter, err := jose.NewEncrypter(j.allowed.contents[0],
		jose.Recipient{Algorithm: jose.KeyAlgorithm(recipient.jwk.Algorithm), Key: recipient.jwk}, nil)
	if err != nil {
		return nil, err
	}
	encrypted, err := encrypter.Encrypt([]byte(inner))
	if err != nil {
		return nil, err
	}
	outer, err := encrypted.CompactSerialize()
	return []byte(outer), err
}

func (j *josed) open(message []byte, now time.Time) ([]byte, error) {
	if !compact(message) {
		return nil, fmt.Errorf("%w: not a compact JWE", ErrFormat)
	}
	inner, err := j.decrypt(string(message))
	if err != nil {
		return nil, err
	}
	if !compact(inner) {
		return nil, ErrSignature
	}
	signed, err := jose.ParseSignedCompact(string(inner), j.allowed.signatures)
	if err != nil {
		return nil, ErrSignature
	}
	header := signed.Signatures[0].Header
	key, ok := findKey(j.theirs, header.KeyID, header.Algorithm)
	if !ok || !key.inForce(now) {
		return nil, ErrSignature
	}
	document, err := signed.Verify(key.jwk)
	if err != nil {
		return nil, ErrSignature
	}
	return document, nil
}

// decrypt opens the outer level. A key serves the one algorithm that it names, so a message cannot choose a weaker one.
// An expired key of ours still decrypts: the sender may not have dropped it yet.
func (j *josed) decrypt(message string) ([]byte, error) {
	encrypted, err := jose.ParseEncryptedCompact(message, j.allowed.keys, j.allowed.contents)
	if err != nil {
		return nil, fmt.Errorf("%w: not a compact JWE of allowed algorithms", ErrFormat)
	}
	key, ok := findKey(j.ours, encrypted.Header.KeyID, encrypted.Header.Algorithm)
	if !ok {
		return nil, ErrEncryption
	}
	// The library inflates by itself, up to ten times the message and at least to 250 kB.
	if _, zipped := encrypted.Header.ExtraHeaders["zip"]; zipped && int64(len(message)) > sealedSize(j.maxSize)/10 {
		return nil, ErrTooLarge
	}
	inner, err := encrypted.Decrypt(key.jwk)
	if errors.Is(err, jose.ErrCryptoFailure) {
		return nil, ErrEncryption
	}
	if err != nil {
		// The library does not tell the one from the other.
		return nil, fmt.Errorf("%w or not readable once decrypted", ErrTooLarge)
	}
	return inner, nil
}

// compact refuses bytes that Go's Base64 decoder would skip.
func compact(text []byte) bool {
	return !slices.ContainsFunc(text, func(b byte) bool { return b <= ' ' || b > '~' })
}

func (j *josed) expiries(time.Time) []KeyExpiry {
	var list []KeyExpiry
	for _, k := range j.ours {
		list = k.appendExpiry(list, UseSign, UseDecrypt)
	}
	for _, k := range j.theirs {
		list = k.appendExpiry(list, UseVerify, UseEncrypt)
	}
	return list
}
