package schemas

import "strings"

// Currency is an ISO 4217 alphabetic code.
type Currency string

// exponents is ISO 4217 list one as published on 2026-01-01: the decimals of every currency and fund
// that has a minor unit. Metals, drawing rights and test codes have none and are not money here.
var exponents = exponentTable(map[int]string{
	0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
	2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF " +
		"CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD " +
		"GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL " +
		"MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR " +
		"PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP " +
		"TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
	3: "BHD IQD JOD KWD LYD OMR TND",
	4: "CLF UYW",
})

func exponentTable(lists map[int]string) map[Currency]int {
	table := make(map[Currency]int)
	for exponent, codes := range lists {
		for code := range strings.FieldsSeq(codes) {
			table[Currency(code)] = exponent
		}
	}
	return table
}

// Exponent is the number of decimals of the currency's minor unit, and whether the currency is known.
func (c Currency) Exponent() (int, bool) {
	exponent, ok := exponents[c]
	return exponent, ok
}

// microsPerMinor is how many micros a minor unit has.
func (c Currency) microsPerMinor() (int64, error) {
	exponent, ok := c.Exponent()
	if !ok {
		return 0, ErrCurrency
	}
	scale := int64(microsPerUnit)
	for range exponent {
		scale /= 10
	}
	return scale, nil
}
