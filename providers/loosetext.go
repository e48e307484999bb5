package providers

import (
	"encoding/json"
	"errors"
)

// LooseText is a JSON string, a number exactly as it was written, or null and nothing. Providers document ids and amounts
// as one and send them as the other. A number keeps its digits: an amount must never pass through a float.
type LooseText string

// UnmarshalJSON is part of json.Unmarshaler.
func (t *LooseText) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		return nil
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(t))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("neither text nor number")
	}
	*t = LooseText(n)
	return nil
}
