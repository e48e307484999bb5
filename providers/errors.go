package providers

import (
	"errors"
	"fmt"
	"time"

	"refundworker/schemas"
)

// Kind says what an error leaves open.
type Kind int

// Kinds. Unknown is the zero value: whoever forgets to classify is safe.
const (
	// Unknown: the refund may have happened.
	Unknown Kind = iota
	// Unavailable: the provider was not reached or refused to work; surely nothing happened.
	Unavailable
	// RateLimited: too many requests; surely nothing happened.
	RateLimited
	// Invalid: the request itself can never be accepted; surely nothing happened.
	Invalid
	// Unauthorized: our credentials were refused; surely nothing happened.
	Unauthorized
)

// ErrRefused is in an Error whose provider is up and answered, but refused to tell. It is about one request,
// not about the provider's health.
var ErrRefused = errors.New("the provider refused to answer")

// Error means that there is no answer. Its text never holds secrets, card data, bodies or query strings.
type Error struct {
	Kind Kind
	// Op is the operation, such as "refund" or "query".
	Op string
	// Err is what went wrong, already redacted.
	Err error
	// RetryAfter is the provider's wish, 0 when it had none.
	RetryAfter time.Duration
	// Problems say, for Invalid from Prepare, which fields of the command cannot be served.
	Problems []schemas.Problem
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v (%s)", e.Op, e.Err, e.Kind) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of an error; Unknown for any error that is not an *Error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unknown
}

// Harmless is the error of a call that moves no money, such as a query: whatever it leaves open, nothing can have
// happened. Unknown becomes Unavailable.
func Harmless(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Unknown {
		return err
	}
	safe := *e
	safe.Kind = Unavailable
	return &safe
}

// Safe reports whether an error of this kind surely left the payment untouched.
func (k Kind) Safe() bool { return k != Unknown }

func (k Kind) String() string {
	switch k {
	case Unavailable:
		return "unavailable"
	case RateLimited:
		return "rate_limited"
	case Invalid:
		return "invalid"
	case Unauthorized:
		return "unauthorized"
	}
	return "unknown"
}
