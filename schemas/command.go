package schemas

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// MaxCommandBytes bounds a command's body. The largest useful command is some 10 KiB, and this leaves
// room for providers' options while thousands of commands fit in memory at once.
const MaxCommandBytes = 64 << 10

// MaxAhead is how far a command's requestedAt may lie ahead of the worker's clock.
const MaxAhead = 5 * time.Minute

// knownMinor is the newest minor version of schema version 1 that this code knows.
const knownMinor = 0

// RequestID is the idempotency key: 1 to 100 characters of a-z A-Z 0-9 : - _.
type RequestID string

// Valid reports whether the id has the right length and characters, which also make it one subject token.
func (id RequestID) Valid() bool { return matches(string(id), maxRequestID, isIDByte) }

// ProviderName names a configured provider instance: one token of 1 to 32 characters of a-z 0-9 -.
type ProviderName string

// Valid reports whether the name has the right length and characters.
func (p ProviderName) Valid() bool { return matches(string(p), maxProvider, isProviderByte) }

// Payment is the payment that a refund belongs to.
type Payment struct {
	// Reference is the provider's or merchant's own handle, 1 to 128 printable ASCII characters.
	Reference string `json:"reference"`
	// Amount is the captured amount, when the publisher knows it.
	Amount *Money `json:"amount,omitempty"`
}

// Command asks for one refund. Publish it again unchanged as often as needed.
type Command struct {
	SchemaVersion string            `json:"schemaVersion,omitempty"`
	RequestID     RequestID         `json:"requestId"`
	Provider      ProviderName      `json:"provider"`
	Payment       Payment           `json:"payment"`
	Amount        Money             `json:"amount"`
	RequestedAt   time.Time         `json:"requestedAt"`
	NotAfter      *time.Time        `json:"notAfter,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	Options       json.RawMessage   `json:"options,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
}

// Arrival is what is known about a command besides its body. Zero fields are not judged.
type Arrival struct {
	// Provider is the provider of the subject that the command came by.
	Provider ProviderName
	// Now is the worker's clock.
	Now time.Time
}

// DecodeCommand reads a command strictly and judges every rule that needs no memory of other commands.
// It fails with a *Rejection that lists every problem, or with a *NewerVersionError. The command it
// returns beside an error holds what could be read and is valid on its own; RequestID is empty when no
// valid one could be read. Beside an error, Provider is the arrival's where that is known.
func DecodeCommand(body []byte, at Arrival) (Command, error) {
	c, err := decodeCommand(body, at)
	if err != nil && at.Provider != "" {
		c.Provider = at.Provider
	}
	return c, err
}

func decodeCommand(body []byte, at Arrival) (Command, error) {
	if len(body) > MaxCommandBytes {
		tooLarge := []Problem{{"", "must be at most 65536 bytes"}}
		return Command{}, &Rejection{ReasonMalformed, tooLarge, "command"}
	}
	root, problems := parse(body)
	if len(problems) > 0 {
		return salvage(root), &Rejection{ReasonMalformed, problems, "command"}
	}
	if minor := newerMinor(root); minor > 0 {
		return salvage(root), &NewerVersionError{Minor: minor}
	}
	r := &reader{}
	c := readCommand(r.object(root, ""))
	r.judge(c, at)
	if len(r.problems) > 0 {
		return c, &Rejection{ReasonInvalid, r.problems, "command"}
	}
	return c, nil
}

// salvage reads only the names from a body that is not fully understood.
func salvage(root *node) Command {
	scratch := &reader{}
	c := readCommand(scratch.object(root, ""))
	return Command{RequestID: c.RequestID, Provider: c.Provider}
}

// newerMinor is the minor version a body asks for when it is newer than the known one, else 0.
func newerMinor(root *node) int {
	version := root.get("schemaVersion")
	if version == nil || version.shape != shapeString {
		return 0
	}
	digits, ok := strings.CutPrefix(version.text, "1.")
	if !ok || !allDigits(digits) || len(digits) > 6 || digits[0] == '0' {
		return 0
	}
	minor, _ := strconv.Atoi(digits)
	if minor <= knownMinor {
		return 0
	}
	return minor
}

func readCommand(o fields) Command {
	c := Command{
		SchemaVersion: o.text("schemaVersion", optional, ruleVersion),
		RequestID:     RequestID(o.text("requestId", required, ruleRequestID)),
		Provider:      ProviderName(o.text("provider", required, ruleProvider)),
		NotAfter:      o.time("notAfter", optional),
		Reason:        o.text("reason", optional, ruleReason),
		Options:       o.rawObject("options"),
		Metadata:      o.metadata("metadata"),
	}
	if payment := o.payment(required); payment != nil {
		c.Payment = *payment
	}
	if amount := o.amount("amount", required); amount != nil {
		c.Amount = *amount
	}
	if t := o.time("requestedAt", required); t != nil {
		c.RequestedAt = *t
	}
	o.refuseUnknown()
	return c
}

// payment reads a payment; it is nil without a valid reference.
func (f fields) payment(must bool) *Payment {
	o := f.object("payment", must)
	p := Payment{Reference: o.text("reference", required, ruleReference), Amount: o.amount("amount", optional)}
	o.refuseUnknown()
	if p.Reference == "" {
		return nil
	}
	return &p
}

// judge holds the rules between fields. Fields that could not be read are not judged again.
func (r *reader) judge(c Command, at Arrival) {
	if at.Provider != "" && c.Provider != "" && c.Provider != at.Provider {
		r.add("/provider", "must equal the subject's provider")
	}
	if captured := c.Payment.Amount; captured != nil && c.Amount.Currency != "" {
		switch {
		case captured.Currency != c.Amount.Currency:
			r.add("/amount/currencyCode", "must be the currency of the payment's amount")
		case captured.Micros < c.Amount.Micros:
			r.add("/amount", "must not exceed the payment's amount")
		}
	}
	if c.RequestedAt.IsZero() {
		return
	}
	if c.NotAfter != nil && !c.NotAfter.After(c.RequestedAt) {
		r.add("/notAfter", "must be after requestedAt")
	}
	if !at.Now.IsZero() && c.RequestedAt.After(at.Now.Add(MaxAhead)) {
		r.add("/requestedAt", "must not be more than 5 minutes ahead")
	}
}

// Encode writes the command's body and judges it by the rules of DecodeCommand.
func (c Command) Encode() ([]byte, error) {
	c.RequestedAt = c.RequestedAt.UTC()
	if c.NotAfter != nil {
		utc := c.NotAfter.UTC()
		c.NotAfter = &utc
	}
	body, err := marshal(c)
	if err != nil {
		return nil, &Rejection{ReasonMalformed, []Problem{{"", "must be JSON"}}, "command"}
	}
	if _, err := DecodeCommand(body, Arrival{}); err != nil {
		return nil, err
	}
	return body, nil
}

// marshal writes JSON without the escapes meant for HTML. Its errors may quote raw JSON that a caller
// put in, so callers never pass them on.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
