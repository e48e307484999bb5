package seal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"refundworker/providers"
)

// Errors of Open. They wrap no key material and nothing of the message.
var (
	// ErrFormat: the bytes are not a sealed message at all.
	ErrFormat = errors.New("not a sealed message")
	// ErrEncryption: not encrypted to a key of ours, or damaged since.
	ErrEncryption = errors.New("not decryptable with our keys")
	// ErrSignature: no valid signature of a known key.
	ErrSignature = errors.New("no valid signature of a known key")
	// ErrTooLarge: message or document are larger than allowed.
	ErrTooLarge = errors.New("larger than allowed")
)

// Mode says how documents are sealed.
type Mode string

// Modes.
const (
	// Plain is no seal at all, for tests and trusted networks.
	Plain Mode = "plain"
	PGP   Mode = "pgp"
	JOSE  Mode = "jose"
)

// Config is the settings of a seal.
type Config struct {
	Mode Mode
	// SigningKeys are our private keys: they sign what we send and decrypt what we get.
	SigningKeys []providers.Secret
	// PeerKeys are the other side's public keys: they verify what we get and encrypt what we send.
	PeerKeys []string
	// MaxSize bounds an opened document in bytes, and with it the work that a message can cause. Default 1 MiB. A
	// compressed JOSE message may be a fifth of it at most.
	MaxSize int64
	// Algorithms are the names that JOSE may use, in our order of preference. Default: RSA-OAEP-256; A256GCM,
	// A128CBC-HS256; RS256, PS256, ES256. RSA1_5 and RSA-OAEP work only when named here.
	Algorithms []string
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// WithDefaults returns a copy in which every missing optional setting has its default.
func (c Config) WithDefaults() Config {
	if c.MaxSize <= 0 {
		c.MaxSize = 1 << 20
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = slices.Clone(defaultAlgorithms)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// Validate returns every problem of the settings, joined; nil when there is none. Keys are named by their place and
// id, never by their content.
func (c Config) Validate() error {
	_, err := newEnvelope(c.WithDefaults())
	return err
}

// envelope is one way to seal. Times are handed in, so that one message is judged at one moment.
type envelope interface {
	contentType() string
	seal(document []byte, now time.Time) ([]byte, error)
	open(message []byte, now time.Time) ([]byte, error)
	expiries(now time.Time) []KeyExpiry
}

func newEnvelope(c Config) (envelope, error) {
	switch c.Mode {
	case Plain:
		return newPlain(c)
	case PGP:
		return newPGP(c)
	case JOSE:
		return newJOSE(c)
	}
	return nil, errors.New("mode: none of plain, pgp and jose")
}

// Seal seals and opens documents with the keys of one account. It is safe for concurrent use.
type Seal struct {
	maxSize  int64
	clock    func() time.Time
	envelope envelope
}

// New returns a seal, or every problem of its settings.
func New(cfg Config) (*Seal, error) {
	cfg = cfg.WithDefaults()
	e, err := newEnvelope(cfg)
	if err != nil {
		return nil, fmt.Errorf("seal settings: %w", err)
	}
	return &Seal{maxSize: cfg.MaxSize, clock: cfg.Clock, envelope: e}, nil
}

// ContentType is what a sealed message is sent as.
func (s *Seal) ContentType() string { return s.envelope.contentType() }

// Seal wraps a document. Two seals of one document differ.
func (s *Seal) Seal(document []byte) ([]byte, error) {
	if int64(len(document)) > s.maxSize {
		return nil, fmt.Errorf("seal a document: %w", ErrTooLarge)
	}
	message, err := s.envelope.seal(document, s.clock())
	if err != nil {
		return nil, fmt.Errorf("seal a document: %w", err)
	}
	return message, nil
}

// Open unwraps a message. Its error is one of ErrFormat, ErrEncryption, ErrSignature and ErrTooLarge, wrapped; anything
// else is a fault of our own.
func (s *Seal) Open(message []byte) ([]byte, error) {
	if int64(len(message)) > sealedSize(s.maxSize) {
		return nil, fmt.Errorf("open a message: %w", ErrTooLarge)
	}
	document, err := s.envelope.open(message, s.clock())
	if err != nil {
		return nil, fmt.Errorf("open a message: %w", err)
	}
	if int64(len(document)) > s.maxSize {
		return nil, fmt.Errorf("open a message: %w", ErrTooLarge)
	}
	return document, nil
}

// sealOverhead is room for signatures, session keys and headers.
const sealOverhead = 64 << 10

// sealedSize is what a document of this size can become at most: Base64 twice, as JWS and as JWE.
func sealedSize(document int64) int64 { return 2*document + sealOverhead }

// Use says what a key is for.
type Use string

// Uses. We sign and decrypt with our keys, and verify and encrypt with theirs.
const (
	UseSign    Use = "sign"
	UseDecrypt Use = "decrypt"
	UseVerify  Use = "verify"
	UseEncrypt Use = "encrypt"
)

// KeyExpiry is when a key stops to serve a use.
type KeyExpiry struct {
	KeyID string
	Use   Use
	At    time.Time
}

// Expiries lists the keys that expire, the earliest first, for alarms 60, 30 and 7 days before. Keys without an end are
// not in it; keys that ended since the start are.
func (s *Seal) Expiries() []KeyExpiry {
	list := s.envelope.expiries(s.clock())
	slices.SortStableFunc(list, func(a, b KeyExpiry) int { return a.At.Compare(b.At) })
	return list
}
