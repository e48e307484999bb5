package craftgate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"

	"refundworker/providers"
)

const (
	authVersion   = "v1"
	clientVersion = "refundworker:1"
)

// signer makes the headers of one request. The keys live in its closure alone: fmt does not ask a secret inside a
// private field how it wants to be printed.
type signer func(url string, body []byte) http.Header

func newSigner(apiKey, secretKey providers.Secret) signer {
	return func(url string, body []byte) http.Header {
		s := signed{url: url, apiKey: apiKey.Reveal(), secretKey: secretKey.Reveal(), random: rand.Text(), body: body}
		h := http.Header{}
		for name, value := range map[string]string{
			"Accept":           "application/json",
			"x-api-key":        s.apiKey,
			"x-rnd-key":        s.random,
			"x-auth-version":   authVersion,
			"x-client-version": clientVersion,
			"x-signature":      s.signature(),
			// Error texts default to Turkish.
			"lang": "en",
		} {
			h.Set(name, value)
		}
		return h
	}
}

// signed is what a request's signature covers.
type signed struct {
	url, apiKey, secretKey, random string
	body                           []byte
}

// signature hashes the decoded url, as five of the six official clients do. Every url that this package builds reads the
// same in both forms.
func (s signed) signature() string {
	address, err := url.PathUnescape(s.url)
	if err != nil {
		address = s.url
	}
	sum := sha256.Sum256(append([]byte(address+s.apiKey+s.secretKey+s.random), s.body...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// eventSignature is what Craftgate signs a webhook with. It covers neither the payload nor eventTime.
func eventSignature(key providers.Secret, e event) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(string(e.Type) + string(e.Timestamp) + string(e.Status) + string(e.PayloadID)))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
