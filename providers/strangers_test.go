package providers

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// knocks plays requests against a clock that only the test moves.
type knocks struct {
	Strangers
	at time.Time
}

func newKnocks() *knocks {
	k := &knocks{at: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	k.clock = func() time.Time { return k.at }
	return k
}

func from(address string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = address
	return r
}

// fail has an address fail n times.
func (k *knocks) fail(address string, n int) {
	for range n {
		k.Failed(from(address))
	}
}

const (
	stranger = "192.0.2.1:1000"
	other    = "192.0.2.2:1000"
)

// Each row is what happens at an address in the order told, and whether a request from stranger is then turned away.
func TestWhoFailsTooOftenIsBarred(t *testing.T) {
	tests := []struct {
		name string
		play func(k *knocks)
		want bool
	}{
		{"nobody knocked", func(*knocks) {}, false},
		{"29 failures", func(k *knocks) { k.fail(stranger, 29) }, false},
		{"30 failures", func(k *knocks) { k.fail(stranger, 30) }, true},
		{"30 failures from several ports", func(k *knocks) { k.fail(stranger, 15); k.fail("192.0.2.1:9", 15) }, true},
		{"another's failures", func(k *knocks) { k.fail(other, 100) }, false},
		{"just under 2 s later", func(k *knocks) { k.fail(stranger, 30); k.at = k.at.Add(1999 * time.Millisecond) }, true},
		{"2 s later", func(k *knocks) { k.fail(stranger, 30); k.at = k.at.Add(2 * time.Second) }, false},
		{"2 s later, once more", func(k *knocks) {
			k.fail(stranger, 30)
			k.at = k.at.Add(2 * time.Second)
			k.fail(stranger, 1)
		}, true},
		{"failures beyond the last do not add up", func(k *knocks) { k.fail(stranger, 1000); k.at = k.at.Add(2 * time.Second) }, false},
		{"an hour later, at the next failure of anybody", func(k *knocks) {
			k.fail(stranger, 30)
			k.at = k.at.Add(strangersAge + time.Second)
			k.fail(other, 1)
		}, false},
	}
	for _, tt := range tests {
		k := newKnocks()
		tt.play(k)
		if got := k.Barred(from(stranger)); got != tt.want {
			t.Errorf("%s: barred is %t, want %t", tt.name, got, tt.want)
		}
	}
}

// Behind a proxy that ends TLS all senders have one address. One who verified there keeps it open for ten minutes, so
// that a flood of strangers does not shut out the results of refunds.
func TestWhoVerifiedLatelyIsNeverBarred(t *testing.T) {
	tests := []struct {
		name string
		play func(k *knocks)
		want bool
	}{
		{"verified before the failures", func(k *knocks) { k.Verified(from(stranger)); k.fail(stranger, 100) }, false},
		{"verified while the failures go on", func(k *knocks) { k.fail(stranger, 100); k.Verified(from(stranger)) }, false},
		{"verified from another port", func(k *knocks) { k.Verified(from("192.0.2.1:9")); k.fail(stranger, 100) }, false},
		{"another verified", func(k *knocks) { k.Verified(from(other)); k.fail(stranger, 30) }, true},
		{"just under ten minutes ago", func(k *knocks) {
			k.Verified(from(stranger))
			k.at = k.at.Add(10*time.Minute - time.Nanosecond)
			k.fail(stranger, 30)
		}, false},
		{"ten minutes ago", func(k *knocks) {
			k.Verified(from(stranger))
			k.at = k.at.Add(10 * time.Minute)
			k.fail(stranger, 30)
		}, true},
		{"again since then", func(k *knocks) {
			k.Verified(from(stranger))
			k.at = k.at.Add(5 * time.Minute)
			k.Verified(from(stranger))
			k.at = k.at.Add(5 * time.Minute)
			k.fail(stranger, 30)
		}, false},
	}
	for _, tt := range tests {
		k := newKnocks()
		tt.play(k)
		if got := k.Barred(from(stranger)); got != tt.want {
			t.Errorf("%s: barred is %t, want %t", tt.name, got, tt.want)
		}
	}
}

// One sender usually owns a whole /64, and the same IPv4 address may be written in two ways.
func TestSourcesAreAddressesWithoutPorts(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1", true},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:2", true},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", false},
		{"@", "@", true},
		{"@", "192.0.2.1:1", false},
	}
	for _, tt := range tests {
		if same := source(from(tt.a)) == source(from(tt.b)); same != tt.same {
			t.Errorf("%s and %s are one source: %t, want %t", tt.a, tt.b, same, tt.same)
		}
	}
}

// A flood from everywhere costs a bounded memory. Who failed before it is counted anew, and goes on being counted.
func TestMemoryOfStrangersIsBounded(t *testing.T) {
	k := newKnocks()
	for i := range strangersMax + 1 {
		address := strconv.Itoa(i)
		k.Failed(from(address))
		k.Verified(from(address))
		if len(k.failed) > strangersMax || len(k.verified) > strangersMax {
			t.Fatalf("after %d sources %d and %d are remembered, want at most %d", i+1, len(k.failed), len(k.verified), strangersMax)
		}
	}
	for i := range strangersMax - 1 { // full again, without one too many
		k.Failed(from("more" + strconv.Itoa(i)))
	}
	k.fail("more0", 29)
	if len(k.failed) != strangersMax || !k.Barred(from("more0")) {
		t.Errorf("%d sources are remembered, and one of them that failed 30 times is barred: %t; want %d and true", len(k.failed),
			k.Barred(from("more0")), strangersMax)
	}
}
