package seal

import (
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
)

// expiringConfig has one key on each side: ours ends in 30 days, although its subkey could go on, theirs in 7.
func expiringConfig(t *testing.T) Config {
	t.Helper()
	life := func(days int) uint32 { return uint32(noon.AddDate(0, 0, days).Sub(start) / time.Second) }
	ending := func(days int) *openpgp.Entity {
		return newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: life(days)})
	}
	ours := ending(60)
	for _, id := range ours.Identities {
		sooner := life(30)
		s := id.SelfCertifications[0].Packet
		s.KeyLifetimeSecs = &sooner
		if err := s.SignUserId(id.Name, ours.PrimaryKey, ours.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
	}
	later := life(60)
	ours.Subkeys[0].Bindings[0].Packet.KeyLifetimeSecs = &later
	if err := ours.Subkeys[0].ReSign(&packet.Config{Time: at(start)}); err != nil {
		t.Fatal(err)
	}
	return pgpConfigOf(t, asList(ours), asList(ending(7)))
}

// settingsCase is settings and the problems that they have.
type settingsCase struct {
	name string
	cfg  Config
	want []string
}

func with(c Config, change func(*Config)) Config {
	change(&c)
	return c
}

func pgpSettings(t *testing.T) []settingsCase {
	ours, theirs := entity(t, "rsa-ours"), entity(t, "rsa-theirs")
	good := pgpConfigOf(t, asList(ours), asList(theirs))
	peer := func(text string) Config { return with(good, func(c *Config) { c.PeerKeys = []string{text} }) }
	own := func(text providers.Secret) Config {
		return with(good, func(c *Config) { c.SigningKeys = []providers.Secret{text} })
	}
	return []settingsCase{
		{"plain", Config{Mode: Plain}, nil},
		{"pgp", good, nil},
		{"no mode", Config{}, []string{"mode: none of plain, pgp and jose"}},
		{"plain with keys", with(good, func(c *Config) { c.Mode = Plain }), []string{"plain takes no keys"}},
		{"pgp without keys", Config{Mode: PGP}, []string{"signingKeys: none", "peerKeys: none"}},
		{"several problems", Config{Mode: PGP, SigningKeys: []providers.Secret{"x", private(t, ours)}, PeerKeys: []string{publicKey(t, theirs), "y"}},
			[]string{"signingKeys[0]: not an armored", "peerKeys[1]: not an armored"}},
		{"damaged block", peer(strings.Replace(publicKey(t, theirs), "\n\n", "\n\nAAAA", 1)), []string{"peerKeys[0]: not"}},
		{"a message instead of a key", peer(strings.ReplaceAll(publicKey(t, theirs), "PUBLIC KEY BLOCK", "MESSAGE")), []string{"not an armored OpenPGP key"}},
		{"private peer key", peer(string(private(t, theirs).Reveal())), []string{"this is a private one"}},
		{"public signing key", own(providers.Secret(publicKey(t, ours))), []string{"this is a public one"}},
		{"given twice", with(good, func(c *Config) { c.PeerKeys = append(c.PeerKeys, c.PeerKeys...) }), []string{"given twice"}},
		{"short RSA", peer(publicKey(t, newEntity(t, &packet.Config{Time: at(start), RSABits: 1024, MinRSABits: 1024}))), []string{"2048 bits"}},
		{"expired", with(good, func(c *Config) {
			c.PeerKeys = []string{publicKey(t, newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 60}))}
		}), []string{"expired"}},
		{"not yet made", with(good, func(c *Config) { c.Clock = at(start.Add(-time.Hour)) }), []string{"signingKeys: key", "peerKeys: key"}},
		{"revoked", peer(publicKey(t, revoked(t))), []string{"revoked"}},
		{"no encryption subkey", peer(publicKey(t, withoutSubkeys(t))), []string{"no valid key to encrypt to"}},
		{"locked", own(private(t, locked(t))), []string{"locked with a passphrase"}},
	}
}

func joseSettings(t *testing.T) []settingsCase {
	good := joseConfigOf(t, joseKeys(t, "ours"), joseKeys(t, "theirs"))
	peerJWK := func(k jose.JSONWebKey) Config {
		return with(good, func(c *Config) { c.PeerKeys = append([]string{asJSON(t, k)}, c.PeerKeys...) })
	}
	rawPeer := func(text string) Config {
		return with(good, func(c *Config) { c.PeerKeys = append([]string{text}, c.PeerKeys...) })
	}
	public := publicJWK(t, "x", "RS256").Key
	return []settingsCase{
		{"jose", good, nil},
		{"jose without keys", Config{Mode: JOSE}, []string{"signingKeys: no key for signatures", "signingKeys: no key for encryption", "peerKeys: no key for signatures"}},
		{"unknown algorithms", with(good, func(c *Config) { c.Algorithms = []string{"none", "HS256", "dir", "PBES2-HS256+A128KW"} }),
			[]string{`"none" is not supported`, `"HS256" is not supported`, `"dir" is not supported`, "PBES2", "one for keys"}},
		{"not JSON", rawPeer("{"), []string{"peerKeys[0]: not a JWK"}},
		{"symmetric", rawPeer(`{"kty":"oct","kid":"s","alg":"RS256","k":"c2VjcmV0"}`), []string{`key "s"`, "neither an RSA nor"}},
		{"no kid", peerJWK(jose.JSONWebKey{Key: public, Algorithm: "RS256"}), []string{"kid is missing"}},
		{"no alg", peerJWK(jose.JSONWebKey{Key: public, KeyID: "x"}), []string{"alg is missing"}},
		{"alg not allowed", peerJWK(jose.JSONWebKey{Key: public, KeyID: "x", Algorithm: "RSA1_5"}), []string{"alg is not allowed"}},
		{"wrong use", peerJWK(jose.JSONWebKey{Key: public, KeyID: "x", Algorithm: "RS256", Use: "enc"}), []string{"use does not fit alg"}},
		{"wrong type", peerJWK(jose.JSONWebKey{Key: public, KeyID: "x", Algorithm: "ES256"}), []string{"elliptic curve"}},
		{"wrong curve", with(peerJWK(jose.JSONWebKey{Key: publicJWK(t, "x", "ES256").Key, KeyID: "x", Algorithm: "ES384"}),
			func(c *Config) { c.Algorithms = append([]string{"ES384"}, defaultAlgorithms...) }), []string{"does not fit the key's curve"}},
		{"private peer JWK", peerJWK(jwk(t, "x", "RS256")), []string{"this is a private one"}},
		{"public signing JWK", with(good, func(c *Config) {
			c.SigningKeys = append(c.SigningKeys, providers.Secret(asJSON(t, publicJWK(t, "x", "RS256"))))
		}), []string{"this is a public one"}},
		{"JWK given twice", with(good, func(c *Config) { c.PeerKeys = append(c.PeerKeys, c.PeerKeys...) }), []string{"given twice"}},
		{"short JWK", peerJWK(shortJWK(t)), []string{"2048 bits"}},
		{"expired JWK", rawPeer(strings.Replace(asJSON(t, publicJWK(t, "x", "RS256")), "{", `{"exp":1000000000,`, 1)), []string{"expired"}},
	}
}

// Settings are judged before the first message, all problems at once, and nothing of a key is in the text.
func TestSettingsAreJudged(t *testing.T) {
	for _, tt := range slices.Concat(pgpSettings(t), joseSettings(t)) {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Validate()
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got no problem, want %q", tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to have %q", err, want)
				}
			}
			for _, material := range []string{"-----", "PRIVATE", `"d":`, `"n":`, "c2VjcmV0"} {
				if strings.Contains(err.Error(), material) {
					t.Errorf("the text has key material: %q", err)
				}
			}
			if _, newErr := New(tt.cfg); newErr == nil {
				t.Error("New takes the settings")
			}
		})
	}
}

func revoked(t *testing.T) *openpgp.Entity {
	t.Helper()
	e := newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA})
	if err := e.Revoke(packet.KeyCompromised, "", &packet.Config{Time: at(start)}); err != nil {
		t.Fatal(err)
	}
	return e
}

func withoutSubkeys(t *testing.T) *openpgp.Entity {
	t.Helper()
	e := newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA})
	e.Subkeys = nil
	return e
}

func locked(t *testing.T) *openpgp.Entity {
	t.Helper()
	e := newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA})
	if err := e.EncryptPrivateKeys([]byte("passphrase"), nil); err != nil {
		t.Fatal(err)
	}
	return e
}

func shortJWK(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k.Public(), KeyID: "short", Algorithm: "RS256"}
}
