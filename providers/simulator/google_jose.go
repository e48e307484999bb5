package simulator

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// The algorithms that are allowed; a message never chooses another.
var (
	joseSignatures = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}
	joseKeys       = []jose.KeyAlgorithm{jose.RSA_OAEP_256, jose.RSA_OAEP}
	joseContents   = []jose.ContentEncryption{jose.A256GCM, jose.A128CBC_HS256}
)

// joseSeal is a compact JWS in a compact JWE.
type joseSeal struct {
	// peers verify messages and are encrypted to; own open messages and sign.
	peers, own []jose.JSONWebKey
}

func newJOSESeal(k GoogleKeys) (googleSeal, problems) {
	peers, found := readKeys("/publicKeys", k.PublicKeys, func(text string) (jose.JSONWebKey, error) {
		return readJWK(text, false)
	})
	own, wrong := readKeys("/privateKeys", k.PrivateKeys, func(text string) (jose.JSONWebKey, error) {
		return readJWK(text, true)
	})
	found.under("", wrong)
	if len(found) > 0 {
		return nil, found
	}
	// A compact message has one signer and one recipient: the first key that serves.
	if !slices.ContainsFunc(peers, encrypts) || !slices.ContainsFunc(peers, signs) {
		found.add("/publicKeys", "must have a key to verify with and an RSA key to encrypt to")
	}
	if !slices.ContainsFunc(own, encrypts) || !slices.ContainsFunc(own, signs) {
		found.add("/privateKeys", "must have a key to sign with and an RSA key to decrypt by")
	}
	return &joseSeal{peers: peers, own: own}, found
}

// readJWK reads one key. Its errors do not quote it.
func readJWK(text string, private bool) (key jose.JSONWebKey, err error) {
	if key.UnmarshalJSON([]byte(text)) != nil || !key.Valid() {
		return key, errors.New("must be one JWK")
	}
	_, symmetric := key.Key.([]byte)
	if symmetric || key.IsPublic() == private {
		return key, fmt.Errorf("must be an asymmetric JWK of the other half: private is %t", private)
	}
	if key.KeyID == "" {
		return key, errors.New("must have a kid")
	}
	return key, nil
}

// signs reports whether a key is for signatures.
func signs(key jose.JSONWebKey) bool { return key.Use != "enc" && signatureOf(key) != "" }

// encrypts reports whether a key is for encryption.
func encrypts(key jose.JSONWebKey) bool { return key.Use != "sig" && encryptionOf(key) != "" }

// signatureOf is the algorithm that a key signs with, empty where it does not.
func signatureOf(key jose.JSONWebKey) jose.SignatureAlgorithm {
	if key.Algorithm != "" {
		return allowed(jose.SignatureAlgorithm(key.Algorithm), joseSignatures)
	}
	switch key.Public().Key.(type) {
	case *rsa.PublicKey:
		return jose.RS256
	case *ecdsa.PublicKey:
		return jose.ES256
	}
	return ""
}

// encryptionOf is the algorithm that a key encrypts with, empty where it does not.
func encryptionOf(key jose.JSONWebKey) jose.KeyAlgorithm {
	if _, isRSA := key.Public().Key.(*rsa.PublicKey); !isRSA {
		return ""
	}
	if key.Algorithm != "" {
		return allowed(jose.KeyAlgorithm(key.Algorithm), joseKeys)
	}
	return jose.RSA_OAEP_256
}

func allowed[A ~string](algorithm A, list []A) A {
	if slices.Contains(list, algorithm) {
		return algorithm
	}
	return ""
}

func (s *joseSeal) contentType() string { return "application/jose; charset=utf-8" }

func (s *joseSeal) seal(document []byte) ([]byte, error) {
	key := s.own[slices.IndexFunc(s.own, signs)]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: signatureOf(key), Key: key}, nil)
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
	peer := s.peers[slices.IndexFunc(s.peers, encrypts)]
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: encryptionOf(peer), Key: peer}, nil)
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

func (s *joseSeal) open(message []byte) ([]byte, error) {
	encrypted, err := jose.ParseEncryptedCompact(string(message), joseKeys, joseContents)
	if err != nil {
		return nil, err
	}
	key, known := keyOf(s.own, encrypted.Header)
	if !known || !encrypts(key) {
		return nil, errors.New("encrypted to an unknown key")
	}
	inner, err := encrypted.Decrypt(key)
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(string(inner), joseSignatures)
	if err != nil {
		return nil, err
	}
	key, known = keyOf(s.peers, signed.Signatures[0].Header)
	if !known || !signs(key) {
		return nil, errors.New("signed by an unknown key")
	}
	return signed.Verify(key)
}

// keyOf is the key that a header names, provided that the header uses the key's own algorithm.
func keyOf(keys []jose.JSONWebKey, header jose.Header) (jose.JSONWebKey, bool) {
	i := slices.IndexFunc(keys, func(k jose.JSONWebKey) bool {
		return k.KeyID == header.KeyID && (k.Algorithm == "" || k.Algorithm == header.Algorithm)
	})
	if i < 0 {
		return jose.JSONWebKey{}, false
	}
	return keys[i], true
}
