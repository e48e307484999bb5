package schemas

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// MaxMinorUnits is the largest amount that a command, event or notice may name, in minor units: 2^53 - 1,
// so that a reader whose only number type is a double still holds every amount exactly.
const MaxMinorUnits = 1<<53 - 1

const (
	microsDigits  = 6
	microsPerUnit = 1_000_000
)

// Errors of money arithmetic and conversion. Their texts never hold an amount.
var (
	// ErrCurrency occurs when a currency is not in the ISO 4217 table, or two amounts differ in it.
	ErrCurrency = errors.New("currency is not in the ISO 4217 table, or currencies differ")
	// ErrFraction occurs when an amount is not a whole number of the currency's minor units.
	ErrFraction = errors.New("amount is not a whole number of minor units")
	// ErrRange occurs when an amount does not fit.
	ErrRange = errors.New("amount is out of range")
	// ErrDecimal occurs when a text is not a plain decimal number.
	ErrDecimal = errors.New("text is not a plain decimal number")
)

// Money is an exact amount: millionths of the currency's unit, which every ISO 4217 currency fits.
// In JSON it is {"amountMicros":"15000000","currencyCode":"HKD"}. The zero value has no currency and
// is refused wherever an amount is needed.
type Money struct {
	Micros   int64
	Currency Currency
}

// MoneyFromMinor is the amount of so many minor units (cents, say) of a currency.
func MoneyFromMinor(minor int64, c Currency) (Money, error) {
	scale, err := c.microsPerMinor()
	if err != nil {
		return Money{}, err
	}
	if minor > math.MaxInt64/scale || minor < math.MinInt64/scale {
		return Money{}, fmt.Errorf("convert minor units of %s: %w", c, ErrRange)
	}
	return Money{Micros: minor * scale, Currency: c}, nil
}

// Minor is the amount in the currency's minor units. It fails rather than rounds.
func (m Money) Minor() (int64, error) {
	scale, err := m.Currency.microsPerMinor()
	if err != nil {
		return 0, err
	}
	if m.Micros%scale != 0 {
		return 0, fmt.Errorf("convert to minor units of %s: %w", m.Currency, ErrFraction)
	}
	return m.Micros / scale, nil
}

// Equal reports whether both the amount and the currency are the same.
func (m Money) Equal(other Money) bool { return m == other }

// Add is the sum of two amounts of one currency.
func (m Money) Add(other Money) (Money, error) {
	sum := m.Micros + other.Micros
	if m.Currency != other.Currency {
		return Money{}, fmt.Errorf("add amounts: %w", ErrCurrency)
	}
	if other.Micros > 0 && sum < m.Micros || other.Micros < 0 && sum > m.Micros {
		return Money{}, fmt.Errorf("add amounts: %w", ErrRange)
	}
	return Money{Micros: sum, Currency: m.Currency}, nil
}

// Sub is the difference of two amounts of one currency. It may be negative.
func (m Money) Sub(other Money) (Money, error) {
	diff := m.Micros - other.Micros
	if m.Currency != other.Currency {
		return Money{}, fmt.Errorf("subtract amounts: %w", ErrCurrency)
	}
	if other.Micros > 0 && diff > m.Micros || other.Micros < 0 && diff < m.Micros {
		return Money{}, fmt.Errorf("subtract amounts: %w", ErrRange)
	}
	return Money{Micros: diff, Currency: m.Currency}, nil
}

// MarshalJSON writes the wire form. The number travels as text, because JSON readers make doubles of
// numbers.
func (m Money) MarshalJSON() ([]byte, error) {
	out := strconv.AppendInt([]byte(`{"amountMicros":"`), m.Micros, 10)
	out = appendQuoted(append(out, `","currencyCode":`...), string(m.Currency))
	return append(out, '}'), nil
}

// UnmarshalJSON reads the wire form: exactly its two fields, a canonical number (a minus sign is
// allowed here, leading zeros are not) and a known currency.
func (m *Money) UnmarshalJSON(data []byte) error {
	root, problems := parse(data)
	r := &reader{problems: problems}
	o := r.object(root, "")
	micros := o.text("amountMicros", required, ruleSignedMicros)
	code := Currency(o.text("currencyCode", required, ruleCurrency))
	o.refuseUnknown()
	if len(r.problems) > 0 {
		return &Rejection{Reason: ReasonInvalid, Problems: r.problems, subject: "amount"}
	}
	n, _ := strconv.ParseInt(micros, 10, 64) // ruleSignedMicros has parsed it
	*m = Money{Micros: n, Currency: code}
	return nil
}

// rule is the rule that a positive amount of a known currency breaks, or "".
func (m Money) rule() string {
	minor, err := m.Minor()
	switch {
	case err != nil:
		return "must be a whole number of the currency's minor units"
	case minor > MaxMinorUnits:
		return "must be at most 2^53-1 minor units"
	}
	return ""
}
