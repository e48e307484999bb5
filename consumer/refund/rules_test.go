package refund

import (
	"math"
	"testing"
	"time"

	"refundworker/providers"
	"refundworker/schemas"
)

func TestBackoffDelay(t *testing.T) {
	usual := Backoff{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.5}
	tests := []struct {
		name   string
		b      Backoff
		n      int
		spread float64
		want   time.Duration
	}{
		{"the first round waits the initial delay", usual, 1, 0.5, time.Second},
		{"no round yet is the first", usual, 0, 0.5, time.Second},
		{"each round doubles", usual, 4, 0.5, 8 * time.Second},
		{"the last one below the maximum", usual, 10, 0.5, 512 * time.Second},
		{"the maximum holds", usual, 11, 0.5, 15 * time.Minute},
		{"no number of rounds overflows", usual, math.MaxInt, 0.5, 15 * time.Minute},
		{"a huge multiplier does not overflow", Backoff{Initial: time.Hour, Max: 24 * time.Hour, Multiplier: 1e9}, 64, 0.5,
			24 * time.Hour},
		{"the least jitter", usual, 4, 0, 4 * time.Second},
		{"the most jitter", usual, 4, 1, 12 * time.Second},
		{"without jitter the spread does not matter", Backoff{Initial: time.Second, Max: time.Minute, Multiplier: 2}, 3, 1,
			4 * time.Second},
		{"a multiplier of one stays", Backoff{Initial: time.Second, Max: time.Minute, Multiplier: 1}, 50, 0.5, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.b.delay(test.n, test.spread); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestDeferral(t *testing.T) {
	hongKong := providers.Capabilities{DayEnd: zone(t, "Asia/Hong_Kong")}
	tests := []struct {
		name      string
		reason    schemas.Reason
		after     time.Duration
		deferrals int
		want      time.Duration
	}{
		{"the provider's own wish counts", schemas.ReasonDayEnd, 90 * time.Second, 7, 90 * time.Second},
		{"up to a day", schemas.ReasonProviderBusy, 200 * time.Hour, 0, 24 * time.Hour},
		{"the day ends in Hong Kong, 20:00 there", schemas.ReasonDayEnd, 0, 0, 4*time.Hour + 30*time.Minute},
		{"a balance is looked at hourly first", schemas.ReasonInsufficientBalance, 0, 0, time.Hour},
		{"then less often", schemas.ReasonInsufficientBalance, 0, 3, 8 * time.Hour},
		{"then daily", schemas.ReasonInsufficientBalance, 0, 5, 24 * time.Hour},
		{"and daily ever after", schemas.ReasonInsufficientBalance, 0, math.MaxInt, 24 * time.Hour},
		{"a busy provider gets a minute", schemas.ReasonProviderBusy, 0, 0, time.Minute},
		{"then more", schemas.ReasonProviderBusy, 0, 4, 16 * time.Minute},
		{"and an hour at most", schemas.ReasonProviderBusy, 0, math.MaxInt, time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := providers.Result{Status: providers.NotNow, Reason: test.reason, After: test.after}
			if got := deferral(r, hongKong, test.deferrals, noon).Sub(noon); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestNextDay(t *testing.T) {
	tests := []struct{ name, zone, now, want string }{
		{"without a zone the day is UTC's", "", "2026-11-21T10:00:00Z", "2026-11-22T00:30:00Z"},
		{"Hong Kong, its evening", "Asia/Hong_Kong", "2026-11-21T12:00:00Z", "2026-11-21T16:30:00Z"},
		{"Hong Kong, already tomorrow there", "Asia/Hong_Kong", "2026-11-21T16:00:00Z", "2026-11-22T16:30:00Z"},
		{"Hong Kong, a minute before midnight", "Asia/Hong_Kong", "2026-11-21T15:59:00Z", "2026-11-21T16:30:00Z"},
		{"the last day of a year", "Asia/Hong_Kong", "2026-12-31T12:00:00Z", "2026-12-31T16:30:00Z"},
		{"the night in which summer time begins", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-28T23:30:00Z"},
		{"the day of 23 hours", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-29T22:30:00Z"},
		{"the day of 25 hours", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-25T23:30:00Z"},
		{"a zone whose clock jumps at midnight", "America/Asuncion", "2024-10-05T12:00:00Z", "2024-10-06T04:30:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, test.now)
			if err != nil {
				t.Fatal(err)
			}
			var z *time.Location
			if test.zone != "" {
				z = zone(t, test.zone)
			}
			got := nextDay(now, z)
			if text := got.Format(time.RFC3339); text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
			if !got.After(now) {
				t.Errorf("%s is not after %s", got, now)
			}
		})
	}
}
