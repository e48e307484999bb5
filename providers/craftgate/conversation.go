package craftgate

import (
	"strings"

	"refundworker/schemas"
)

// A conversation id is a requestId in letters, digits, '-' and '_': in a query, other characters are hashed differently
// by different clients. The underscore escapes itself and the colon.

var toConversation = strings.NewReplacer("_", "__", ":", "_c")

// conversationOf is the conversation id of a requestId, or the form in which an idempotency key is sent.
func conversationOf(id string) string { return toConversation.Replace(id) }

// RequestIDOf is the requestId of a conversation id, and whether it can be one of ours.
func RequestIDOf(conversation string) (schemas.RequestID, bool) {
	var plain strings.Builder
	for i := 0; i < len(conversation); i++ {
		c := conversation[i]
		if c == '_' {
			i++
			switch {
			case i < len(conversation) && conversation[i] == '_':
			case i < len(conversation) && conversation[i] == 'c':
				c = ':'
			default:
				return "", false
			}
		} else if c == ':' {
			return "", false
		}
		plain.WriteByte(c)
	}
	id := schemas.RequestID(plain.String())
	return id, id.Valid()
}
