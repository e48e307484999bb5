package craftgate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"refundworker/providers"
)

// Config is the settings of one Craftgate instance.
type Config struct {
	// BaseURL is where the API lives, such as https://api.craftgate.io. Plain http is only taken for a loopback
	// address or a host name without dots: answers are not signed, so TLS alone vouches for them.
	BaseURL string
	// APIKey and SecretKey are the merchant's pair for this environment.
	APIKey, SecretKey providers.Secret
	// WebhookKey is the merchant's hook key. Optional: without it no webhooks are served, and refunds that
	// Craftgate leaves waiting are found by lookup alone.
	WebhookKey providers.Secret
	// LookupDelay is how long after the last attempt an untouched payment is believed. Craftgate does not document
	// how soon its reports show a refund. Default 30 s.
	LookupDelay time.Duration
	// HTTP shapes the connections. Craftgate's own clients wait 150 s for a refund: a much shorter timeout puts
	// refunds in doubt that only take their time.
	HTTP providers.HTTPConfig
}

// WithDefaults returns a copy in which every missing optional setting has its default.
func (c Config) WithDefaults() Config {
	if c.LookupDelay <= 0 {
		c.LookupDelay = 30 * time.Second
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	c.HTTP = c.HTTP.WithDefaults()
	return c
}

// Validate returns every problem of the settings, joined; nil when there is none.
func (c Config) Validate() error {
	var problems []error
	if err := providers.ValidBaseURL(c.BaseURL); err != nil {
		problems = append(problems, fmt.Errorf("baseURL: %w", err))
	}
	if !validKey(c.APIKey) {
		problems = append(problems, errors.New("apiKey: 1 to 200 visible ASCII characters are needed"))
	}
	if !validKey(c.SecretKey) {
		problems = append(problems, errors.New("secretKey: 1 to 200 visible ASCII characters are needed"))
	}
	if c.WebhookKey != "" && !validKey(c.WebhookKey) {
		problems = append(problems, errors.New("webhookKey: 1 to 200 visible ASCII characters are needed"))
	}
	return errors.Join(problems...)
}

// validKey refuses the line break that a key read from a file easily has: it would only show as a wrong signature.
func validKey(key providers.Secret) bool {
	text := key.Reveal()
	invisible := func(r rune) bool { return r <= ' ' || r > '~' }
	return text != "" && len(text) <= 200 && !strings.ContainsFunc(text, invisible)
}
