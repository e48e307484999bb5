package craftgate

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestSignatureVectors: the server hashes what it receives, so one byte more or less is a refused refund.
func TestSignatureVectors(t *testing.T) {
	v := readVector[struct {
		Cases []struct {
			Name, URL, SignedURL, APIKey, SecretKey, RndKey, ExpectedSignature string
			Body                                                               *string
		}
	}](t, "request-signature.json")
	if len(v.Cases) != 8 {
		t.Errorf("cases: got %d, want 8", len(v.Cases))
	}
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			s := signed{url: c.URL, apiKey: c.APIKey, secretKey: c.SecretKey, random: c.RndKey}
			if c.Body != nil {
				s.body = []byte(*c.Body)
			}
			if got := s.signature(); got != c.ExpectedSignature {
				t.Errorf("got %s, want %s", got, c.ExpectedSignature)
			}
			if s.url = c.SignedURL; s.signature() != c.ExpectedSignature {
				t.Errorf("decoded url: got %s, want %s", s.signature(), c.ExpectedSignature)
			}
		})
	}
}

// TestEachRequestIsSignedAnew: a random key that repeats would let a request be told from its hash.
func TestEachRequestIsSignedAnew(t *testing.T) {
	sign := newSigner("api", "secret")
	first, second := sign("https://host/a", []byte("{}")), sign("https://host/a", []byte("{}"))
	if a, b := first.Get("x-rnd-key"), second.Get("x-rnd-key"); a == b || len(a) < 20 {
		t.Errorf("random keys: got %q and %q, want two long ones", a, b)
	}
	for _, h := range []http.Header{first, second} {
		want := signed{url: "https://host/a", apiKey: "api", secretKey: "secret", random: h.Get("x-rnd-key"), body: []byte("{}")}.signature()
		if h.Get("x-signature") != want || h.Get("x-api-key") != "api" || h.Get("x-auth-version") != "v1" || h.Get("lang") != "en" ||
			!strings.Contains(h.Get("x-client-version"), ":") {
			t.Errorf("headers: got %v, want signature %s", h, want)
		}
	}
}

// TestKeysDoNotPrint: whoever logs a provider or a webhook logs no key.
func TestKeysDoNotPrint(t *testing.T) {
	p, err := New(Config{BaseURL: "https://host", APIKey: "key-api", SecretKey: "key-secret", WebhookKey: "key-hook"})
	if err != nil {
		t.Fatal(err)
	}
	h := newTestWebhook(t, &hurried{}, nil)
	for _, v := range []any{p, *p, h, *h} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "key-") {
				t.Errorf("%s of %T shows a key", format, v)
			}
		}
	}
}
