package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const minRSABits = 2048

// ring is a copy of all keys of an account.
type ring struct{ ours, theirs openpgp.EntityList }

// readRing reads and judges the keys.
func readRing(c Config) (*ring, error) {
	r, err := parseRing(c)
	problems := []error{err}
	now := c.Clock()
	if len(c.SigningKeys) == 0 {
		problems = append(problems, errors.New("signingKeys: none"))
	}
	if len(c.PeerKeys) == 0 {
		problems = append(problems, errors.New("peerKeys: none"))
	}
	problems = append(problems, twice("signingKeys", r.ours), twice("peerKeys", r.theirs))
	for _, e := range r.ours {
		problems = append(problems, named("signingKeys", e, usable(e, now)), named("signingKeys", e, unlocked(e, now)))
	}
	for _, e := range r.theirs {
		problems = append(problems, named("peerKeys", e, usable(e, now)), named("peerKeys", e, public(e)))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

func named(list string, e *openpgp.Entity, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: key %s: %w", list, e.PrimaryKey.KeyIdString(), err)
}

// parseRing reads what can be read; its error names the entries that cannot.
func parseRing(c Config) (*ring, error) {
	r := &ring{}
	var problems []error
	for i, text := range c.SigningKeys {
		keys, err := parseArmored(text.Reveal())
		if err != nil {
			problems = append(problems, fmt.Errorf("signingKeys[%d]: %w", i, err))
		}
		r.ours = append(r.ours, keys...)
	}
	for i, text := range c.PeerKeys {
		keys, err := parseArmored(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("peerKeys[%d]: %w", i, err))
		}
		r.theirs = append(r.theirs, keys...)
	}
	for _, e := range r.ours {
		pin(e)
	}
	for _, e := range r.theirs {
		pin(e)
	}
	return r, errors.Join(problems...)
}

// parseArmored reads every key of every block. The library's own reader of rings skips the keys that it cannot read,
// and a rotation would miss one in silence.
func parseArmored(text string) (openpgp.EntityList, error) {
	in := bufio.NewReader(strings.NewReader(text))
	var keys openpgp.EntityList
	for {
		block, err := armor.Decode(in)
		if errors.Is(err, io.EOF) && len(keys) > 0 {
			return keys, nil
		}
		if err != nil || block.Type != openpgp.PublicKeyType && block.Type != openpgp.PrivateKeyType {
			return keys, errors.New("not an armored OpenPGP key")
		}
		packets := packet.NewReader(block.Body)
		for {
			e, err := openpgp.ReadEntity(packets)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return keys, errors.New("not a readable OpenPGP key")
			}
			keys = append(keys, e)
		}
	}
}

// OpenPGP's numbers of the protocol's algorithms.
const (
	sha384 = 9
	aes256 = uint8(packet.CipherAES256)
	zip    = uint8(packet.CompressionZIP)
)

// pin replaces what a key says it prefers in this copy of it: the library would follow the preferences of recipients
// and fall back to SHA-256, AES-128 or another container where a key does not list the protocol's choice.
func pin(e *openpgp.Entity) {
	signatures := e.DirectSignatures
	for _, identity := range e.Identities {
		signatures = append(signatures, identity.SelfCertifications...)
	}
	for _, s := range signatures {
		s.Packet.PreferredHash = []uint8{sha384}
		s.Packet.PreferredSymmetric = []uint8{aes256}
		s.Packet.PreferredCompression = []uint8{zip}
		s.Packet.SEIPDv2 = false
	}
}

func twice(list string, keys openpgp.EntityList) error {
	seen := map[string]bool{}
	for _, e := range keys {
		if seen[string(e.PrimaryKey.Fingerprint)] {
			return named(list, e, errors.New("given twice"))
		}
		seen[string(e.PrimaryKey.Fingerprint)] = true
	}
	return nil
}

// usable tells what keeps a key from signing or encrypting now.
func usable(e *openpgp.Entity, now time.Time) error {
	cfg := pgpConfig(now, 0)
	if _, err := e.VerifyPrimaryKey(now, cfg); err != nil {
		return errors.New("expired, revoked or without a valid self-signature")
	}
	if short(e.PrimaryKey) {
		return errors.New("an RSA key of 2048 bits or more is needed")
	}
	for _, s := range e.Subkeys {
		if short(s.PublicKey) {
			return errors.New("a subkey is an RSA key of less than 2048 bits")
		}
	}
	var problems []error
	if _, ok := e.SigningKey(now, cfg); !ok {
		problems = append(problems, errors.New("no valid key to sign with"))
	}
	if _, ok := e.EncryptionKey(now, cfg); !ok {
		problems = append(problems, errors.New("no valid key to encrypt to"))
	}
	return errors.Join(problems...)
}

func short(k *packet.PublicKey) bool {
	switch k.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		bits, err := k.BitLength()
		return err != nil || bits < minRSABits
	}
	return false
}

func unlocked(e *openpgp.Entity, now time.Time) error {
	if e.PrivateKey == nil {
		return errors.New("a private key is needed, this is a public one")
	}
	cfg := pgpConfig(now, 0)
	if k, ok := e.SigningKey(now, cfg); ok && !readable(k.PrivateKey) {
		return errors.New("the private part of the signing key is missing or locked with a passphrase")
	}
	for _, k := range e.DecryptionKeys(0, now, cfg) {
		if !readable(k.PrivateKey) {
			return errors.New("the private part of an encryption key is missing or locked with a passphrase")
		}
	}
	return nil
}

func readable(k *packet.PrivateKey) bool { return k != nil && !k.Dummy() && !k.Encrypted }

func public(e *openpgp.Entity) error {
	if e.PrivateKey != nil {
		return errors.New("a public key is needed, this is a private one")
	}
	return nil
}

func (p *pgp) expiries(time.Time) []KeyExpiry {
	r, err := p.borrow()
	if err != nil {
		return nil
	}
	defer p.rings.Put(r)
	var list []KeyExpiry
	for _, e := range r.ours {
		list = append(list, endsOf(e, UseSign, UseDecrypt)...)
	}
	for _, e := range r.theirs {
		list = append(list, endsOf(e, UseVerify, UseEncrypt)...)
	}
	return list
}

// endsOf lists the ends of a key and its subkeys. A subkey ends with its primary key at the latest.
func endsOf(e *openpgp.Entity, signing, encrypting Use) []KeyExpiry {
	var list []KeyExpiry
	primary, err := e.PrimarySelfSignature(time.Time{}, nil)
	if err != nil {
		return nil
	}
	last := end(e.PrimaryKey, primary)
	add := func(k *packet.PublicKey, s *packet.Signature, at time.Time) {
		if at.IsZero() {
			return
		}
		if s.FlagSign {
			list = append(list, KeyExpiry{k.KeyIdString(), signing, at})
		}
		if s.FlagEncryptCommunications || s.FlagEncryptStorage {
			list = append(list, KeyExpiry{k.KeyIdString(), encrypting, at})
		}
	}
	add(e.PrimaryKey, primary, last)
	for _, sub := range e.Subkeys {
		s, err := sub.Verify(time.Time{}, nil)
		if err != nil {
			continue
		}
		at := end(sub.PublicKey, s)
		if at.IsZero() || !last.IsZero() && last.Before(at) {
			at = last
		}
		add(sub.PublicKey, s, at)
	}
	return list
}

// end is when a key's life ends by its self-signature; zero when never.
func end(k *packet.PublicKey, s *packet.Signature) time.Time {
	if s.KeyLifetimeSecs == nil || *s.KeyLifetimeSecs == 0 {
		return time.Time{}
	}
	return k.CreationTime.Add(time.Duration(*s.KeyLifetimeSecs) * time.Second)
}
