package schemas

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
)

func TestExponents(t *testing.T) {
	if got, want := len(exponents), 165; got != want {
		t.Errorf("the table has %d currencies, want %d", got, want)
	}
	for currency, want := range map[Currency]int{"HKD": 2, "USD": 2, "MGA": 2, "MRU": 2, "ISK": 0, "JPY": 0, "KRW": 0,
		"UGX": 0, "BHD": 3, "IQD": 3, "KWD": 3, "TND": 3, "CLF": 4, "UYW": 4, "ZWG": 2, "XCG": 2} {
		if got, ok := currency.Exponent(); got != want || !ok {
			t.Errorf("%s: got %d, %v; want %d", currency, got, ok, want)
		}
	}
	for _, currency := range []Currency{"", "XAU", "XDR", "XXX", "XTS", "BGN", "HRK", "hkd", "HK"} {
		if _, ok := currency.Exponent(); ok {
			t.Errorf("%q is known, want unknown", currency)
		}
	}
}

func TestMinorUnits(t *testing.T) {
	for _, row := range []struct {
		minor    int64
		currency Currency
		micros   int64
	}{
		{1000, "HKD", 10_000_000}, {-1, "HKD", -10_000}, {7, "JPY", 7_000_000}, {1234, "KWD", 1_234_000},
		{1, "CLF", 100}, {0, "EUR", 0}, {922337203685477, "USD", 9223372036854770000},
	} {
		m, err := MoneyFromMinor(row.minor, row.currency)
		if want := (Money{row.micros, row.currency}); err != nil || m != want {
			t.Errorf("%d %s: got %v, %v; want %v", row.minor, row.currency, m, err, want)
		}
		if minor, err := m.Minor(); err != nil || minor != row.minor {
			t.Errorf("%v: got %d, %v; want %d", m, minor, err, row.minor)
		}
	}
}

func TestMinorUnitsRefused(t *testing.T) {
	for _, row := range []struct {
		minor    int64
		currency Currency
		want     error
	}{
		{1, "", ErrCurrency}, {1, "XAU", ErrCurrency}, {922337203685478, "USD", ErrRange},
		{-922337203685478, "USD", ErrRange}, {math.MaxInt64, "JPY", ErrRange}, {math.MinInt64, "CLF", ErrRange},
	} {
		if m, err := MoneyFromMinor(row.minor, row.currency); !errors.Is(err, row.want) {
			t.Errorf("%d %q: got %v, %v; want %v", row.minor, row.currency, m, err, row.want)
		}
	}
	for _, row := range []struct {
		money Money
		want  error
	}{
		{Money{5000, "HKD"}, ErrFraction}, {Money{10_000, "JPY"}, ErrFraction}, {Money{1, "ZZZ"}, ErrCurrency}, {Money{}, ErrCurrency},
	} {
		if minor, err := row.money.Minor(); !errors.Is(err, row.want) {
			t.Errorf("%+v: got %d, %v; want %v", row.money, minor, err, row.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, row := range []struct {
		text     string
		currency Currency
		micros   int64
		decimal  string
	}{
		{"10.00", "HKD", 10_000_000, "10.00"}, {"10", "HKD", 10_000_000, "10.00"}, {"0.1", "HKD", 100_000, "0.10"},
		{"0.01000000000", "HKD", 10_000, "0.01"}, {"007.50", "HKD", 7_500_000, "7.50"}, {"1000", "JPY", 1_000_000_000, "1000"},
		{"1000.00", "JPY", 1_000_000_000, "1000"}, {"1.234", "KWD", 1_234_000, "1.234"}, {"0.0001", "CLF", 100, "0.0001"},
		{"9223372036854.77", "HKD", 9223372036854770000, "9223372036854.77"}, {"0", "HKD", 0, "0.00"},
	} {
		m, err := ParseDecimal(row.text, row.currency)
		if want := (Money{row.micros, row.currency}); err != nil || m != want {
			t.Errorf("%q %s: got %v, %v; want %v", row.text, row.currency, m, err, want)
		}
		if got := m.Decimal(); got != row.decimal {
			t.Errorf("%q %s: got decimal %q, want %q", row.text, row.currency, got, row.decimal)
		}
	}
}

func TestDecimalRefused(t *testing.T) {
	for _, row := range []struct {
		text     string
		currency Currency
		want     error
	}{
		{"", "HKD", ErrDecimal}, {".", "HKD", ErrDecimal}, {".5", "HKD", ErrDecimal}, {"5.", "HKD", ErrDecimal},
		{"1.0.0", "HKD", ErrDecimal}, {"+1", "HKD", ErrDecimal}, {"-1", "HKD", ErrDecimal}, {"1e400", "HKD", ErrDecimal},
		{" 1", "HKD", ErrDecimal}, {"1 ", "HKD", ErrDecimal}, {"1,000", "HKD", ErrDecimal}, {"0x1", "HKD", ErrDecimal},
		{"1_0", "HKD", ErrDecimal}, {"١", "HKD", ErrDecimal}, {"NaN", "HKD", ErrDecimal},
		{"0.005", "HKD", ErrFraction}, {"1.2345", "KWD", ErrFraction}, {"1.5", "JPY", ErrFraction},
		{"9223372036854.78", "HKD", ErrRange}, {"99999999999999999999999", "HKD", ErrRange}, {"1", "XAU", ErrCurrency},
	} {
		if m, err := ParseDecimal(row.text, row.currency); !errors.Is(err, row.want) {
			t.Errorf("%q %s: got %v, %v; want %v", row.text, row.currency, m, err, row.want)
		}
	}
}

func TestDecimalOfAnyAmount(t *testing.T) {
	for _, row := range []struct {
		money Money
		want  string
	}{
		{Money{5000, "HKD"}, "0.005 HKD"}, {Money{-10_000, "HKD"}, "-0.01 HKD"}, {Money{1, "JPY"}, "0.000001 JPY"},
		{Money{math.MinInt64, "HKD"}, "-9223372036854.775808 HKD"}, {Money{10_000_000, "HKD"}, "10.00 HKD"},
	} {
		if got := row.money.String(); got != row.want {
			t.Errorf("%d %s: got %q, want %q", row.money.Micros, row.money.Currency, got, row.want)
		}
	}
}

func TestMoneyArithmetic(t *testing.T) {
	hkd := func(micros int64) Money { return Money{micros, "HKD"} }
	for _, row := range []struct {
		a, b, sum, diff Money
		sumErr, diffErr error
	}{
		{a: hkd(3), b: hkd(2), sum: hkd(5), diff: hkd(1)},
		{a: hkd(3), b: hkd(0), sum: hkd(3), diff: hkd(3)},
		{a: hkd(2), b: hkd(-3), sum: hkd(-1), diff: hkd(5)},
		{a: hkd(math.MaxInt64), b: hkd(1), sumErr: ErrRange, diff: hkd(math.MaxInt64 - 1)},
		{a: hkd(math.MinInt64), b: hkd(1), sum: hkd(math.MinInt64 + 1), diffErr: ErrRange},
		{a: hkd(0), b: hkd(math.MinInt64), sum: hkd(math.MinInt64), diffErr: ErrRange},
		{a: hkd(1), b: Money{1, "USD"}, sumErr: ErrCurrency, diffErr: ErrCurrency},
	} {
		if got, err := row.a.Add(row.b); got != row.sum || !errors.Is(err, row.sumErr) {
			t.Errorf("%v + %v: got %v, %v; want %v, %v", row.a, row.b, got, err, row.sum, row.sumErr)
		}
		if got, err := row.a.Sub(row.b); got != row.diff || !errors.Is(err, row.diffErr) {
			t.Errorf("%v - %v: got %v, %v; want %v, %v", row.a, row.b, got, err, row.diff, row.diffErr)
		}
	}
	if hkd(1).Equal(Money{1, "USD"}) || !hkd(1).Equal(hkd(1)) {
		t.Error("amounts are equal when amount and currency are")
	}
}

func TestMoneyJSON(t *testing.T) {
	want := `{"amountMicros":"15000000","currencyCode":"HKD"}`
	got, err := json.Marshal(Money{15_000_000, "HKD"})
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, text := range []string{want, `{"currencyCode":"HKD","amountMicros":"-1"}`, `{"currencyCode":"HKD","amountMicros":"0"}`} {
		var m Money
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{}`, `"1"`, `1`, `{"amountMicros":1,"currencyCode":"HKD"}`, `{"amountMicros":"01","currencyCode":"HKD"}`,
		`{"amountMicros":"-0","currencyCode":"HKD"}`, `{"amountMicros":"1","currencyCode":"XXX"}`, `{"amountMicros":"1","currencyCode":"HKD","x":1}`,
		`{"amountMicros":"1","amountMicros":"2","currencyCode":"HKD"}`, `{"amountMicros":"9223372036854775808","currencyCode":"HKD"}`} {
		m := Money{7, "USD"}
		if err := json.Unmarshal([]byte(text), &m); err == nil {
			t.Errorf("%s: got %v, want an error", text, m)
		}
		if m != (Money{7, "USD"}) {
			t.Errorf("%s: changed the amount to %v", text, m)
		}
	}
}
