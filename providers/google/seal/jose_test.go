package seal

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
)

func signed(t testing.TB, k jose.JSONWebKey, payload []byte) []byte {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text)
}

// jwe is how an outer level is made.
type jwe struct {
	to    jose.JSONWebKey
	enc   jose.ContentEncryption
	inner []byte
	zip   bool
}

func encrypted(t testing.TB, j jwe) []byte {
	t.Helper()
	if j.enc == "" {
		j.enc = jose.A128CBC_HS256
	}
	opts := &jose.EncrypterOptions{}
	if j.zip {
		opts.Compression = jose.DEFLATE
	}
	e, err := jose.NewEncrypter(j.enc, jose.Recipient{Algorithm: jose.KeyAlgorithm(j.to.Algorithm), Key: j.to.Public()}, opts)
	if err != nil {
		t.Fatal(err)
	}
	object, err := e.Encrypt(j.inner)
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text)
}

// unsignedJWS claims that nothing needs to be verified.
func unsignedJWS(kid string) []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	return []byte(b64([]byte(`{"alg":"none","kid":"`+kid+`"}`)) + "." + b64(document) + ".")
}

// We hold ours and know theirs. Everything else is refused with the error that says why; the first rows show that the
// same way of making messages leads to ones that open.
func TestJOSEMessagesAreJudged(t *testing.T) {
	ours, theirs := joseKeys(t, "ours"), joseKeys(t, "theirs")
	us := mustNew(t, joseConfigOf(t, ours, theirs))
	enc, sig := ours[1], theirs[0]
	impostor := jwk(t, "impostor", "PS256")
	impostor.KeyID = sig.KeyID
	weaker := sig
	weaker.Algorithm = "RS256"
	oaep, rsa15 := enc, enc
	oaep.Algorithm, rsa15.Algorithm = "RSA-OAEP", "RSA1_5"
	symmetric := jose.JSONWebKey{Key: []byte(strings.Repeat("k", 64)), KeyID: sig.KeyID, Algorithm: "HS256"}
	nameless := sig
	nameless.KeyID = ""
	inner := signed(t, sig, document)
	tests := []struct {
		name    string
		message []byte
		want    error
	}{
		{"signed by the peer", encrypted(t, jwe{to: enc, inner: inner}), nil},
		{"A256GCM", encrypted(t, jwe{to: enc, enc: jose.A256GCM, inner: inner}), nil},
		{"compressed", encrypted(t, jwe{to: enc, inner: inner, zip: true}), nil},
		{"unsigned", encrypted(t, jwe{to: enc, inner: document}), ErrSignature},
		{"alg none", encrypted(t, jwe{to: enc, inner: unsignedJWS(sig.KeyID)}), ErrSignature},
		{"symmetric signature", encrypted(t, jwe{to: enc, inner: signed(t, symmetric, document)}), ErrSignature},
		{"unknown signer", encrypted(t, jwe{to: enc, inner: signed(t, jwk(t, "impostor", "PS256"), document)}), ErrSignature},
		{"unknown signer under the peer's kid", encrypted(t, jwe{to: enc, inner: signed(t, impostor, document)}), ErrSignature},
		{"another algorithm than the key's", encrypted(t, jwe{to: enc, inner: signed(t, weaker, document)}), ErrSignature},
		{"no kid", encrypted(t, jwe{to: enc, inner: signed(t, nameless, document)}), ErrSignature},
		{"signed by ourselves", encrypted(t, jwe{to: enc, inner: signed(t, ours[0], document)}), ErrSignature},
		{"signature cut off", encrypted(t, jwe{to: enc, inner: inner[:bytes.LastIndexByte(inner, '.')+1]}), ErrSignature},
		{"a line break inside", encrypted(t, jwe{to: enc, inner: append(inner, '\n')}), ErrSignature},
		{"encrypted to somebody else", encrypted(t, jwe{to: theirs[1], inner: inner}), ErrEncryption},
		{"RSA-OAEP, not allowed", encrypted(t, jwe{to: oaep, inner: inner}), ErrFormat},
		{"RSA1_5, not allowed", encrypted(t, jwe{to: rsa15, inner: inner}), ErrFormat},
		{"A128GCM, not allowed", encrypted(t, jwe{to: enc, enc: jose.A128GCM, inner: inner}), ErrFormat},
		{"signed, not encrypted", inner, ErrFormat},
		{"a line break at the end", append(encrypted(t, jwe{to: enc, inner: inner}), '\n'), ErrFormat},
		{"JSON form", jsonForm(t, enc, inner), ErrFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := us.Open(tt.message)
			if tt.want == nil && (err != nil || !bytes.Equal(got, document)) {
				t.Errorf("got %q, %v, want the document", got, err)
			}
			if tt.want != nil && (!errors.Is(err, tt.want) || got != nil) {
				t.Errorf("got %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func jsonForm(t *testing.T, to jose.JSONWebKey, inner []byte) []byte {
	t.Helper()
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.KeyAlgorithm(to.Algorithm), Key: to.Public()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := e.Encrypt(inner)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(object.FullSerialize())
}

// One level is opened and no more: what was sealed twice comes out sealed once.
func TestJOSEOpensOneLevel(t *testing.T) {
	us, them := pair(t, JOSE)
	once := sealed(t, us)
	twice, err := us.Seal(once)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := them.Open(twice); err != nil || !bytes.Equal(got, once) {
		t.Errorf("got %d bytes, %v, want the inner message of %d bytes", len(got), err, len(once))
	}
}

// A weak or unusual algorithm works once the settings name it, for a key that names it too, both ways.
func TestJOSEAlgorithmsAreAllowedBySettings(t *testing.T) {
	for _, names := range [][]string{{"RSA1_5", "A128CBC-HS256", "RS256"}, {"RSA-OAEP", "A256CBC-HS512", "PS384"}, {"RSA-OAEP-256", "A128GCM", "ES256"}} {
		ours := []jose.JSONWebKey{jwk(t, "our-sig", names[2]), jwk(t, "our-enc", names[0])}
		theirs := []jose.JSONWebKey{jwk(t, "their-sig", names[2]), jwk(t, "their-enc", names[0])}
		one, other := joseConfigOf(t, ours, theirs), joseConfigOf(t, theirs, ours)
		one.Algorithms, other.Algorithms = names, names
		if got, err := mustNew(t, other).Open(sealed(t, mustNew(t, one))); err != nil || !bytes.Equal(got, document) {
			t.Errorf("%v: got %q, %v", names, got, err)
		}
	}
}

// During a rotation messages of both generations open, and we speak with the first key of the list that is in force.
func TestJOSEKeysRotate(t *testing.T) {
	ours := append(joseKeys(t, "ours"), joseKeys(t, "new-ours")...)
	theirs := append(joseKeys(t, "theirs"), joseKeys(t, "new-theirs")...)
	us := mustNew(t, joseConfigOf(t, ours, theirs))
	for _, sig := range []jose.JSONWebKey{theirs[0], theirs[2]} {
		for _, enc := range []jose.JSONWebKey{ours[1], ours[3]} {
			message := encrypted(t, jwe{to: enc, inner: signed(t, sig, document)})
			if got, err := us.Open(message); err != nil || !bytes.Equal(got, document) {
				t.Errorf("%s to %s: got %q, %v", sig.KeyID, enc.KeyID, got, err)
			}
		}
	}
	them := mustNew(t, joseConfigOf(t, theirs[:2], ours[:2]))
	if got, err := them.Open(sealed(t, us)); err != nil || !bytes.Equal(got, document) {
		t.Errorf("with the first keys: got %q, %v", got, err)
	}
}

// A JWK may say when it ends. Then it verifies and seals no more, and the next one of the list serves.
func TestJOSEKeysThatEndedStopServing(t *testing.T) {
	ending := func(k jose.JSONWebKey) string {
		return strings.Replace(asJSON(t, k), "{", `{"exp":1780401600,`, 1) // noon and a day
	}
	ours, theirs := joseKeys(t, "ours"), joseKeys(t, "theirs")
	newTheirs := joseKeys(t, "new-theirs")
	now := noon
	cfg := joseConfigOf(t, ours, newTheirs)
	cfg.PeerKeys = append([]string{ending(theirs[0].Public()), ending(theirs[1].Public())}, cfg.PeerKeys...)
	cfg.SigningKeys[1] = providers.Secret(ending(ours[1]))
	cfg.Clock = func() time.Time { return now }
	us := mustNew(t, cfg)
	message := encrypted(t, jwe{to: ours[1], inner: signed(t, theirs[0], document)})
	if _, err := us.Open(message); err != nil {
		t.Errorf("while the key is in force: %v", err)
	}
	if got := us.Expiries(); len(got) != 3 || got[0].Use != UseDecrypt && got[0].Use != UseVerify {
		t.Errorf("got %v, want the ends of three keys", got)
	}
	now = noon.Add(25 * time.Hour)
	if _, err := us.Open(message); !errors.Is(err, ErrSignature) {
		t.Errorf("after the key's end: got %v, want %v", err, ErrSignature)
	}
	them := mustNew(t, joseConfigOf(t, newTheirs, ours))
	if got, err := them.Open(sealed(t, us)); err != nil || !bytes.Equal(got, document) {
		t.Errorf("to the next key: got %q, %v", got, err)
	}
	if _, err := us.Open(encrypted(t, jwe{to: ours[1], inner: signed(t, newTheirs[0], document)})); err != nil {
		t.Errorf("to our ended key: %v", err)
	}
}

// What goes out names its algorithms and keys as the settings say.
func TestJOSESealNamesKeysAndAlgorithms(t *testing.T) {
	us, _ := pair(t, JOSE)
	object, err := jose.ParseEncryptedCompact(string(sealed(t, us)), []jose.KeyAlgorithm{jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		t.Fatal(err)
	}
	theirs := joseKeys(t, "theirs")
	inner, err := object.Decrypt(theirs[1].Key.(*rsa.PrivateKey))
	if err != nil || object.Header.KeyID != theirs[1].KeyID {
		t.Fatalf("got kid %q, %v, want %q", object.Header.KeyID, err, theirs[1].KeyID)
	}
	s, err := jose.ParseSignedCompact(string(inner), []jose.SignatureAlgorithm{jose.PS256})
	if err != nil || s.Signatures[0].Header.KeyID != "ours-sig" {
		t.Errorf("got %v, %v, want a signature by ours-sig", s, err)
	}
}
