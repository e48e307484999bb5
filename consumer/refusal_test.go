package consumer

import (
	"testing"
	"time"
)

// An account rests ever longer, and after each rest lets one call through until it is heard of.
func TestAccountRests(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var a account
	for range 2 {
		if !a.enter(now) || a.resting(now) != 0 {
			t.Fatal("an account of which nothing is known rests")
		}
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		if got := a.refused(now); got != want {
			t.Errorf("rests %s, want %s", got, want)
		}
		if got := a.refused(now.Add(time.Second)); got != want-time.Second {
			t.Errorf("another refusal of the same moment: rests %s, want no longer", got)
		}
		if a.enter(now.Add(want-time.Second)) || a.resting(now.Add(want-time.Second)) != time.Second {
			t.Error("asked before the rest was over")
		}
		now = now.Add(want)
		if a.resting(now) != 0 || !a.enter(now) {
			t.Error("no probe after the rest")
		}
		if a.enter(now) || a.resting(now) == 0 {
			t.Error("a second call beside the probe")
		}
	}
	if now = now.Add(probeLimit); !a.enter(now) {
		t.Error("a probe that was never heard of keeps others out for ever")
	}
	if !a.accepted() || a.doubted() {
		t.Error("an answer does not end the doubt")
	}
	for range 2 {
		if a.accepted() || !a.enter(now) {
			t.Error("the account still rests after an answer")
		}
	}
}
