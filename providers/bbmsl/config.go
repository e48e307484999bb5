package bbmsl

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"refundworker/providers"
)

// Model is one of BBMSL's two integration models.
type Model string

// Models.
const (
	Hosted Model = "hosted"
	Direct Model = "direct"
)

// Config is the settings of one BBMSL instance.
type Config struct {
	// BaseURL is where the API lives, such as https://payapi.prod.bbmsl.com. Plain http is only taken for a
	// loopback address or a host name without dots: answers are not signed, so TLS alone vouches for them.
	BaseURL string
	// MerchantID is BBMSL's number for the merchant.
	MerchantID string
	// PrivateKey is the merchant's RSA key as PEM, PKCS#1 or PKCS#8, of 2048 bits or more.
	PrivateKey providers.Secret
	// Model is hosted (the default) or direct.
	Model Model
	// VoidUnsettled voids an order that is not settled yet when its whole amount is to be refunded. Without
	// it such a refund is tried and, when refused, waits for settlement.
	VoidUnsettled bool
	// LookupDelay is how long after the last attempt an untouched order is believed. BBMSL does not document
	// how soon a query sees a refund. Default 10 s.
	LookupDelay time.Duration
	// HTTP shapes the connections. Its timeout should stay well above the seconds that a card refund takes.
	HTTP providers.HTTPConfig
}

// WithDefaults returns a copy in which every missing optional setting has its default.
func (c Config) WithDefaults() Config {
	if c.Model == "" {
		c.Model = Hosted
	}
	if c.LookupDelay <= 0 {
		c.LookupDelay = 10 * time.Second
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
	if !validMerchantID(c.MerchantID) {
		problems = append(problems, errors.New("merchantId: 1 to 32 letters and digits are needed"))
	}
	if _, err := parseKey(c.PrivateKey); err != nil {
		problems = append(problems, fmt.Errorf("privateKey: %w", err))
	}
	if c.Model != "" && c.Model != Hosted && c.Model != Direct {
		problems = append(problems, errors.New("model: neither hosted nor direct"))
	}
	return errors.Join(problems...)
}

func validMerchantID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return id != "" && len(id) <= 32 && strings.Trim(id, letters) == ""
}
