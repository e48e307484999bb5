package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Fingerprint tells two commands apart that claim one requestId: it covers what the refund is, not why
// or when it was asked for.
type Fingerprint [16]byte

// String is the fingerprint in 32 lower-case hex digits, as events carry it.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Fingerprint is the first half of SHA-256 over "refund-command/1" and then the provider, the payment
// reference, the amount in micros, its currency and the canonical options, each as its length in bytes
// in decimal, a colon, and its bytes. Canonical options have sorted keys, no spaces, numbers as
// written; absent options are {}. Reason, metadata and times stay out.
func (c Command) Fingerprint() (Fingerprint, error) {
	options := []byte("{}")
	if len(c.Options) > 0 {
		root, problems := parse(c.Options)
		if len(problems) > 0 {
			return Fingerprint{}, fmt.Errorf("fingerprint command: options: %w",
				&Rejection{ReasonMalformed, problems, "object"})
		}
		options = root.appendCanonical(nil)
	}
	canonical := []byte("refund-command/1")
	for _, part := range []string{string(c.Provider), c.Payment.Reference,
		strconv.FormatInt(c.Amount.Micros, 10), string(c.Amount.Currency), string(options)} {
		canonical = strconv.AppendInt(canonical, int64(len(part)), 10)
		canonical = append(canonical, ':')
		canonical = append(canonical, part...)
	}
	sum := sha256.Sum256(canonical)
	return Fingerprint(sum[:16]), nil
}

// CommandMsgID is the message id to publish a command's body under: other content under a known
// requestId must not look like a duplicate, so the id holds the body's hash too.
func CommandMsgID(c Command, body []byte) string {
	return string(c.RequestID) + ":" + hashHex(body, 16)
}

// hashHex is the hex form of the first n bytes of SHA-256.
func hashHex(data []byte, n int) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:n])
}

// ParseFingerprint reads the 32 lower-case hex digits that events carry.
func ParseFingerprint(text string) (Fingerprint, error) {
	if broken := ruleFingerprint(text); broken != "" {
		return Fingerprint{}, fmt.Errorf("parse fingerprint: %s", broken)
	}
	var f Fingerprint
	_, err := hex.Decode(f[:], []byte(text))
	return f, err
}
