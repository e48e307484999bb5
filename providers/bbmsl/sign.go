package bbmsl

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"

	"refundworker/providers"
)

const minKeyBits = 2048

// parseKey reads an RSA private key. Its errors say what is wrong and never quote the text.
func parseKey(text providers.Secret) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, errors.New("not a PEM text")
	}
	key, err := rsaKey(block)
	if err != nil {
		return nil, err
	}
	if key.N.BitLen() < minKeyBits {
		return nil, errors.New("an RSA key of 2048 bits or more is needed")
	}
	return key, nil
}

func rsaKey(block *pem.Block) (*rsa.PrivateKey, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		return nil, errors.New("not a readable PKCS#1 key (encrypted keys are not supported)")
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("not a readable PKCS#8 key")
		}
		if key, ok := parsed.(*rsa.PrivateKey); ok {
			return key, nil
		}
		return nil, errors.New("not an RSA key")
	}
	return nil, errors.New("not an unencrypted RSA private key in PKCS#1 or PKCS#8")
}

// sign returns the Base64 signature of exactly these bytes. PKCS#1 v1.5 is deterministic: the same request
// always has the same signature.
func sign(key *rsa.PrivateKey, request []byte) (string, error) {
	sum := sha256.Sum256(request)
	raw, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}
