package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/consumer/brakes"
)

// braked are the settings of one scripted provider with brakes.
func braked(brakes string) string {
	return `{"providers":[{"name":"try","type":"scripted","scripted":{},` + brakes + `}]}`
}

// Every brake that the settings can name arrives at the worker as it was written.
func TestSettingsOfBrakes(t *testing.T) {
	s, problems := load(t, braked(`"breaker":{"off":true,"consecutive":7,"percent":40,"calls":9,"interval":"10s","open":"2s","probes":1},
"rate":{"perSecond":50,"fleetPerSecond":200,"retryAfterMax":"90s"},
"velocity":[{"window":"1m","count":100},
 {"window":"24h","amount":{"amountMicros":"5000000000","currencyCode":"HKD"},"dryRun":true},
 {"window":"1h","currencyCode":"USD","count":20},
 {"window":"1h","currencyCode":"JPY","count":5,"amount":{"amountMicros":"9000000","currencyCode":"JPY"}}]`), nil, overrides{})
	if problems != nil {
		t.Fatalf("problems are %q, want none", problems)
	}
	in := s.worker.Instances[0]
	if want := (brakes.Breaker{Off: true, Consecutive: 7, Percent: 40, Calls: 9, Interval: 10 * time.Second, Open: 2 * time.Second,
		Probes: 1}); in.Breaker != want {
		t.Errorf("breaker is %+v, want %+v", in.Breaker, want)
	}
	if in.PerSecond != 50 || in.FleetPerSecond != 200 || in.RetryAfterMax != 90*time.Second {
		t.Errorf("rates are %d and %d with rests of %s, want 50, 200 and 1m30s", in.PerSecond, in.FleetPerSecond, in.RetryAfterMax)
	}
	want := []consumer.Velocity{{Window: time.Minute, Count: 100},
		{Window: 24 * time.Hour, Currency: "HKD", Micros: 5_000_000_000, DryRun: true},
		{Window: time.Hour, Currency: "USD", Count: 20},
		{Window: time.Hour, Currency: "JPY", Count: 5, Micros: 9_000_000}}
	if !slices.Equal(in.Velocity, want) {
		t.Errorf("velocity is %+v, want %+v", in.Velocity, want)
	}
}

// What is wrong with a brake is told once, at its place, and all of it at once.
func TestSettingsTellWhatIsWrongWithBrakes(t *testing.T) {
	const amount = "must be an amount such as"
	for _, row := range []struct {
		brakes string
		want   []string
	}{
		{`"breaker":{"off":1,"consecutive":0,"percent":101,"open":"1h","trips":1}`, []string{
			"providers[0].breaker.off: must be true or false", "providers[0].breaker.consecutive: must be at least 1",
			"providers[0].breaker.trips: unknown key", `provider "try": breaker.percent is 101`, `provider "try": breaker.open is 1h0m0s`}},
		{`"breaker":[]`, []string{"providers[0].breaker: must be a JSON object"}},
		{`"rate":{"fleetPerSecond":0,"retryAfterMax":"2h"}`, []string{
			"providers[0].rate.fleetPerSecond: must be at least 1", `provider "try": rate.retryAfterMax is 2h0m0s`}},
		{`"velocity":{"window":"1m","count":1}`, []string{"providers[0].velocity: must be a list of objects"}},
		{`"velocity":[{"window":60,"count":1.5,"amount":5,"max":1},{"window":"8d","count":1},{"count":1},{"window":"1m"}]`, []string{
			"providers[0].velocity[0].window: must be a duration", "providers[0].velocity[0].count: must be a whole number",
			"providers[0].velocity[0].amount: " + amount, "providers[0].velocity[0].max: unknown key",
			"providers[0].velocity[1].window: must be a positive duration",
			`provider "try": velocity[2]: window is 0s`, `provider "try": velocity[3]: bounds neither`}},
		{`"velocity":[{"window":"1m","currencyCode":"USD","amount":{"amountMicros":"1000000","currencyCode":"HKD"}},
			{"window":"1m","amount":{"amountMicros":"0","currencyCode":"HKD"}},
			{"window":"1m","amount":{"amountMicros":"-1000000","currencyCode":"HKD"}},
			{"window":"1m","amount":{"amountMicros":1000000,"currencyCode":"HKD"}},
			{"window":"1m","amount":{"amountMicros":"1000000"}},
			{"window":"1m","amount":{"amountMicros":"1000000","currencyCode":"HKK"}},
			{"window":"1m","amount":{"amountMicros":"5000","currencyCode":"HKD"}},
			{"window":"1m","currencyCode":"HKK","count":1}]`, []string{
			"providers[0].velocity[0].currencyCode: must be the currency of amount, HKD",
			"providers[0].velocity[1].amount: must be positive", "providers[0].velocity[2].amount: must be positive",
			"providers[0].velocity[3].amount: " + amount, "providers[0].velocity[4].amount: " + amount,
			"providers[0].velocity[5].amount: " + amount, `provider "try": velocity[6]: amount is 5000 micros`,
			`provider "try": velocity[7]: currency "HKK"`}},
	} {
		_, got := load(t, braked(row.brakes), nil, overrides{})
		for _, want := range row.want {
			if !slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, want) }) {
				t.Errorf("%s: no problem %q", row.brakes, want)
			}
		}
		if len(got) != len(row.want) {
			t.Errorf("%s: %d problems, want %d:\n%s", row.brakes, len(got), len(row.want), strings.Join(got, "\n"))
		}
	}
}
