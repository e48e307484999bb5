package providers

import (
	"encoding/json"
	"fmt"
	"io"
)

// Secret is a key or password from settings. It prints redacted in every format; Reveal returns it.
type Secret string

const redacted = "(redacted)"

// Reveal returns the secret itself, for the one place that uses it.
func (s Secret) Reveal() string { return string(s) }

// Format prints the same text for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns the redacted form.
func (s Secret) String() string { return redacted }

// MarshalJSON writes the redacted form.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
