package providers_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"refundworker/providers"
)

func TestCleanMessage(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"declined", "declined"},
		{"  a\tb\r\n c\x00d ", "a b c d"},
		{"餘額不足", "餘額不足"},
		{"card 4242424242424242 refused", "card [number] refused"},
		{"card 4242-4242 4242 4242 refused", "card [number] refused"},
		{"card 4242\u200b4242\u200b4242\u200b4242", "card [number]"},
		{"card ４２４２４２４２４２４２４２４２", "card [number]"},
		{"order 12345678 refused", "order 12345678 refused"},
		{"order 123456789 refused", "order [number] refused"},
		{"masked 455555XXXXXX4242", "masked 455555XXXXXX4242"},
		{"mail <jane.doe@example.com>, please", "mail [address] please"},
		{"bad \xff bytes", "bad bytes"},
		{strings.Repeat("x", 300), strings.Repeat("x", 200)},
		{strings.Repeat("x", 195) + " 4242424242424242", strings.Repeat("x", 195) + " [num"},
	}
	for _, tt := range tests {
		if got := providers.CleanMessage(tt.in); got != tt.want {
			t.Errorf("CleanMessage(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzCleanMessage(f *testing.F) {
	f.Add("card 4242 4242 4242 4242 of jane@example.com")
	f.Add(strings.Repeat("é", 300))
	digits := regexp.MustCompile(`[0-9](?:[ -]?[0-9]){8,}`)
	f.Fuzz(func(t *testing.T, text string) {
		got := providers.CleanMessage(text)
		if len([]rune(got)) > 200 || digits.MatchString(got) || strings.Contains(got, "@") {
			t.Errorf("CleanMessage(%q): got %q", text, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("CleanMessage(%q): got %q with unprintable %U", text, got, r)
			}
		}
		if again := providers.CleanMessage(got); again != got {
			t.Errorf("cleaned twice: got %q, want %q", again, got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"", 0}, {"0", 0}, {"7", 7 * time.Second}, {" 7 ", 7 * time.Second}, {"-1", 0}, {"1.5", 0}, {"soon", 0},
		{"Tue, 04 Mar 2031 05:06:37 GMT", 30 * time.Second},
		{"Tue, 04 Mar 2031 05:06:06 GMT", 0},
		{"9223372036854775807", 365 * 24 * time.Hour},
		{fmt.Sprint(uint64(math.MaxUint64)), 0},
	}
	for _, tt := range tests {
		if got := providers.RetryAfter(http.Header{"Retry-After": {tt.value}}, now); got != tt.want {
			t.Errorf("RetryAfter(%q): got %v, want %v", tt.value, got, tt.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7")
	f.Add("Tue, 04 Mar 2031 05:06:37 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		got := providers.RetryAfter(http.Header{"Retry-After": {value}}, time.Unix(1e9, 0))
		if got < 0 || got > 365*24*time.Hour {
			t.Errorf("RetryAfter(%q): got %v", value, got)
		}
	})
}

func TestSecretPrintsRedacted(t *testing.T) {
	s := providers.Secret("hidden")
	asJSON, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%q %x %#v %d", s, s, s, s), s.String(), string(asJSON)} {
		if strings.Contains(got, "hidden") || strings.Contains(got, "68696464656e") {
			t.Errorf("got %q, want it redacted", got)
		}
	}
	if s.Reveal() != "hidden" {
		t.Errorf("Reveal: got %q", s.Reveal())
	}
}
