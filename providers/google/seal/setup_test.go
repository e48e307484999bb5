package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
)

// start is when the keys of the tests are made; the clock of the tests stands at noon.
var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	noon  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

const secret = `{"refundRequestId":"rfd-2c81:A1","amount":"12500000"}`

var document = []byte(secret)

// entity makes a key, once for each name: making RSA keys is slow. Names that begin with "rsa" are RSA.
func entity(t testing.TB, name string) *openpgp.Entity {
	t.Helper()
	entities.Lock()
	defer entities.Unlock()
	if e, ok := entities.made[name]; ok {
		return e
	}
	cfg := &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA}
	if strings.HasPrefix(name, "rsa") {
		cfg.Algorithm, cfg.RSABits = packet.PubKeyAlgoRSA, 2048
	}
	e := newEntity(t, cfg)
	entities.made[name] = e
	return e
}

var entities = struct {
	sync.Mutex
	made map[string]*openpgp.Entity
}{made: map[string]*openpgp.Entity{}}

func newEntity(t testing.TB, cfg *packet.Config) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", "test@example.com", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func armored(t testing.TB, kind string, write func(io.Writer) error) string {
	t.Helper()
	var text bytes.Buffer
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String() + "\n"
}

func private(t testing.TB, e *openpgp.Entity) providers.Secret {
	t.Helper()
	return providers.Secret(armored(t, openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) }))
}

func publicKey(t testing.TB, e *openpgp.Entity) string {
	t.Helper()
	return armored(t, openpgp.PublicKeyType, e.Serialize)
}

// pgpConfigOf are the settings of whoever holds ours and knows theirs.
func pgpConfigOf(t testing.TB, ours, theirs []*openpgp.Entity) Config {
	t.Helper()
	c := Config{Mode: PGP, Clock: at(noon)}
	for _, e := range ours {
		c.SigningKeys = append(c.SigningKeys, private(t, e))
	}
	for _, e := range theirs {
		c.PeerKeys = append(c.PeerKeys, publicKey(t, e))
	}
	return c
}

func mustNew(t testing.TB, c Config) *Seal {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jwk makes a private key for an algorithm, once for each name.
func jwk(t testing.TB, name, algorithm string) jose.JSONWebKey {
	t.Helper()
	jwks.Lock()
	defer jwks.Unlock()
	if k, ok := jwks.made[name+algorithm]; ok {
		return k
	}
	k := jose.JSONWebKey{KeyID: name, Algorithm: algorithm}
	var err error
	if strings.HasPrefix(algorithm, "ES") {
		k.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		k.Key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	jwks.made[name+algorithm] = k
	return k
}

func publicJWK(t testing.TB, name, algorithm string) jose.JSONWebKey {
	t.Helper()
	k := jwk(t, name, algorithm)
	return k.Public()
}

var jwks = struct {
	sync.Mutex
	made map[string]jose.JSONWebKey
}{made: map[string]jose.JSONWebKey{}}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// joseConfigOf are the settings of whoever holds ours and knows theirs.
func joseConfigOf(t testing.TB, ours, theirs []jose.JSONWebKey) Config {
	t.Helper()
	c := Config{Mode: JOSE, Clock: at(noon)}
	for _, k := range ours {
		c.SigningKeys = append(c.SigningKeys, providers.Secret(asJSON(t, k)))
	}
	var set jose.JSONWebKeySet
	for _, k := range theirs {
		set.Keys = append(set.Keys, k.Public())
	}
	c.PeerKeys = []string{asJSON(t, set)}
	return c
}

// joseKeys are a party's key for signatures and its key for encryption.
func joseKeys(t testing.TB, name string) []jose.JSONWebKey {
	t.Helper()
	return []jose.JSONWebKey{jwk(t, name+"-sig", "PS256"), jwk(t, name+"-enc", "RSA-OAEP-256")}
}

// pair is both ends of one account.
func pair(t testing.TB, mode Mode) (us, them *Seal) {
	t.Helper()
	switch mode {
	case PGP:
		ours, theirs := []*openpgp.Entity{entity(t, "rsa-ours")}, []*openpgp.Entity{entity(t, "rsa-theirs")}
		return mustNew(t, pgpConfigOf(t, ours, theirs)), mustNew(t, pgpConfigOf(t, theirs, ours))
	case JOSE:
		ours, theirs := joseKeys(t, "ours"), joseKeys(t, "theirs")
		return mustNew(t, joseConfigOf(t, ours, theirs)), mustNew(t, joseConfigOf(t, theirs, ours))
	}
	return mustNew(t, Config{Mode: Plain}), mustNew(t, Config{Mode: Plain})
}

func sealed(t testing.TB, s *Seal) []byte {
	t.Helper()
	message, err := s.Seal(document)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func encode(binary []byte) []byte { return base64.URLEncoding.AppendEncode(nil, binary) }

func decode(t testing.TB, message []byte) []byte {
	t.Helper()
	binary, err := base64.URLEncoding.AppendDecode(nil, message)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
