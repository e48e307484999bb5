package fop

import (
	"errors"
	"fmt"
	"strings"

	"refundworker/providers"
	"refundworker/providers/google/wire"
)

// API is one of the two APIs that are spoken.
type API string

// APIs.
const (
	RedirectFOP API = "redirectfop"
	CardFOP     API = "cardfop"
)

func (a API) valid() bool { return a == RedirectFOP || a == CardFOP }

func (a API) family() wire.Family {
	if a == CardFOP {
		return wire.Flat
	}
	return wire.Object
}

func (a API) path() string {
	if a == CardFOP {
		return "/v1/payment-integrator-card-fop-api/asynchronousRefund"
	}
	return "/v1/payment-integrator-redirect/asynchronousRefund"
}

// Sealer puts documents into the envelope that was agreed with an integrator, and takes them out. It is safe for
// concurrent use. Open fails for whatever the integrator did not seal.
type Sealer interface {
	ContentType() string
	Seal(document []byte) ([]byte, error)
	Open(message []byte) ([]byte, error)
}

// Config is the settings of one integrator account.
type Config struct {
	// API is redirectfop or cardfop.
	API API
	// BaseURL is the integrator's own base path, such as https://pay.example.com/gsp. Plain http is only taken for a
	// loopback address or a host name without dots.
	BaseURL string
	// Account is the payment integrator account id whose terms the payments are under.
	Account string
	// Seal signs and encrypts what is sent, and opens what comes back.
	Seal Sealer
	// HTTP shapes the connections. Integrators are to answer within 7 s.
	HTTP providers.HTTPConfig
}

// WithDefaults returns a copy in which every missing optional setting has its default.
func (c Config) WithDefaults() Config {
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	c.HTTP = c.HTTP.WithDefaults()
	return c
}

// Validate returns every problem of the settings, joined; nil when there is none.
func (c Config) Validate() error {
	var problems []error
	if !c.API.valid() {
		problems = append(problems, errors.New("api: neither redirectfop nor cardfop"))
	}
	if err := providers.ValidBaseURL(c.BaseURL); err != nil {
		problems = append(problems, fmt.Errorf("baseURL: %w", err))
	}
	if !wire.ValidAccount(c.Account) {
		problems = append(problems, errors.New("account: "+wire.AccountRule))
	}
	if c.Seal == nil {
		problems = append(problems, errors.New("seal: one is needed; leaving messages open must be said too"))
	}
	return errors.Join(problems...)
}
