package providers

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxMessage is the length of a cleaned message in characters.
const maxMessage = 200

var (
	// Nine digits, however grouped: card, account and phone numbers.
	longNumber = regexp.MustCompile(`\p{Nd}(?:[ ._/\p{Pd}]{0,3}\p{Nd}){8,}`)
	addressish = regexp.MustCompile(`\S*[@＠]\S*`)
)

// CleanMessage makes a provider's free text fit for events and logs: printable characters on one line, at
// most 200, with numbers of nine or more digits (also grouped) and mail addresses masked.
func CleanMessage(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	// Masked before cutting: half a card number must not survive the cut.
	text = addressish.ReplaceAllString(text, "[address]")
	text = longNumber.ReplaceAllString(text, "[number]")
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage])
	}
	return strings.TrimSpace(text)
}

// maxRetryAfter keeps a provider's wish within what a Duration can hold; callers cap it further.
const maxRetryAfter = 365 * 24 * time.Hour

// RetryAfter is how long a Retry-After header asks to wait, as seconds or as an HTTP date; 0 when it is
// missing, unreadable or past. The caller caps it.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		if seconds > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
