package idempotency

import (
	"math"
	"slices"
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// paced is an intent of one unit of HKD stored at a time.
func paced(at time.Time, pace *ledger.Pace, set ...func(*ledger.Entry)) ledger.Entry {
	e := event("a", schemas.KindDispatched, of("4922", 1), func(e *ledger.Entry) {
		e.Hold, e.Stored = &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules, Velocity: pace}, at
	})
	for _, s := range set {
		s(&e)
	}
	return e
}

func worth(m schemas.Money) func(*ledger.Entry) { return func(e *ledger.Entry) { e.Event.Amount = &m } }

func braked(kind schemas.Kind, n int) ledger.Entry {
	return ledger.Entry{Seq: 100, Stored: dayOne, Event: schemas.Event{Kind: kind, Provider: "bank", N: n, OccurredAt: dayOne}}
}

// dayOne is a moment at which windows of a minute and of an hour begin a new part.
var dayOne = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

var (
	twoAMinute   = ledger.Bound{Window: time.Minute, Count: 2}
	tenAMinute   = ledger.Bound{Window: time.Minute, Micros: hkd(10).Micros}
	threeAnHour  = ledger.Bound{Window: time.Hour, Count: 3}
	onlyReported = ledger.Bound{Window: time.Minute, Count: 1, DryRun: true}
)

// A bound is the most that goes ahead within any window: the next one stops the provider, and so do all that follow.
func TestBoundsOfAPace(t *testing.T) {
	type step struct {
		after time.Duration // since dayOne
		worth schemas.Money
		lets  bool
	}
	one, usd := *hkd(1), schemas.Money{Micros: 1_000_000, Currency: "USD"}
	tests := []struct {
		name   string
		bounds []ledger.Bound
		steps  []step
	}{
		{"so many", []ledger.Bound{twoAMinute}, []step{{0, one, true}, {0, one, true}, {0, one, false}, {time.Hour, one, false}}},
		{"so much", []ledger.Bound{tenAMinute}, []step{{0, *hkd(4), true}, {0, *hkd(6), true}, {0, cents(1), false}}},
		{"one that is too much by itself", []ledger.Bound{tenAMinute}, []step{{0, cents(10_01), false}}},
		{"just inside the window", []ledger.Bound{twoAMinute}, []step{{0, one, true}, {999 * time.Millisecond, one, true},
			{60*time.Second + 998*time.Millisecond, one, false}}},
		{"a window after the last, and its sixtieth", []ledger.Bound{twoAMinute}, []step{{0, one, true}, {0, one, true},
			{61 * time.Second, one, true}}},
		{"never earlier than the window", []ledger.Bound{twoAMinute}, []step{{999 * time.Millisecond, one, true},
			{999 * time.Millisecond, one, true}, {60*time.Second + 998*time.Millisecond, one, false}}},
		{"each leaves by itself", []ledger.Bound{twoAMinute}, []step{{0, one, true}, {30 * time.Second, one, true},
			{61 * time.Second, one, true}, {62 * time.Second, one, false}}},
		{"the shorter of two windows", []ledger.Bound{threeAnHour, twoAMinute}, []step{{0, one, true}, {0, one, true}, {0, one, false}}},
		{"the longer of two windows", []ledger.Bound{twoAMinute, threeAnHour}, []step{{0, one, true}, {5 * time.Minute, one, true},
			{10 * time.Minute, one, true}, {15 * time.Minute, one, false}}},
		{"count and sum of one window", []ledger.Bound{twoAMinute, tenAMinute}, []step{{0, *hkd(9), true}, {0, *hkd(2), false}}},
		{"each counted once", []ledger.Bound{twoAMinute, tenAMinute}, []step{{0, *hkd(5), true}, {0, *hkd(5), true}}},
		{"each currency by itself", []ledger.Bound{twoAMinute}, []step{{0, one, true}, {0, one, true}, {0, usd, true}, {0, usd, true},
			{0, usd, false}, {0, one, false}}},
		{"a clock that was ahead", []ledger.Bound{twoAMinute}, []step{{time.Minute, one, true}, {0, one, true}, {0, one, false}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var v ledger.Velocity
			for i, s := range test.steps {
				e := paced(dayOne.Add(s.after), &ledger.Pace{Bounds: test.bounds}, worth(s.worth))
				e.Seq = uint64(i + 1)
				v = readVelocity(velocityText(v)) // as it is stored between any two
				if got := v.Admit(e); got != s.lets {
					t.Fatalf("step %d: %t, want %t; %s", i, got, s.lets, velocityText(v))
				}
			}
		})
	}
}

// A window is never shorter than it should be, whatever its length, and at most one of its sixty parts longer, which are
// whole milliseconds.
func TestWindowsAreNeverTooShort(t *testing.T) {
	for _, window := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour, time.Second, 7 * time.Second,
		1019 * time.Millisecond, 119 * time.Second} {
		pace := &ledger.Pace{Bounds: []ledger.Bound{{Window: window, Count: 1}}}
		longest := 61 * time.Duration(math.Ceil(float64(window.Milliseconds())/60)) * time.Millisecond
		for _, begin := range []time.Duration{0, time.Millisecond, window/ledger.WindowParts - time.Millisecond, window / 3} {
			at := dayOne.Add(begin)
			for after, want := range map[time.Duration]bool{window - time.Millisecond: false, longest: true} {
				var v ledger.Velocity
				if !v.Admit(paced(at, pace)) {
					t.Fatalf("%s: the first one does not go ahead", window)
				}
				if got := v.Admit(paced(at.Add(after), pace)); got != want {
					t.Errorf("window %s, %s after one at %s: %t, want %t", window, after, begin, got, want)
				}
			}
		}
	}
}

// A bound of a dry run is only reported, exempt refunds are not counted, and who asks for no pace is not held up.
func TestWhatIsNotBounded(t *testing.T) {
	var v ledger.Velocity
	dry, exempt := &ledger.Pace{Bounds: []ledger.Bound{onlyReported}}, &ledger.Pace{Exempt: true}
	for i := range 5 {
		if !v.Admit(paced(dayOne, dry)) || !v.Admit(paced(dayOne, exempt)) || !v.Admit(paced(dayOne, nil)) {
			t.Fatalf("round %d: something is held up: %s", i, velocityText(v))
		}
	}
	look := lookOf(v, dayOne)
	counted := WindowLook{Currency: "HKD", Window: time.Minute, Count: 5, Micros: hkd(5).Micros}
	if look.Stopped || look.Dry != 4 || len(look.Windows) != 1 || look.Windows[0] != counted {
		t.Errorf("looks %+v, want 5 counted in one window, 4 of them past the bound", look)
	}
}

// Passing a bound stops the provider at once. The event says so afterwards, and only a start that answers it lifts the
// stop: once, by its number.
func TestStopAndStart(t *testing.T) {
	pace, exempt := &ledger.Pace{Bounds: []ledger.Bound{twoAMinute}}, &ledger.Pace{Exempt: true}
	var v ledger.Velocity
	seq := uint64(0)
	numbered := func(e *ledger.Entry) { seq++; e.Seq = seq }
	lets := func(want bool) {
		t.Helper()
		if got := v.Admit(paced(dayOne, pace, numbered)); got != want {
			t.Fatalf("goes ahead: %t, want %t; %s", got, want, velocityText(v))
		}
	}
	stopped := func(want VelocityLook) {
		t.Helper()
		got := lookOf(readVelocity(velocityText(v)), dayOne)
		if got.Stopped != want.Stopped || got.Said.IsZero() != want.Said.IsZero() || got.Stop != want.Stop || got.Window != want.Window {
			t.Fatalf("looks %+v, want %+v", got, want)
		}
	}
	lets(true)
	lets(true)
	lets(false)
	stopped(VelocityLook{Stopped: true, Window: time.Minute})
	if v.Admit(paced(dayOne, exempt)) || v.Admit(paced(dayOne, pace, worth(schemas.Money{Micros: 1, Currency: "USD"}))) {
		t.Fatal("a stop lets exempt refunds through, or those of another currency")
	}
	v.Hear(braked(schemas.KindStarted, 0))
	v.Hear(braked(schemas.KindStarted, 1)) // there is nothing to answer yet
	stopped(VelocityLook{Stopped: true, Window: time.Minute})
	v.Hear(braked(schemas.KindStopped, 1))
	stopped(VelocityLook{Stopped: true, Said: dayOne, Stop: 1, Window: time.Minute})
	v.Hear(braked(schemas.KindStarted, 2))
	stopped(VelocityLook{Stopped: true, Said: dayOne, Stop: 1, Window: time.Minute})
	v.Hear(braked(schemas.KindStarted, 1))
	stopped(VelocityLook{Stop: 1})
	if got := lookOf(v, dayOne).Started; !got.Equal(dayOne) {
		t.Errorf("started at %s, want %s", got, dayOne)
	}
	lets(true) // and the windows begin anew
	lets(true)
	lets(false)
	v.Hear(braked(schemas.KindStarted, 1)) // the answer to the last stop, once more
	v.Hear(braked(schemas.KindStopped, 1)) // an old stop, once more
	stopped(VelocityLook{Stopped: true, Stop: 1, Window: time.Minute})
	v.Hear(braked(schemas.KindStopped, 2))
	v.Hear(braked(schemas.KindStarted, 1))
	stopped(VelocityLook{Stopped: true, Said: dayOne, Stop: 2, Window: time.Minute})
	v.Hear(braked(schemas.KindStarted, 2))
	lets(true)
	v.Hear(braked(schemas.KindStopped, 3)) // by hand, with no bound passed
	stopped(VelocityLook{Stopped: true, Said: dayOne, Stop: 3})
	lets(false)
	v = ledger.Velocity{}
	v.Hear(braked(schemas.KindStarted, 4)) // whose stop has aged out of the journal
	v.Hear(braked(schemas.KindStopped, 4))
	stopped(VelocityLook{Stop: 4})
	later := braked(schemas.KindStopped, 5)
	v.Hear(later)
	later.Stored = dayOne.Add(7 * 24 * time.Hour)
	v.Hear(later) // said again, before it ages out
	if got := lookOf(v, dayOne).Said; !got.Equal(later.Stored) {
		t.Errorf("last said at %s, want %s", got, later.Stored)
	}
}

var paces = []struct {
	pace ledger.Pace
	text string
}{
	{ledger.Pace{Exempt: true}, "-"},
	{ledger.Pace{Bounds: []ledger.Bound{twoAMinute}}, "60000:2:0"},
	{ledger.Pace{Bounds: []ledger.Bound{tenAMinute, {Window: time.Hour, Count: 5, Micros: 7, DryRun: true}}},
		"60000:0:10000000,~3600000:5:7"},
}

func TestPaceTravelsAsText(t *testing.T) {
	for _, test := range paces {
		if got := test.pace.String(); got != test.text {
			t.Errorf("%+v is written %q, want %q", test.pace, got, test.text)
		}
		got, ok := ledger.ParsePace(test.text)
		if !ok || got.Exempt != test.pace.Exempt || !slices.Equal(got.Bounds, test.pace.Bounds) {
			t.Errorf("%q is read as %+v, %t; want %+v", test.text, got, ok, test.pace)
		}
	}
	for _, text := range []string{"", " ", "60000", "60000:2", "60000:2:0:1", "60000:2:0,", ",60000:2:0", "60000:-1:0",
		"60000:1:-1", "-60000:1:1", "59:1:1", "31622400001:1:1", "60000:a:0", "~", "~~60000:1:0", "60000:99999999999999999999:0", "--"} {
		if got, ok := ledger.ParsePace(text); ok {
			t.Errorf("%q is read as %+v, want a refusal", text, got)
		}
	}
}

// What is read is written again as what reads the same.
func FuzzParsePace(f *testing.F) {
	for _, test := range paces {
		f.Add(test.text)
	}
	f.Add("~60000:1:9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		pace, ok := ledger.ParsePace(text)
		if !ok {
			return
		}
		again, ok := ledger.ParsePace(pace.String())
		if !ok || again.Exempt != pace.Exempt || !slices.Equal(again.Bounds, pace.Bounds) {
			t.Errorf("%q is read as %+v, written %q and read as %+v, %t", text, pace, pace.String(), again, ok)
		}
		for _, b := range pace.Bounds {
			if b.Window <= 0 || b.Count < 0 || b.Micros < 0 {
				t.Errorf("%q has the bound %+v", text, b)
			}
		}
	})
}
