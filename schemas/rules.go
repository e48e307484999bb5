package schemas

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of texts, in characters unless they say bytes.
const (
	maxRequestID      = 100
	maxProvider       = 32
	maxReference      = 128
	maxReason         = 500
	maxMetadata       = 20
	maxMetadataKey    = 64
	maxMetadataBytes  = 4 << 10
	maxNoticeID       = 200
	maxName           = 200
	maxNote           = 2000
	maxProviderText   = 2000
	maxWindow         = 32
	fingerprintDigits = 32
)

func isIDByte(b byte) bool { return isWordByte(b) || b == ':' || b == '-' }

func isProviderByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-'
}

func isPrintable(b byte) bool { return b >= ' ' && b <= '~' }

func isHexByte(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' }

// matches reports whether a text has 1 to limit bytes, all of one class.
func matches(text string, limit int, class func(byte) bool) bool {
	if text == "" || len(text) > limit {
		return false
	}
	for i := range len(text) {
		if !class(text[i]) {
			return false
		}
	}
	return true
}

// broken is the rule's text unless it holds.
func broken(holds bool, text string) string {
	if holds {
		return ""
	}
	return text
}

func ruleRequestID(text string) string {
	return broken(RequestID(text).Valid(), "must be 1 to 100 characters of a-z A-Z 0-9 : - _")
}

func ruleProvider(text string) string {
	return broken(ProviderName(text).Valid(), "must be 1 to 32 characters of a-z 0-9 -")
}

func ruleReference(text string) string {
	return broken(matches(text, maxReference, isPrintable) && strings.Trim(text, " ") != "",
		"must be 1 to 128 printable ASCII characters, not only spaces")
}

func ruleCurrency(text string) string {
	_, known := Currency(text).Exponent()
	return broken(known, "must be a known ISO 4217 currency")
}

func ruleMicros(text string) string {
	return broken(canonicalInt(text) && text[0] != '-' && text != "0",
		"must be a positive 64-bit integer in decimal digits, without sign or leading zeros")
}

func ruleSignedMicros(text string) string {
	return broken(canonicalInt(text),
		"must be a 64-bit integer in decimal digits, without plus sign or leading zeros")
}

// canonicalInt reports whether a text is the one spelling of a 64-bit integer.
func canonicalInt(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == text
}

func ruleTime(text string) string {
	_, ok := parseTime(text)
	return broken(ok, "must be an RFC 3339 time with T and Z or offset, in the years 1 to 9999")
}

// parseTime reads RFC 3339. The zero time stands for an absent one everywhere, so it is refused.
func parseTime(text string) (time.Time, bool) {
	if !strictTime(text) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	t = t.UTC()
	return t, err == nil && !t.IsZero() && t.Year() >= 1 && t.Year() <= 9999
}

// strictTime refuses what time.Parse takes beyond RFC 3339: one-digit hours, decimal commas, and
// offsets of a day or of an hour's minutes and more.
func strictTime(text string) bool {
	n := len(text)
	if n < len("2006-01-02T15:04:05Z") || text[13] != ':' || strings.Contains(text, ",") {
		return false
	}
	return text[n-1] == 'Z' || text[n-5:n-3] < "24" && text[n-2:] < "60"
}

func ruleReason(text string) string {
	return broken(utf8.RuneCountInString(text) <= maxReason, "must be at most 500 characters")
}

// lengthRule asks for a number of characters.
func lengthRule(least, most int) rule {
	text := "must be " + strconv.Itoa(least) + " to " + strconv.Itoa(most) + " characters"
	return func(value string) string {
		n := utf8.RuneCountInString(value)
		return broken(n >= least && n <= most, text)
	}
}

var (
	ruleNoticeID     = lengthRule(1, maxNoticeID)
	ruleName         = lengthRule(1, maxName)
	ruleNote         = lengthRule(1, maxNote)
	ruleCode         = lengthRule(0, maxName)
	ruleProviderText = lengthRule(0, maxProviderText)
	ruleWindow       = lengthRule(1, maxWindow)
)

func ruleFingerprint(text string) string {
	return broken(len(text) == fingerprintDigits && matches(text, fingerprintDigits, isHexByte),
		"must be 32 lower-case hex digits")
}

// oneOf asks for a member of a closed list.
func oneOf[T ~string](list ...T) rule {
	return func(value string) string {
		for _, allowed := range list {
			if value == string(allowed) {
				return ""
			}
		}
		return "must be one of the listed codes"
	}
}

func metadataProblems(pointer string, values map[string]string) []Problem {
	var problems []Problem
	bytes, longKey := 0, false
	for key, value := range values {
		bytes += len(key) + len(value)
		n := utf8.RuneCountInString(key)
		longKey = longKey || n < 1 || n > maxMetadataKey
	}
	if len(values) > maxMetadata {
		problems = addProblem(problems, pointer, "must have at most 20 entries")
	}
	if longKey {
		problems = addProblem(problems, pointer, "must have keys of 1 to 64 characters")
	}
	if bytes > maxMetadataBytes {
		problems = addProblem(problems, pointer, "must be at most 4096 bytes in all keys and values")
	}
	return problems
}

func ruleVersion(text string) string { return broken(text == "1.0", `must be "1.0"`) }
