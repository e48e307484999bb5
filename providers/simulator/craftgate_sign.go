package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cgAuthVersions are the spellings in use: the pages have the first, the official clients the others.
var cgAuthVersions = []string{"V1", "v1", "1"}

// cgKeys are the merchants' keys by API key.
type cgKeys map[string]CraftgateKey

// verify returns who signed a call.
func (k cgKeys) verify(q *cgCall) (CraftgateKey, *cgRefusal) {
	key, known := k[q.Header.Get("x-api-key")]
	switch {
	case !known:
		return key, refusedAPIKey
	case !slices.Contains(cgAuthVersions, q.Header.Get("x-auth-version")):
		return key, refusedAuthVersion
	case q.Header.Get("x-rnd-key") == "":
		return key, refusedRandomKey
	case !key.signed(q):
		return key, refusedSignedWrong
	}
	return key, nil
}

// signed reports whether the signature covers the call under one of the spellings that its URL has.
func (k CraftgateKey) signed(q *cgCall) bool {
	given, err := base64.StdEncoding.DecodeString(q.Header.Get("x-signature"))
	if err != nil {
		return false
	}
	for _, spelling := range cgSpellings(calledURL(q.Request)) {
		sum := sha256.Sum256(slices.Concat([]byte(spelling), []byte(k.APIKey), []byte(k.SecretKey),
			[]byte(q.Header.Get("x-rnd-key")), q.body))
		if subtle.ConstantTimeCompare(sum[:], given) == 1 {
			return true
		}
	}
	return false
}

// calledURL is the URL as the caller wrote it, which only the request line still has.
func calledURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host + r.RequestURI
	}
	return "http://" + r.Host + r.RequestURI
}

// cgSpellings are the forms of a URL that callers hash: the pages ask for the raw form, one official client
// restores the colons in it, and the others decode it, some of them with the plus signs.
func cgSpellings(raw string) []string {
	spellings := []string{raw, strings.ReplaceAll(raw, "%3A", ":")}
	for _, decode := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
		if decoded, err := decode(raw); err == nil {
			spellings = append(spellings, decoded)
		}
	}
	return spellings
}
