package seal

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Both sides rotate: during it each has two keys, and messages of either generation open.
func TestPGPKeysRotate(t *testing.T) {
	oldOurs, newOurs, oldTheirs, newTheirs := entity(t, "rsa-ours"), entity(t, "new-ours"), entity(t, "rsa-theirs"), entity(t, "new-theirs")
	us := mustNew(t, pgpConfigOf(t, asList(oldOurs, newOurs), asList(oldTheirs, newTheirs)))
	for _, signers := range [][]*openpgp.Entity{{oldTheirs}, {newTheirs}, {oldTheirs, newTheirs}} {
		for _, recipients := range [][]*openpgp.Entity{{oldOurs}, {newOurs}, {oldOurs, newOurs}} {
			message := encode(pgpMessage(t, recipients, openpgp.EncryptParams{Signers: signers}))
			if got, err := us.Open(message); err != nil || !bytes.Equal(got, document) {
				t.Errorf("%d signers, %d recipients: got %q, %v", len(signers), len(recipients), got, err)
			}
		}
	}
	message := sealed(t, us)
	for _, theirs := range []*openpgp.Entity{oldTheirs, newTheirs} {
		for _, ours := range []*openpgp.Entity{oldOurs, newOurs} {
			them := mustNew(t, pgpConfigOf(t, asList(theirs), asList(ours)))
			if got, err := them.Open(message); err != nil || !bytes.Equal(got, document) {
				t.Errorf("a peer that knows one pair: got %q, %v", got, err)
			}
		}
	}
}

// All keys of an account may stand in one entry, as one block or as several.
func TestPGPEntriesHoldSeveralKeys(t *testing.T) {
	ours, a, b := entity(t, "rsa-ours"), entity(t, "rsa-theirs"), entity(t, "new-theirs")
	oneBlock := armored(t, openpgp.PublicKeyType, func(w io.Writer) error { return errors.Join(a.Serialize(w), b.Serialize(w)) })
	for name, entry := range map[string]string{"one block": oneBlock, "two blocks": publicKey(t, a) + publicKey(t, b)} {
		cfg := pgpConfigOf(t, asList(ours), nil)
		cfg.PeerKeys = []string{entry}
		us := mustNew(t, cfg)
		for _, signer := range []*openpgp.Entity{a, b} {
			if _, err := us.Open(encode(pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(signer)}))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The protocol's algorithms are used even where the keys say that they prefer others.
func TestPGPSealUsesTheProtocolsAlgorithms(t *testing.T) {
	weak := func() *openpgp.Entity {
		e := newEntity(t, &packet.Config{Time: at(start), Algorithm: packet.PubKeyAlgoEdDSA, AEADConfig: &packet.AEADConfig{}})
		for _, id := range e.Identities {
			s := id.SelfCertifications[0].Packet
			s.PreferredHash, s.PreferredSymmetric, s.PreferredCompression = []uint8{8}, []uint8{uint8(packet.CipherAES128)}, nil
			if err := s.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, nil); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	ours, theirs := asList(weak(), weak()), asList(weak(), weak())
	message := sealed(t, mustNew(t, pgpConfigOf(t, ours, theirs)))
	if !bytes.HasSuffix(message, []byte("=")) && len(message)%4 != 0 {
		t.Error("not padded")
	}
	md, err := openpgp.ReadMessage(bytes.NewReader(decode(t, message)), openpgp.EntityList(slices.Concat(ours, theirs)), nil, &packet.Config{Time: at(noon)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(md.UnverifiedBody); err != nil || !bytes.Equal(got, document) {
		t.Fatalf("got %q, %v", got, err)
	}
	if md.DecryptedWithAlgorithm != packet.CipherAES256 || len(md.EncryptedToKeyIds) != 2 || len(md.SignatureCandidates) != 2 {
		t.Errorf("got cipher %d, %d recipients, %d signatures, want AES-256, 2, 2", md.DecryptedWithAlgorithm, len(md.EncryptedToKeyIds), len(md.SignatureCandidates))
	}
	for _, c := range md.SignatureCandidates {
		if c.HashAlgorithm != crypto.SHA384 || c.SigType != packet.SigTypeBinary || c.SignatureError != nil {
			t.Errorf("got a signature of type %d with %v, %v, want a binary one with SHA-384", c.SigType, c.HashAlgorithm, c.SignatureError)
		}
	}
	p := packet.NewReader(bytes.NewReader(decode(t, message)))
	for {
		next, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := next.(*packet.SymmetricallyEncrypted); ok {
			if data.Version != 1 || !data.IntegrityProtected {
				t.Errorf("got a container of version %d, integrity %t, want version 1 with integrity", data.Version, data.IntegrityProtected)
			}
			return
		}
	}
}

// A peer's key has ended. Who holds it can still write any date into a signature, and is refused all the same. Sealing
// goes on with the key that is left, and stops with an error when none is.
func TestPGPKeysThatEndedStopServing(t *testing.T) {
	day := uint32(24 * 60 * 60)
	ours := entity(t, "rsa-ours")
	short := newEntity(t, &packet.Config{Time: at(noon), Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: day})
	long := entity(t, "new-theirs")
	before := openpgp.EncryptParams{Signers: asList(short), Config: &packet.Config{Time: at(noon.Add(time.Hour))}}
	message := encode(pgpMessage(t, asList(ours), before))
	now := noon.Add(2 * time.Hour)
	cfg := pgpConfigOf(t, asList(ours), asList(short, long))
	cfg.Clock = func() time.Time { return now }
	us := mustNew(t, cfg)
	if _, err := us.Open(message); err != nil {
		t.Errorf("while the key is in force: %v", err)
	}
	alone := mustNew(t, Config{Mode: PGP, SigningKeys: cfg.SigningKeys, PeerKeys: cfg.PeerKeys[:1], Clock: cfg.Clock})
	now = noon.Add(25 * time.Hour)
	if _, err := us.Open(message); !errors.Is(err, ErrSignature) {
		t.Errorf("after the key's end: got %v, want %v", err, ErrSignature)
	}
	them := mustNew(t, pgpConfigOf(t, asList(long), asList(ours)))
	them.clock = cfg.Clock
	if got, err := them.Open(sealed(t, us)); err != nil || !bytes.Equal(got, document) {
		t.Errorf("to the key that is left: got %q, %v", got, err)
	}
	if _, err := alone.Seal(document); err == nil || !strings.Contains(err.Error(), "no key in force") {
		t.Errorf("to no key: got %v", err)
	}
}
