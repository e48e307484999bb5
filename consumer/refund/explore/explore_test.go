package explore

import (
	"flag"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	only  = flag.String("explore.only", "", "search only the scenarios whose names begin so")
	from  = flag.Uint64("explore.seed", 1, "seed of the walks")
	limit = flag.Duration("explore.limit", time.Second/2, "bound of each search")
	toEnd = flag.Bool("explore.whole", false, "fail where a space is not searched to its end")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(200)                                // what is kept is kept until a space's end
	if err := flag.Set("rapid.checks", "20"); err != nil { // the command line still has the last word
		panic(err)
	}
	os.Exit(m.Run())
}

func show(t *testing.T, sc *scenario, what string, f found) {
	t.Helper()
	t.Logf("%-16s %-10s %9d states %10d steps %6d runs %8s complete %t", sc.name, what, f.states, f.steps, f.runs,
		f.took.Round(time.Millisecond), f.complete)
	switch {
	case f.err != nil:
		t.Errorf("%s, %s: %v\n%s", sc.name, what, f.err, tell(sc, shrink(sc, f.schedule)))
	case *toEnd && what == "exhaustive" && !f.complete:
		t.Errorf("%s is not searched to its end within %s", sc.name, *limit)
	}
	sc.tree, sc.chains = nil, nil // they are large
}

// chosen are the scenarios that -explore.only names, or all.
func chosen(all ...*scenario) []*scenario {
	if *only == "" {
		return all
	}
	return slices.DeleteFunc(all, func(sc *scenario) bool { return !strings.HasPrefix(sc.name, *only) })
}

// Every interleaving of two workers at one refund where little goes wrong, as far as there is time for: `make explore`
// comes to the end.
func TestExploreSmall(t *testing.T) {
	for _, sc := range chosen(small()...) {
		if show(t, sc, "exhaustive", exhaust(sc, *limit)); t.Failed() {
			return
		}
	}
}

// The same with 2 deliveries, 3 instants, 1 crash, 1 loss of Redis, 1 late append
// and 1 lost reply.
func TestExploreEachKind(t *testing.T) {
	for _, sc := range chosen(append(kinds(), reversed(), otherRules())...) {
		if show(t, sc, "exhaustive", exhaust(sc, *limit)); t.Failed() {
			return
		}
	}
}

// Longer stories by chance: three workers, notices, operators, redeliveries, other content, foreign entries.
func TestExploreWalks(t *testing.T) {
	t.Logf("seed %d", *from)
	for _, sc := range chosen(slices.Concat(kinds(), apart(), []*scenario{guarded(), reversed(), otherRules()})...) {
		b := &sc.budget
		b.starts, b.ticks, b.notices, b.rulings, b.redeliveries, b.early, b.rivals, b.foreign = b.starts+3, 8, b.notices+2, 1, 1, 1, 1, 1
		b.lost, b.late, b.losses, b.crashes, b.lies, b.failures = 2, 2, 2, 2, 2, 3
		sc.workers = 3
		if sc.skew != [maxWorkers]second{} { // there are more instants, and little else is to happen
			*b = budget{starts: 5, ticks: 20, crashes: 1, redeliveries: 1, rulings: 1}
		}
		if show(t, sc, "walks", walk(sc, *from, 1<<40, *limit)); t.Failed() {
			return
		}
	}
}

// A lookup that does not show what the provider took on would have the money moved twice: such a provider has to count as
// one without a lookup.
func TestExploreFindsBlindLookups(t *testing.T) {
	sc := blind()
	sc.budget = budget{starts: 4, ticks: 6, crashes: 1, redeliveries: 1}
	f := walk(sc, *from, 1<<40, time.Minute)
	if f.err == nil {
		t.Fatalf("nothing was found in %d steps", f.steps)
	}
	t.Logf("%v\n%s", f.err, tell(sc, shrink(sc, f.schedule)))
}
