package brakes

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A provider that refuses is left alone ever longer, and after each cooldown one call goes first until its end is reported.
func TestCooldownGrowsAndEndsWithAProbe(t *testing.T) {
	now := noon
	c := cooldown{why: errAccount, first: time.Minute, longest: 15 * time.Minute}
	for range 2 {
		if _, err := c.admit(now); err != nil || c.room(now) != Unbounded {
			t.Fatal("a provider of which nothing is known is left alone")
		}
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		if got, began := c.begin(now, 0); got != want || !began {
			t.Errorf("cooldown of %s (begun: %t), want %s", got, began, want)
		}
		if got, began := c.begin(now.Add(time.Second), 0); got != want-time.Second || began {
			t.Errorf("another refusal of the same moment: cooldown of %s (begun: %t), want no longer", got, began)
		}
		now = now.Add(want - time.Nanosecond)
		if _, err := c.admit(now); err == nil || c.room(now) != 0 {
			t.Error("a call before the cooldown was over")
		}
		now = now.Add(time.Nanosecond)
		if got := c.room(now); got != 1 {
			t.Errorf("room for %d after the cooldown, want the probe alone", got)
		}
		release, err := c.admit(now)
		if err != nil {
			t.Fatal("no probe after the cooldown")
		}
		if _, err := c.admit(now); err == nil || c.room(now) != 0 {
			t.Error("a second call beside the probe")
		}
		release(silent)
		if _, err := c.admit(now); err != nil {
			t.Error("a probe that made no call keeps others out for ever")
		}
	}
	if !c.isDoubted() || !c.end(now) || c.isDoubted() {
		t.Error("an answer does not end the doubt")
	}
	for range 2 {
		if _, err := c.admit(now); err != nil || c.end(now) {
			t.Error("the provider is still left alone after an answer")
		}
	}
	if got, _ := c.begin(now, 0); got != time.Minute {
		t.Errorf("cooldown of %s the next time, want the first one again", got)
	}
}

// A provider may say how long it wants no calls. It is believed, up to a bound, and the longest wish counts.
func TestCooldownAsAsked(t *testing.T) {
	tests := []struct {
		name   string
		wishes []time.Duration
		want   time.Duration
	}{
		{"without a wish", []time.Duration{0}, time.Second},
		{"as asked", []time.Duration{40 * time.Second}, 40 * time.Second},
		{"no longer than the bound", []time.Duration{86400 * time.Second}, time.Minute},
		{"a longer wish of the same moment", []time.Duration{2 * time.Second, 30 * time.Second}, 30 * time.Second},
		{"a shorter wish of the same moment", []time.Duration{30 * time.Second, 2 * time.Second}, 30 * time.Second},
		{"no wish beside one", []time.Duration{30 * time.Second, 0}, 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := cooldown{why: errQuota, first: time.Second, longest: time.Minute}
			for _, wish := range test.wishes {
				c.begin(noon, wish)
			}
			if c.room(noon.Add(test.want-time.Nanosecond)) != 0 {
				t.Errorf("asked before %s", test.want)
			}
			if c.room(noon.Add(test.want)) != 1 {
				t.Errorf("not asked after %s", test.want)
			}
		})
	}
}

// Calls that began before a provider wanted no more are answered while it is left alone. That ends nothing: it has said so
// since. Credentials that are taken are good, whenever the call began.
func TestAnswersFromBeforeACooldown(t *testing.T) {
	b := testBrakes()
	for name, test := range map[string]struct {
		cooldown *cooldown
		want     int
	}{"quota": {b.quota, 0}, "account": {b.account, Unbounded}} {
		test.cooldown.begin(noon, time.Minute)
		test.cooldown.end(noon.Add(time.Second))
		if got := test.cooldown.room(noon.Add(time.Second)); got != test.want {
			t.Errorf("%s: room for %d, want %d", name, got, test.want)
		}
	}
	if !b.quota.end(noon.Add(time.Minute)) {
		t.Error("the probe's answer does not end the cooldown")
	}
}

// A probe is refused and still on its way out when the next one asks. Its end does not let a third one through.
func TestLateEndOfAProbe(t *testing.T) {
	c := cooldown{why: errQuota, first: time.Second, longest: time.Second}
	c.begin(noon, 0)
	first, err := c.admit(noon.Add(time.Second))
	if err != nil {
		t.Fatal("no probe after the cooldown")
	}
	c.begin(noon.Add(time.Second), 0)
	if _, err := c.admit(noon.Add(2 * time.Second)); err != nil {
		t.Fatal("no probe after the second cooldown")
	}
	first(silent)
	if _, err := c.admit(noon.Add(2 * time.Second)); err == nil {
		t.Error("a second call beside the probe")
	}
}
