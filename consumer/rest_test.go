package consumer

import (
	"testing"
	"time"
)

// A provider that refuses is left alone ever longer, and after each rest one call asks until it is heard of.
func TestRestGrowsAndEndsWithAProbe(t *testing.T) {
	now := noon
	r := rest{floor: time.Minute, most: 15 * time.Minute}
	for range 2 {
		if _, ok := r.enter(now); !ok || r.room(now) != unbounded {
			t.Fatal("a provider of which nothing is known is left alone")
		}
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		if got, began := r.refused(now, 0); got != want || !began {
			t.Errorf("rests %s (begun: %t), want %s", got, began, want)
		}
		if got, began := r.refused(now.Add(time.Second), 0); got != want-time.Second || began {
			t.Errorf("another refusal of the same moment: rests %s (begun: %t), want no longer", got, began)
		}
		now = now.Add(want - time.Nanosecond)
		if _, ok := r.enter(now); ok || r.room(now) != 0 {
			t.Error("asked before the rest was over")
		}
		now = now.Add(time.Nanosecond)
		if got := r.room(now); got != 1 {
			t.Errorf("room for %d after the rest, want the probe alone", got)
		}
		end, ok := r.enter(now)
		if !ok {
			t.Fatal("no probe after the rest")
		}
		if _, ok := r.enter(now); ok || r.room(now) != 0 {
			t.Error("a second call beside the probe")
		}
		end(silent)
		if _, ok := r.enter(now); !ok {
			t.Error("a probe that made no call keeps others out for ever")
		}
	}
	if !r.doubted() || !r.accepted(now) || r.doubted() {
		t.Error("an answer does not end the doubt")
	}
	for range 2 {
		if _, ok := r.enter(now); !ok || r.accepted(now) {
			t.Error("the provider is still left alone after an answer")
		}
	}
	if got, _ := r.refused(now, 0); got != time.Minute {
		t.Errorf("rests %s the next time, want the first rest again", got)
	}
}

// A provider may say how long it wants no calls. It is believed, up to a bound, and the longest wish counts.
func TestRestAsAsked(t *testing.T) {
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
			r := rest{floor: time.Second, most: time.Minute}
			for _, wish := range test.wishes {
				r.refused(noon, wish)
			}
			if r.room(noon.Add(test.want-time.Nanosecond)) != 0 {
				t.Errorf("asked before %s", test.want)
			}
			if r.room(noon.Add(test.want)) != 1 {
				t.Errorf("not asked after %s", test.want)
			}
		})
	}
}

// Calls that began before a provider wanted no more are answered while it is left alone. That ends nothing: it has said so
// since. Credentials that are taken are good, whenever the call began.
func TestAnswersFromBeforeARest(t *testing.T) {
	b := newBrakes(Instance{Name: "test", RetryAfterMax: time.Minute, Breaker: fused(nowhere).cfg}, nowhere)
	for name, test := range map[string]struct {
		rest *rest
		want int
	}{"quota": {&b.quota, 0}, "account": {&b.account, unbounded}} {
		test.rest.refused(noon, time.Minute)
		test.rest.accepted(noon.Add(time.Second))
		if got := test.rest.room(noon.Add(time.Second)); got != test.want {
			t.Errorf("%s: room for %d, want %d", name, got, test.want)
		}
	}
	if !b.quota.accepted(noon.Add(time.Minute)) {
		t.Error("the probe's answer does not end the rest")
	}
}

// A probe is refused and still on its way out when the next one asks. Its end does not let a third one through.
func TestLateEndOfAProbe(t *testing.T) {
	r := rest{floor: time.Second, most: time.Second}
	r.refused(noon, 0)
	first, ok := r.enter(noon.Add(time.Second))
	if !ok {
		t.Fatal("no probe after the rest")
	}
	r.refused(noon.Add(time.Second), 0)
	if _, ok := r.enter(noon.Add(2 * time.Second)); !ok {
		t.Fatal("no probe after the second rest")
	}
	first(silent)
	if _, ok := r.enter(noon.Add(2 * time.Second)); ok {
		t.Error("a second call beside the probe")
	}
}
