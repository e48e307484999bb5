package drills

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/go-jose/go-jose/v4"
)

// keyPair is a key in the two forms in which it is given to programs.
type keyPair struct{ private, public string }

// keyRing is all keys of an account: those of the worker's side and those of the integrator's.
type keyRing struct {
	mode               string
	worker, integrator []keyPair
}

// pgpKeys are two keys for each side, as there are while keys are changed: one of the length that the protocol asks for
// and one on a curve.
func pgpKeys(t *testing.T) keyRing {
	t.Helper()
	rsaKey := &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}
	curve := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	return keyRing{mode: "pgp", worker: []keyPair{pgpKey(t, rsaKey), pgpKey(t, curve)},
		integrator: []keyPair{pgpKey(t, curve), pgpKey(t, rsaKey)}}
}

func pgpKey(t *testing.T, cfg *packet.Config) keyPair {
	t.Helper()
	e, err := openpgp.NewEntity("Drill", "", "drill@example.com", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{
		private: armored(t, openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) }),
		public:  armored(t, openpgp.PublicKeyType, e.Serialize)}
}

func armored(t *testing.T, kind string, write func(io.Writer) error) string {
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
	return text.String()
}

// joseKeys are, for each side, a key to sign with and one to encrypt to.
func joseKeys(t *testing.T) keyRing {
	t.Helper()
	return keyRing{mode: "jose",
		worker:     []keyPair{signingJWK(t, "worker-sign"), encryptingJWK(t, "worker-open")},
		integrator: []keyPair{signingJWK(t, "integrator-sign"), encryptingJWK(t, "integrator-open")}}
}

func signingJWK(t *testing.T, kid string) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jwkPair(t, jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.ES256), Use: "sig"})
}

func encryptingJWK(t *testing.T, kid string) keyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jwkPair(t, jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.RSA_OAEP_256), Use: "enc"})
}

func jwkPair(t *testing.T, key jose.JSONWebKey) keyPair {
	t.Helper()
	private, err := key.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	shared, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{private: string(private), public: string(shared)}
}

// settings are the keys as the worker is told them, in files of the drill's directory.
func (k keyRing) settings(d *drill) document {
	d.t.Helper()
	out := document{"mode": k.mode}
	if k.mode == "plain" {
		return out
	}
	var own, peers []string
	for i, key := range k.worker {
		own = append(own, d.secretFile(fmt.Sprintf("worker-%d.key", i), key.private))
	}
	for i, key := range k.integrator {
		peers = append(peers, d.secretFile(fmt.Sprintf("integrator-%d.pub", i), key.public))
	}
	out["signingKeys"], out["peerKeys"] = own, peers
	return out
}

func (d *drill) secretFile(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return "file:" + path
}

// control are the keys as the simulator is told them.
func (k keyRing) control(account string) document {
	out := document{"account": account, "mode": k.mode}
	if k.mode == "plain" {
		return out
	}
	var public, private []string
	for _, key := range k.worker {
		public = append(public, key.public)
	}
	for _, key := range k.integrator {
		private = append(private, key.private)
	}
	out["publicKeys"], out["privateKeys"] = public, private
	return out
}

// only is the ring of an integrator that has and knows but one key of each side, the i-th.
func (k keyRing) only(i int) keyRing {
	return keyRing{mode: k.mode, worker: k.worker[i : i+1], integrator: k.integrator[i : i+1]}
}
