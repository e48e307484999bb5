package fop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	jose "github.com/go-jose/go-jose/v4"

	"refundworker/providers"
	"refundworker/providers/google/seal"
	"refundworker/providers/simulator"
)

// side is one side's keys as text.
type side struct{ private, public []string }

// sides are ours and theirs in each mode, made once because making RSA keys is slow.
var sides = map[seal.Mode]func() ([2]side, error){
	seal.Plain: func() ([2]side, error) { return [2]side{}, nil },
	seal.PGP:   sync.OnceValues(func() ([2]side, error) { return both(pgpSide) }),
	seal.JOSE:  sync.OnceValues(func() ([2]side, error) { return both(joseSide) }),
}

func both(make func(name string) (side, error)) (s [2]side, err error) {
	if s[0], err = make("ours"); err == nil {
		s[1], err = make("theirs")
	}
	return s, err
}

func pgpSide(name string) (side, error) {
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048})
	if err != nil {
		return side{}, err
	}
	private, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		return side{}, err
	}
	public, err := armored(openpgp.PublicKeyType, e.Serialize)
	return side{[]string{private}, []string{public}}, err
}

func armored(kind string, write func(io.Writer) error) (string, error) {
	var text bytes.Buffer
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		return "", err
	}
	if err := write(w); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return text.String(), nil
}

func joseSide(name string) (s side, err error) {
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return s, err
	}
	sealing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return s, err
	}
	for _, key := range []jose.JSONWebKey{{Key: signing, KeyID: name + "-sig", Algorithm: "ES256", Use: "sig"},
		{Key: sealing, KeyID: name + "-enc", Algorithm: "RSA-OAEP-256", Use: "enc"}} {
		private, err := key.MarshalJSON()
		if err != nil {
			return s, err
		}
		open := key.Public()
		public, err := open.MarshalJSON()
		if err != nil {
			return s, err
		}
		s.private, s.public = append(s.private, string(private)), append(s.public, string(public))
	}
	return s, nil
}

// sealed is our seal of a mode, and the same as the simulator takes it.
func sealed(t *testing.T, mode seal.Mode) (*seal.Seal, simulator.GoogleKeys) {
	t.Helper()
	s, err := sides[mode]()
	if err != nil {
		t.Fatal(err)
	}
	cfg := seal.Config{Mode: mode, PeerKeys: s[1].public}
	for _, key := range s[0].private {
		cfg.SigningKeys = append(cfg.SigningKeys, providers.Secret(key))
	}
	ours, err := seal.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ours, simulator.GoogleKeys{Account: account, Mode: simulator.GoogleMode(mode), PublicKeys: s[0].public, PrivateKeys: s[1].private}
}
