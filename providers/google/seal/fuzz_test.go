package seal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// openFuzzed opens a message that must not get anything out of us: a panic, much memory or another document than the
// one that was signed.
func openFuzzed(t *testing.T, s *Seal, message []byte) {
	var got []byte
	var err error
	if used := allocated(func() { got, err = s.Open(message) }); used > memoryLimit {
		t.Errorf("got %d MiB allocated, want at most %d", used>>20, memoryLimit>>20)
	}
	known := slices.ContainsFunc([]error{ErrFormat, ErrEncryption, ErrSignature, ErrTooLarge}, func(kind error) bool { return errors.Is(err, kind) })
	if err != nil && (!known || got != nil) {
		t.Errorf("got %q, %v, want a known error and nothing else", got, err)
	}
	if err == nil && !bytes.Equal(got, document) {
		t.Errorf("got %q, which nobody signed", got)
	}
}

func FuzzOpenPGP(f *testing.F) {
	ours, theirs := entity(f, "rsa-ours"), entity(f, "rsa-theirs")
	us := mustNew(f, pgpConfigOf(f, asList(ours), asList(theirs)))
	f.Add(pgpMessage(f, asList(ours), openpgp.EncryptParams{Signers: asList(theirs)}))
	f.Add(signedPackets(f, theirs, func(*packet.Signature) {}))
	f.Fuzz(func(t *testing.T, binary []byte) { openFuzzed(t, us, encode(binary)) })
}

// What a stranger can put inside of a message that is encrypted to us.
func FuzzOpenPGPPackets(f *testing.F) {
	ours, theirs := entity(f, "ours"), entity(f, "theirs")
	us := mustNew(f, pgpConfigOf(f, asList(ours), asList(theirs)))
	signed := signedPackets(f, theirs, func(*packet.Signature) {})
	stream := deflated(f, signed, 0)
	f.Add(signed)
	f.Add(append([]byte{0xc0 | 8, byte(192 + (len(stream)+1-192)>>8), byte(len(stream) + 1 - 192), 1}, stream...))
	f.Fuzz(func(t *testing.T, packets []byte) { openFuzzed(t, us, encode(handmade(t, ours, packets))) })
}

func FuzzOpenJOSE(f *testing.F) {
	ours, theirs := joseKeys(f, "ours"), joseKeys(f, "theirs")
	us := mustNew(f, joseConfigOf(f, ours, theirs))
	inner := signed(f, theirs[0], document)
	f.Add(encrypted(f, jwe{to: ours[1], inner: inner}))
	f.Add(inner)
	f.Fuzz(func(t *testing.T, message []byte) { openFuzzed(t, us, message) })
}

// What a stranger can put inside of a JWE that is encrypted to us.
func FuzzOpenJOSEInner(f *testing.F) {
	ours, theirs := joseKeys(f, "ours"), joseKeys(f, "theirs")
	us := mustNew(f, joseConfigOf(f, ours, theirs))
	f.Add(signed(f, theirs[0], document))
	f.Add(unsignedJWS(theirs[0].KeyID))
	f.Fuzz(func(t *testing.T, inner []byte) { openFuzzed(t, us, encrypted(t, jwe{to: ours[1], inner: inner})) })
}
