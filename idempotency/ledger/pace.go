package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pace is what a provider's refunds in one currency may come to, as an intent carries it.
type Pace struct {
	// Exempt is set for a refund that waited when an operator last let the provider go on: it is not counted.
	Exempt bool
	Bounds []Bound
}

// Bound is one bound on the refunds begun within any window of time.
type Bound struct {
	Window time.Duration
	// Count and Micros bound how many refunds go ahead and what they come to; 0 does not.
	Count  int
	Micros int64
	// DryRun only counts how often the bound would have been passed.
	DryRun bool
}

// String is the form in which an intent carries it: each bound as milliseconds, count and micros, "~" before those of a
// dry run; "-" for none.
func (p Pace) String() string {
	if p.Exempt || len(p.Bounds) == 0 {
		return "-"
	}
	texts := make([]string, len(p.Bounds))
	for i, b := range p.Bounds {
		texts[i] = fmt.Sprintf("%d:%d:%d", b.Window.Milliseconds(), b.Count, b.Micros)
		if b.DryRun {
			texts[i] = "~" + texts[i]
		}
	}
	return strings.Join(texts, ",")
}

// ParsePace reads what String wrote. It reports false for anything else.
func ParsePace(text string) (Pace, bool) {
	if text == "-" {
		return Pace{Exempt: true}, true
	}
	var p Pace
	for part := range strings.SplitSeq(text, ",") {
		rest, dry := strings.CutPrefix(part, "~")
		numbers := strings.Split(rest, ":")
		if len(numbers) != 3 {
			return Pace{}, false
		}
		var n [3]int64
		for i, number := range numbers {
			var err error
			if n[i], err = strconv.ParseInt(number, 10, 64); err != nil || n[i] < 0 {
				return Pace{}, false
			}
		}
		window := time.Duration(n[0]) * time.Millisecond
		if window < WindowParts*time.Millisecond || window > MaxWindow {
			return Pace{}, false
		}
		p.Bounds = append(p.Bounds, Bound{Window: window, Count: int(n[1]), Micros: n[2], DryRun: dry})
	}
	return p, true
}

const (
	// WindowParts is how many parts a window has. It moves on by one of them at a time, so that it is never shorter than
	// it should be, and at most one part longer.
	WindowParts = 60
	// MaxWindow bounds a window.
	MaxWindow = 366 * 24 * time.Hour
)
