package schemas

import (
	"fmt"
	"math"
	"strings"
)

// ParseDecimal reads a decimal amount such as "10.00" exactly: digits, and at most one point between
// digits. Signs, exponents, spaces and separators are refused. Decimals beyond the currency's are
// refused unless they are zeros, so nothing is ever rounded.
func ParseDecimal(text string, c Currency) (Money, error) {
	exponent, ok := c.Exponent()
	if !ok {
		return Money{}, fmt.Errorf("parse decimal amount: %w", ErrCurrency)
	}
	units, decimals, pointed := strings.Cut(text, ".")
	if !allDigits(units) || pointed && !allDigits(decimals) {
		return Money{}, fmt.Errorf("parse decimal amount in %s: %w", c, ErrDecimal)
	}
	decimals = strings.TrimRight(decimals, "0")
	if len(decimals) > exponent {
		return Money{}, fmt.Errorf("parse decimal amount in %s: %w", c, ErrFraction)
	}
	micros, ok := digitsToInt(units + decimals + strings.Repeat("0", microsDigits-len(decimals)))
	if !ok {
		return Money{}, fmt.Errorf("parse decimal amount in %s: %w", c, ErrRange)
	}
	return Money{Micros: micros, Currency: c}, nil
}

// Decimal is the amount with the currency's decimals, such as "10.00", or "1000" for a currency
// without any. Should the amount be finer than that, it has as many decimals as it takes to be exact.
func (m Money) Decimal() string {
	exponent, _ := m.Currency.Exponent()
	sign, magnitude := "", uint64(m.Micros)
	if m.Micros < 0 {
		sign, magnitude = "-", -magnitude
	}
	decimals := fmt.Sprintf("%06d", magnitude%microsPerUnit)
	kept := max(exponent, len(strings.TrimRight(decimals, "0")))
	text := fmt.Sprintf("%s%d", sign, magnitude/microsPerUnit)
	if kept == 0 {
		return text
	}
	return text + "." + decimals[:kept]
}

// String is the amount for people: "10.00 HKD".
func (m Money) String() string { return m.Decimal() + " " + string(m.Currency) }

func allDigits(text string) bool {
	for _, b := range []byte(text) {
		if b < '0' || b > '9' {
			return false
		}
	}
	return text != ""
}

func digitsToInt(digits string) (n int64, ok bool) {
	for _, b := range []byte(digits) {
		d := int64(b - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
