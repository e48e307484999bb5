package simulator_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	pgp "github.com/ProtonMail/gopenpgp/v3/crypto"
	"github.com/go-jose/go-jose/v4"

	"refundworker/providers/simulator"
)

// peer is a caller that seals what it sends and opens what it gets.
type peer struct {
	contentType string
	seal        func(document []byte) []byte
	open        func(message []byte) ([]byte, error)
}

// pgpKeys are two keys of the caller, two of the integrator, and one of a stranger.
type pgpKeys struct {
	caller, integrator [2]*pgp.Key
	stranger           *pgp.Key
}

var pgpTestKeys = sync.OnceValue(func() pgpKeys {
	return pgpKeys{caller: [2]*pgp.Key{newPGPKey(), newPGPKey()}, integrator: [2]*pgp.Key{newPGPKey(), newPGPKey()},
		stranger: newPGPKey()}
})

func newPGPKey() *pgp.Key {
	return must(pgp.PGP().KeyGeneration().AddUserId("test", "test@example.com").New().GenerateKey())
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// publicOf and privateOf are armored keys as control takes them.
func publicOf(keys ...*pgp.Key) (armored []string) {
	for _, key := range keys {
		armored = append(armored, must(key.GetArmoredPublicKey()))
	}
	return armored
}

func privateOf(keys ...*pgp.Key) (armored []string) {
	for _, key := range keys {
		armored = append(armored, must(key.Armor()))
	}
	return armored
}

// pgpRing is a new ring of copies for each use: the library writes into keys and rings also where it only reads.
func pgpRing(public bool, keys ...*pgp.Key) *pgp.KeyRing {
	ring := must(pgp.NewKeyRing(nil))
	for _, key := range keys {
		key = must(key.Copy())
		if public {
			key = must(key.ToPublic())
		}
		if err := ring.AddKey(key); err != nil {
			panic(err)
		}
	}
	return ring
}

// pgpMessage is a document signed by some and encrypted to others, in padded URL-safe Base64.
func pgpMessage(document []byte, to, by []*pgp.Key) []byte {
	builder := pgp.PGP().Encryption().Recipients(pgpRing(true, to...))
	if len(by) > 0 {
		builder = builder.SigningKeys(pgpRing(false, by...))
	}
	message := must(must(builder.New()).Encrypt(document))
	return []byte(base64.URLEncoding.EncodeToString(message.Bytes()))
}

// pgpOpen opens a message with one key and wants the integrator's signatures.
func pgpOpen(message []byte, key *pgp.Key, signers ...*pgp.Key) ([]byte, error) {
	binary, err := base64.URLEncoding.DecodeString(string(message))
	if err != nil {
		return nil, err
	}
	opened, err := must(pgp.PGP().Decryption().DecryptionKeys(pgpRing(false, key)).
		VerificationKeys(pgpRing(true, signers...)).New()).Decrypt(binary, pgp.Bytes)
	if err != nil {
		return nil, err
	}
	return opened.Bytes(), opened.SignatureError()
}

// joseKeys are the same for JOSE; each party has one key for both uses.
type joseTestKeys struct{ caller, next, integrator, stranger jose.JSONWebKey }

var joseKeys = sync.OnceValue(func() joseTestKeys {
	return joseTestKeys{newJWK("caller"), newJWK("next"), newJWK("integrator"), newJWK("stranger")}
})

func newJWK(kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 2048)), KeyID: kid}
}

func jwk(keys ...jose.JSONWebKey) (texts []string) {
	for _, key := range keys {
		texts = append(texts, string(must(json.Marshal(key))))
	}
	return texts
}

func joseMessage(document []byte, to, by jose.JSONWebKey) []byte {
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: by}, nil))
	inner := must(must(signer.Sign(document)).CompactSerialize())
	return joseEncrypted([]byte(inner), jose.RSA_OAEP_256, to.Public())
}

func joseEncrypted(inner []byte, algorithm jose.KeyAlgorithm, to jose.JSONWebKey) []byte {
	encrypter := must(jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: algorithm, Key: to}, nil))
	return []byte(must(must(encrypter.Encrypt(inner)).CompactSerialize()))
}

func joseOpen(message []byte, key, signer jose.JSONWebKey) ([]byte, error) {
	encrypted, err := jose.ParseEncryptedCompact(string(message), []jose.KeyAlgorithm{jose.RSA_OAEP_256}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, err
	}
	inner, err := encrypted.Decrypt(key)
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(string(inner), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	if kid := signed.Signatures[0].Header.KeyID; kid != signer.KeyID {
		return nil, errors.New("signed by " + kid)
	}
	return signed.Verify(signer.Public())
}

// sealedWorld knows one account for each API, both with the same keys, and returns the caller that fits them.
func sealedWorld(t *testing.T, mode simulator.GoogleMode) (*googleWorld, peer) {
	t.Helper()
	w := startGoogle(t)
	t.Cleanup(w.sim.Close)
	keys, caller := simulator.GoogleKeys{Mode: mode}, peer{}
	switch mode {
	case simulator.GooglePlain:
		caller = peer{"application/json; charset=utf-8", func(d []byte) []byte { return d },
			func(m []byte) ([]byte, error) { return m, nil }}
	case simulator.GooglePGP:
		k := pgpTestKeys()
		keys.PublicKeys, keys.PrivateKeys = publicOf(k.caller[:]...), privateOf(k.integrator[:]...)
		caller = peer{"application/octet-stream; charset=utf-8",
			func(d []byte) []byte { return pgpMessage(d, k.integrator[:], k.caller[:1]) },
			func(m []byte) ([]byte, error) { return pgpOpen(m, k.caller[0], k.integrator[:]...) }}
	case simulator.GoogleJOSE:
		k := joseKeys()
		keys.PublicKeys, keys.PrivateKeys = jwk(k.caller.Public(), k.next.Public()), jwk(k.integrator)
		caller = peer{"application/jose; charset=utf-8",
			func(d []byte) []byte { return joseMessage(d, k.integrator, k.caller) },
			func(m []byte) ([]byte, error) { return joseOpen(m, k.caller, k.integrator) }}
	}
	list := []simulator.GoogleKeys{keys, keys}
	list[0].Account, list[1].Account = euroAccount, cardAccount
	w.must(w.sim.Google.SetKeys(list))
	w.must(w.sim.Google.SetPayments(vectorPayments))
	return w, caller
}

// ask sends a sealed document and opens the answer.
func (w *googleWorld) ask(caller peer, path string, document []byte) googleAnswer {
	w.Helper()
	response, err := w.server.Client().Post(w.server.URL+"/google"+path, caller.contentType, strings.NewReader(string(caller.seal(document))))
	w.must(err)
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != caller.contentType {
		w.Errorf("answer is %q, want %q", got, caller.contentType)
	}
	a := googleAnswer{status: response.StatusCode}
	sealed, err := io.ReadAll(response.Body)
	w.must(err)
	a.body, err = caller.open(sealed)
	w.must(err)
	w.must(json.Unmarshal(a.body, &a.document))
	return a
}

// marshalKeys writes a list of keys as control takes it.
func marshalKeys(list []simulator.GoogleKeys) (string, error) {
	var documents []map[string]any
	for _, k := range list {
		document := map[string]any{"account": k.Account, "mode": k.Mode}
		if k.PublicKeys != nil {
			document["publicKeys"] = k.PublicKeys
		}
		if k.PrivateKeys != nil {
			document["privateKeys"] = k.PrivateKeys
		}
		documents = append(documents, document)
	}
	text, err := json.Marshal(documents)
	return string(text), err
}
