package host

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"refundworker/providers"
	"refundworker/providers/google/seal"
	"refundworker/providers/google/wire"
	"refundworker/schemas"
)

// APIs, by the adapter types that ask for the refunds: redirect-fop-v1 and card-fop-v1.
const (
	RedirectFOP = "redirectfop"
	CardFOP     = "cardfop"
)

// Account is one integrator account that may report.
type Account struct {
	// Provider is the instance whose refunds the account reports on.
	Provider schemas.ProviderName
	// API is RedirectFOP or CardFOP.
	API string
	// ID is the payment integrator account id (PIAID).
	ID string
	// Seal opens what the account sends and seals what it gets.
	Seal *seal.Seal
}

// Config is the settings of a handler.
type Config struct {
	Accounts []Account
	// Inbox takes in what is reported.
	Inbox providers.Inbox
	// Strangers bounds the sources that fail verification. Share it with other handlers of the listener.
	Strangers *providers.Strangers
	// Timeout bounds the work on one request once it is read: the wait for its turn and the inbox. Default 5 s: 7 s
	// without an answer count as unavailable.
	Timeout time.Duration
	// Floor is when the answer to a stranger leaves at the earliest, counted from the end of its request. It has to be
	// longer than opening a message takes on a busy machine. Default 100 ms.
	Floor time.Duration
	// Clock tells the time of the protocol; nil means time.Now.
	Clock func() time.Time
	// Log is nil for slog.Default.
	Log *slog.Logger
	// Observe is told of every request: its method and one of Results; nil for nobody.
	Observe func(method, result string)
}

// What Observe is told of a request.
const (
	ResultAccepted    = "accepted"
	ResultRepeated    = "repeated"
	ResultConflict    = "conflict"
	ResultRefused     = "refused"
	ResultUnverified  = "unverified"
	ResultBarred      = "barred"
	ResultUnreadable  = "unreadable"
	ResultUnavailable = "unavailable"
)

// Results are all that Observe can be told.
var Results = []string{ResultAccepted, ResultRepeated, ResultConflict, ResultRefused, ResultUnverified, ResultBarred,
	ResultUnreadable, ResultUnavailable}

// WithDefaults returns a copy in which every missing optional setting has its default.
func (c Config) WithDefaults() Config {
	if c.Strangers == nil {
		c.Strangers = &providers.Strangers{}
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Floor <= 0 {
		c.Floor = 100 * time.Millisecond
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Observe == nil {
		c.Observe = func(string, string) {}
	}
	return c
}

// Validate returns every problem of the settings, joined; nil when there is none.
func (c Config) Validate() error {
	var problems []error
	if c.Inbox == nil {
		problems = append(problems, errors.New("inbox: missing"))
	}
	if len(c.Accounts) == 0 {
		problems = append(problems, errors.New("accounts: none"))
	}
	seen := map[accountKey]bool{}
	for i, a := range c.Accounts {
		if err := a.validate(); err != nil {
			problems = append(problems, fmt.Errorf("accounts[%d]: %w", i, err))
		}
		if seen[a.key()] {
			problems = append(problems, fmt.Errorf("accounts[%d]: %s account %q is given twice", i, a.API, a.ID))
		}
		seen[a.key()] = true
	}
	return errors.Join(problems...)
}

func (a Account) validate() error {
	var problems []error
	if !a.Provider.Valid() {
		problems = append(problems, fmt.Errorf("provider: %q is not 1 to 32 characters of a-z 0-9 -", a.Provider))
	}
	if a.API != RedirectFOP && a.API != CardFOP {
		problems = append(problems, fmt.Errorf("api: %q is neither %s nor %s", a.API, RedirectFOP, CardFOP))
	}
	if !wire.ValidAccount(a.ID) {
		problems = append(problems, errors.New("id: "+wire.AccountRule))
	}
	if a.Seal == nil {
		problems = append(problems, errors.New("seal: missing"))
	}
	return errors.Join(problems...)
}

// accountKey finds an account: both APIs may know the same id.
type accountKey struct{ api, id string }

func (a Account) key() accountKey { return accountKey{a.API, a.ID} }
