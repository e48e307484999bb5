package wire

import (
	"strings"
	"testing"
)

// An account id stands in paths and in the names of notices. Settings that a path cannot hold are refused where they are
// read, by both directions alike.
func TestAccountsFitIntoPathsAndNames(t *testing.T) {
	tests := map[string]bool{
		"LanternCards_CAD": true, "a": true, "0": true, "a.b-c_d": true, ".a": true, strings.Repeat("a", 100): true,
		"": false, strings.Repeat("a", 101): false, ".": false, "..": false, "a b": false, "a/b": false, "a:b": false,
		"a%2Fb": false, "a?b": false, "a#b": false, "a\nb": false, "ä": false, "a\x00": false,
	}
	for id, want := range tests {
		if got := ValidAccount(id); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}
