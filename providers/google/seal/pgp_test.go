package seal

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

func asList(entities ...*openpgp.Entity) []*openpgp.Entity { return entities }

// pgpCase is a message by somebody who knows our public key, and what becomes of it.
type pgpCase struct {
	name string
	make func(t *testing.T) []byte
	want error
}

func unchanged(*packet.Signature) {}

// goodMessages are those that open. They also show that what makes the other messages can make good ones.
func goodMessages(t *testing.T) []pgpCase {
	ours, theirs, stranger := entity(t, "rsa-ours"), entity(t, "rsa-theirs"), entity(t, "stranger")
	return []pgpCase{
		{"signed by the peer", func(t *testing.T) []byte {
			return pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(theirs)})
		}, nil},
		{"signed by the peer, made by hand", func(t *testing.T) []byte { return handmade(t, ours, signedPackets(t, theirs, unchanged)) }, nil},
		{"signed by a stranger and the peer", func(t *testing.T) []byte {
			return pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(stranger, theirs)})
		}, nil},
		{"signed by the peer and a stranger", func(t *testing.T) []byte {
			return pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(theirs, stranger)})
		}, nil},
		{"encrypted to a stranger and us", func(t *testing.T) []byte {
			return pgpMessage(t, asList(stranger, ours), openpgp.EncryptParams{Signers: asList(theirs)})
		}, nil},
		{"not compressed, another hash", func(t *testing.T) []byte {
			return handmade(t, ours, signedPackets(t, theirs, func(s *packet.Signature) { s.Hash = crypto.SHA256 }))
		}, nil},
		{"a clock 30 s ahead", func(t *testing.T) []byte {
			return handmade(t, ours, signedPackets(t, theirs, func(s *packet.Signature) { s.CreationTime = noon.Add(30 * time.Second) }))
		}, nil},
	}
}

// untrustedMessages are those that nobody we know vouches for.
func untrustedMessages(t *testing.T) []pgpCase {
	ours, theirs, stranger := entity(t, "rsa-ours"), entity(t, "rsa-theirs"), entity(t, "stranger")
	other := entity(t, "other")
	return []pgpCase{
		{"a clock 90 s ahead", func(t *testing.T) []byte {
			return handmade(t, ours, signedPackets(t, theirs, func(s *packet.Signature) { s.CreationTime = noon.Add(90 * time.Second) }))
		}, ErrSignature},
		{"unsigned", func(t *testing.T) []byte { return pgpMessage(t, asList(ours), openpgp.EncryptParams{}) }, ErrSignature},
		{"signed by strangers only", func(t *testing.T) []byte {
			return pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(stranger, other)})
		}, ErrSignature},
		{"signed by ourselves", func(t *testing.T) []byte {
			return pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(ours)})
		}, ErrSignature},
		{"signed by the peer with SHA-384, byte by byte", func(t *testing.T) []byte { return handmade(t, ours, oldSignature(t, theirs, crypto.SHA384)) }, nil},
		{"SHA-1", func(t *testing.T) []byte { return handmade(t, ours, oldSignature(t, theirs, crypto.SHA1)) }, ErrSignature},
		{"MD5", func(t *testing.T) []byte { return handmade(t, ours, oldSignature(t, theirs, crypto.MD5)) }, ErrSignature},
		{"a signature that has ended", func(t *testing.T) []byte {
			life := uint32(60)
			return handmade(t, ours, signedPackets(t, theirs, func(s *packet.Signature) { s.CreationTime, s.SigLifetimeSecs = noon.Add(-time.Hour), &life }))
		}, ErrSignature},
		{"signed for somebody else and passed on to us", func(t *testing.T) []byte {
			return handmade(t, ours, signedPackets(t, theirs, func(s *packet.Signature) {
				s.IntendedRecipients = []*packet.Recipient{{KeyVersion: 4, Fingerprint: other.PrimaryKey.Fingerprint}}
			}))
		}, ErrSignature},
		{"another document under the signature", func(t *testing.T) []byte {
			return handmade(t, ours, bytes.Replace(signedPackets(t, theirs, unchanged), []byte("12500000"), []byte("92500000"), 1))
		}, ErrSignature},
	}
}

// unreadableMessages are those that are not encrypted to us, or not whole.
func unreadableMessages(t *testing.T) []pgpCase {
	ours, theirs, stranger := entity(t, "rsa-ours"), entity(t, "rsa-theirs"), entity(t, "stranger")
	return []pgpCase{
		{"encrypted to a stranger", func(t *testing.T) []byte {
			return pgpMessage(t, asList(stranger), openpgp.EncryptParams{Signers: asList(theirs)})
		}, ErrEncryption},
		{"no integrity protection", func(t *testing.T) []byte { return unprotected(t, ours, signedPackets(t, theirs, unchanged)) }, ErrEncryption},
		{"two documents", func(t *testing.T) []byte {
			one := signedPackets(t, theirs, unchanged)
			return handmade(t, ours, slices.Concat(one, one))
		}, ErrEncryption},
		{"encrypted with a passphrase", func(t *testing.T) []byte {
			var out bytes.Buffer
			w, err := openpgp.SymmetricallyEncrypt(&out, []byte("passphrase"), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return closed(t, w, &out)
		}, ErrFormat},
		{"signed, not encrypted", func(t *testing.T) []byte { return signedPackets(t, theirs, unchanged) }, ErrFormat},
		{"a thousand session keys", func(t *testing.T) []byte {
			message := pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(theirs)})
			sessionKey := message[:3+int(message[1]-192)<<8+int(message[2])+192]
			return append(bytes.Repeat(sessionKey, 1000), message...)
		}, ErrFormat},
		{"a thousand signatures", func(t *testing.T) []byte {
			signed := signedPackets(t, theirs, unchanged)
			onePass := slices.Clone(signed[:15])
			onePass[14] = 0
			return handmade(t, ours, append(bytes.Repeat(onePass, 1000), signed...))
		}, ErrFormat},
	}
}

// We know the peer "theirs" and hold "ours". Whatever else comes is refused with the error that says why.
func TestPGPMessagesAreJudged(t *testing.T) {
	us := mustNew(t, pgpConfigOf(t, asList(entity(t, "rsa-ours")), asList(entity(t, "rsa-theirs"))))
	for _, tt := range slices.Concat(goodMessages(t), untrustedMessages(t), unreadableMessages(t)) {
		t.Run(tt.name, func(t *testing.T) {
			got, err := us.Open(encode(tt.make(t)))
			if tt.want == nil && (err != nil || !bytes.Equal(got, document)) {
				t.Errorf("got %q, %v, want the document", got, err)
			}
			if tt.want != nil && (!errors.Is(err, tt.want) || got != nil) {
				t.Errorf("got %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// A sender may hide whom its session keys are for, and then each has to be tried with each of our keys. Four trials find
// ours behind the sender's own key while we hold two; messages that want more are not worth their price.
func TestPGPTriesFewSessionKeys(t *testing.T) {
	ours, second, theirs := entity(t, "rsa-ours"), entity(t, "rsa-second"), entity(t, "rsa-theirs")
	tests := []struct {
		name   string
		hold   []*openpgp.Entity
		others int
		hidden bool
		want   error
	}{
		{"one key, ours is the first", asList(ours), 0, true, nil},
		{"one key, ours is the fourth", asList(ours), 3, true, nil},
		{"one key, ours is the fifth", asList(ours), 4, true, ErrEncryption},
		{"one key, ours is the thirtieth", asList(ours), 29, true, ErrEncryption},
		{"two keys, ours is the second", asList(second, ours), 1, true, nil},
		{"two keys, ours is the third", asList(second, ours), 2, true, ErrEncryption},
		{"for thirty others openly", asList(ours), 29, false, nil},
	}
	for _, tt := range tests {
		others := slices.Repeat(asList(theirs), tt.others)
		params := openpgp.EncryptParams{Signers: asList(theirs), Config: &packet.Config{Time: at(noon)}}
		var message []byte
		if tt.hidden {
			message = pgpMessageHidden(t, append(others, ours), params)
		} else {
			message = pgpMessage(t, append(others, ours), params)
		}
		us := mustNew(t, pgpConfigOf(t, tt.hold, asList(theirs)))
		if _, err := us.Open(encode(message)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Session keys that name one of our keys, but are none, cost as much.
func TestPGPTriesFewSessionKeysOfOneKey(t *testing.T) {
	ours, theirs := entity(t, "rsa-ours"), entity(t, "rsa-theirs")
	us := mustNew(t, pgpConfigOf(t, asList(ours), asList(theirs)))
	message := pgpMessage(t, asList(ours), openpgp.EncryptParams{Signers: asList(theirs)})
	size := 3 + int(message[1]-192)<<8 + int(message[2]) + 192
	spoiled := slices.Clone(message[:size])
	spoiled[size-1] ^= 1
	for n, want := range map[int]error{3: nil, 4: ErrEncryption} {
		if _, err := us.Open(encode(append(bytes.Repeat(spoiled, n), message...))); !errors.Is(err, want) {
			t.Errorf("behind %d spoiled session keys: got %v, want %v", n, err, want)
		}
	}
}

// Google's samples pad; others do not. The alphabet for mails and line breaks are something else.
func TestPGPTakesBase64ForURLsOnly(t *testing.T) {
	us, them := pair(t, PGP)
	var message []byte
	// Until there is one that shows padding and both letters that the alphabets differ in.
	for !bytes.HasSuffix(message, []byte("=")) || !bytes.ContainsAny(message, "-") || !bytes.ContainsAny(message, "_") {
		message = sealed(t, us)
	}
	raw := decode(t, message)
	tests := []struct {
		name, text string
		want       error
	}{
		{"padded", string(message), nil},
		{"not padded", base64.RawURLEncoding.EncodeToString(raw), nil},
		{"alphabet for mails", base64.StdEncoding.EncodeToString(raw), ErrFormat},
		{"too much padding", string(message) + "=", ErrFormat},
		{"line break", string(message[:76]) + "\n" + string(message[76:]), ErrFormat},
		{"line break at the end", string(message) + "\n", ErrFormat},
		{"not encoded", string(raw), ErrFormat},
		{"armored", "-----BEGIN PGP MESSAGE-----\n\n" + base64.StdEncoding.EncodeToString(raw), ErrFormat},
	}
	for _, tt := range tests {
		if _, err := them.Open([]byte(tt.text)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}
