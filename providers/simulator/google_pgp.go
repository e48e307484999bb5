package simulator

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ProtonMail/gopenpgp/v3/constants"
	pgp "github.com/ProtonMail/gopenpgp/v3/crypto"
	"github.com/ProtonMail/gopenpgp/v3/profile"
)

// pgpSeal is signed and encrypted OpenPGP in URL-safe Base64.
type pgpSeal struct {
	library *pgp.PGPHandle
	// mu guards the keys also where they are only read: the library notes inside a key what it has verified of it,
	// and appends to a ring while it decrypts.
	mu sync.Mutex
	// peers verify messages and are encrypted to; own open messages and sign.
	peers, own *pgp.KeyRing
}

func newPGPSeal(k GoogleKeys) (googleSeal, problems) {
	peers, found := readKeys("/publicKeys", k.PublicKeys, func(text string) (*pgp.Key, error) {
		return readPGPKey(text, false)
	})
	own, wrong := readKeys("/privateKeys", k.PrivateKeys, func(text string) (*pgp.Key, error) {
		return readPGPKey(text, true)
	})
	found.under("", wrong)
	if len(found) > 0 {
		return nil, found
	}
	choices := profile.Default()
	choices.Hash = crypto.SHA384
	s := &pgpSeal{library: pgp.PGPWithProfile(choices)}
	var err error
	if s.peers, err = ringOf(peers); err != nil {
		found.add("/publicKeys", "cannot be used together")
	}
	if s.own, err = ringOf(own); err != nil {
		found.add("/privateKeys", "cannot be used together")
	}
	return s, found
}

// readPGPKey reads one armored key. Its errors do not quote it.
func readPGPKey(text string, private bool) (*pgp.Key, error) {
	key, err := pgp.NewKeyFromArmored(text)
	if err != nil {
		return nil, errors.New("must be one armored OpenPGP key")
	}
	if key.IsPrivate() != private {
		return nil, fmt.Errorf("must be an armored OpenPGP key of the other half: private is %t", private)
	}
	if unlocked, err := key.IsUnlocked(); private && (err != nil || !unlocked) {
		return nil, errors.New("must not be locked by a passphrase")
	}
	return key, nil
}

func (s *pgpSeal) contentType() string { return "application/octet-stream; charset=utf-8" }

func (s *pgpSeal) seal(document []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	encryption, err := s.library.Encryption().Recipients(s.peers).SigningKeys(s.own).
		CompressWith(constants.ZIPCompression).New()
	if err != nil {
		return nil, err
	}
	message, err := encryption.Encrypt(document)
	if err != nil {
		return nil, err
	}
	return []byte(base64.URLEncoding.EncodeToString(message.Bytes())), nil
}

func (s *pgpSeal) open(message []byte) ([]byte, error) {
	binary, err := decodeBase64URL(string(message))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	decryption, err := s.library.Decryption().DecryptionKeys(s.own).VerificationKeys(s.peers).
		MaxDecompressedMessageSize(maxOpened).New()
	if err != nil {
		return nil, err
	}
	opened, err := decryption.Decrypt(binary, pgp.Bytes)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(opened.Signatures, s.valid) {
		return nil, errors.New("no valid signature of a known key")
	}
	return opened.Bytes(), nil
}

// valid reports whether a signature is one of the peers'. The library verifies with the keys that decrypt, too;
// without the look at the signer a message that an integrator signed itself would come from its caller.
func (s *pgpSeal) valid(signature *pgp.VerifiedSignature) bool {
	return signature.SignatureError == nil && signature.SignedBy != nil &&
		slices.ContainsFunc(s.peers.GetKeys(), func(peer *pgp.Key) bool {
			return peer.GetFingerprint() == signature.SignedBy.GetFingerprint()
		})
}

func ringOf(keys []*pgp.Key) (*pgp.KeyRing, error) {
	ring, err := pgp.NewKeyRing(nil)
	for _, key := range keys {
		err = errors.Join(err, ring.AddKey(key))
	}
	return ring, err
}

// decodeBase64URL takes the URL-safe alphabet only, padded as Google's sample code writes it or bare.
func decodeBase64URL(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // the library would skip them
		return nil, errors.New("message is not on one line")
	}
	return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
}
