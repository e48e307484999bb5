package seal

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// pgp is the OpenPGP envelope: signed, compressed, encrypted, then Base64 for URLs. It stands on go-crypto rather than on
// gopenpgp above it, which takes signatures of our own keys for known ones, appends to shared key rings without a lock
// and cannot bound the session keys and signatures of a message.
type pgp struct {
	cfg Config
	// rings holds copies of the keys. The library keeps what it verified inside of the keys without a lock, so a copy
	// serves one message at a time.
	rings sync.Pool
}

func newPGP(c Config) (envelope, error) {
	if _, err := readRing(c); err != nil {
		return nil, err
	}
	return &pgp{cfg: c}, nil
}

func (p *pgp) contentType() string { return "application/octet-stream; charset=utf-8" }

func (p *pgp) borrow() (*ring, error) {
	if r, ok := p.rings.Get().(*ring); ok {
		return r, nil
	}
	return parseRing(p.cfg)
}

// pgpConfig fixes the algorithms of the protocol.
func pgpConfig(now time.Time, maxSize int64) *packet.Config {
	inflated := maxSize + sealOverhead
	return &packet.Config{
		DefaultHash:                crypto.SHA384,
		DefaultCipher:              packet.CipherAES256,
		DefaultCompressionAlgo:     packet.CompressionZIP,
		MinRSABits:                 minRSABits,
		MaxDecompressedMessageSize: &inflated,
		Time:                       func() time.Time { return now },
	}
}

func (p *pgp) seal(document []byte, now time.Time) ([]byte, error) {
	r, err := p.borrow()
	if err != nil {
		return nil, err
	}
	defer p.rings.Put(r)
	cfg := pgpConfig(now, p.cfg.MaxSize)
	// The library refuses the whole message for one key that has ended; the others must go on serving.
	signers := able(r.ours, func(e *openpgp.Entity) bool { _, ok := e.SigningKey(now, cfg); return ok })
	recipients := able(r.theirs, func(e *openpgp.Entity) bool { _, ok := e.EncryptionKey(now, cfg); return ok })
	if len(signers) == 0 || len(recipients) == 0 {
		return nil, errors.New("no key in force to sign with, or none to encrypt to")
	}
	var message bytes.Buffer
	w, err := openpgp.EncryptWithParams(&message, recipients, nil, &openpgp.EncryptParams{Signers: signers, Config: cfg})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(document); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return base64.URLEncoding.AppendEncode(nil, message.Bytes()), nil
}

func able(keys openpgp.EntityList, is func(*openpgp.Entity) bool) []*openpgp.Entity {
	return slices.DeleteFunc(slices.Clone(keys), func(e *openpgp.Entity) bool { return !is(e) })
}

// skew is how far ahead the sender's clock may be: the library takes a signature from the future for invalid, and the
// protocol allows both clocks to be 60 s apart.
const skew = 60 * time.Second

func (p *pgp) open(message []byte, now time.Time) (document []byte, err error) {
	binary, err := decodeBase64URL(message)
	if err != nil {
		return nil, err
	}
	r, err := p.borrow()
	if err != nil {
		return nil, err
	}
	defer p.rings.Put(r)
	l := &lookups{ring: r}
	defer func() {
		if cause := recover(); cause == errTooManyLookups {
			document, err = nil, fmt.Errorf("%w: %w", ErrFormat, errTooManyLookups)
		} else if cause != nil {
			panic(cause)
		}
	}()
	md, err := openpgp.ReadMessage(bytes.NewReader(binary), l, nil, pgpConfig(now.Add(skew), p.cfg.MaxSize))
	switch {
	case err != nil && l.count == 0, err == nil && !md.IsEncrypted:
		return nil, fmt.Errorf("%w: not encrypted to a public key", ErrFormat)
	case err != nil:
		// The library's texts stay inside: they tell where in the decrypted bytes it stumbled.
		return nil, ErrEncryption
	}
	// Signatures and integrity are checked when the end is read, so nothing may leave before.
	document, err = io.ReadAll(io.LimitReader(md.UnverifiedBody, p.cfg.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: damaged", ErrEncryption)
	}
	if int64(len(document)) > p.cfg.MaxSize {
		return nil, ErrTooLarge
	}
	if !slices.ContainsFunc(md.SignatureCandidates, func(c *openpgp.SignatureCandidate) bool { return r.vouches(c, now) }) {
		return nil, ErrSignature
	}
	return document, nil
}

// vouches reports whether a signature is valid, a peer's, and made with a key that is in force now. The library judges
// a key at the time that the signature names, which whoever holds an ended key can choose.
func (r *ring) vouches(c *openpgp.SignatureCandidate, now time.Time) bool {
	if c.SignatureError != nil || c.SignedBy == nil || !slices.Contains(r.theirs, c.SignedBy.Entity) {
		return false
	}
	_, ok := c.SignedBy.Entity.SigningKeyById(now, c.IssuerKeyId, pgpConfig(now, 0))
	return ok
}

const (
	// maxLookups bounds the session keys and signatures of a message: each can cost a pass over the document.
	maxLookups = 32
	// maxTrials bounds the operations with our private keys for a message. A session key costs one; one that hides whom
	// it is for (key id 0) costs one with each of our keys. What is beyond is passed over. Four are enough for a sender
	// who hides its own key before ours while we hold two.
	maxTrials = 4
)

var errTooManyLookups = errors.New("too many session keys or signatures")

// lookups is the key ring as one message sees it. It panics at the limit of lookups, because the library has no other
// way to leave.
type lookups struct {
	*ring
	count, trials int
}

func (l *lookups) KeysById(id uint64) []openpgp.Key {
	return slices.Concat(l.theirs, l.ours).KeysById(id)
}

func (l *lookups) EntitiesById(id uint64) []*openpgp.Entity {
	if l.count++; l.count > maxLookups {
		panic(errTooManyLookups)
	}
	entities := l.theirs.EntitiesById(id)
	for _, e := range l.ours.EntitiesById(id) {
		cost := len(e.DecryptionKeys(id, time.Time{}, nil))
		if l.trials+cost > maxTrials {
			continue
		}
		l.trials += cost
		entities = append(entities, e)
	}
	return entities
}

// decodeBase64URL takes the alphabet for URLs only, padded or not. Go's decoder would skip line breaks.
func decodeBase64URL(text []byte) ([]byte, error) {
	encoding := base64.RawURLEncoding
	if bytes.HasSuffix(text, []byte("=")) {
		encoding = base64.URLEncoding
	}
	if bytes.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: not base64url", ErrFormat)
	}
	binary, err := encoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64url", ErrFormat)
	}
	return binary, nil
}
