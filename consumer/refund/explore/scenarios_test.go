package explore

import (
	"slices"
	"testing"
	"time"

	"refundworker/consumer/refund"
	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// rules are short: what they bound is counted in instants here.
func rules(caps providers.Capabilities) refund.Rules {
	return refund.Rules{Capabilities: caps, Timeout: timeout * time.Second, LeaseMargin: margin * time.Second,
		RecordGrace: grace * time.Second, Accept: 24 * time.Hour, MaxAttempts: 12, GiveUpAfter: 24 * time.Hour,
		PendingTimeout: 24 * time.Hour, RetryAfterMax: time.Minute, SameAmount: true,
		Backoff: refund.Backoff{Initial: 5 * time.Second, Max: 5 * time.Second, Multiplier: 1}}
}

// base is 2 workers, 1 refund, 2 deliveries, 3 instants, 1 crash, 1 loss of Redis, 1 late append, 1 lost reply.
var base = budget{starts: 2, ticks: 3, crashes: 1, lost: 1, late: 1, losses: 1}

// kinds are the kinds of providers.
func kinds() []*scenario {
	lookup := providers.Capabilities{Lookup: true, LookupDelay: lookDelay * time.Second}
	key := providers.Capabilities{KeyLife: keyLife * time.Second}
	final := key
	final.FailuresAreFinal = true
	both := lookup
	both.KeyLife = key.KeyLife
	prepares := lookup
	prepares.Prepares = true
	kind := func(name string, caps providers.Capabilities, effects ...effect) *scenario {
		return &scenario{name: name, workers: 2, refunds: 1, rules: rules(caps), effects: effects, keyed: caps.KeyLife > 0, budget: base}
	}
	calls := []effect{pays, paysUnheard, paysLate, declines, declinesUnheard, putsOff, doesNothing, isAway}
	taking := []effect{takesOn, takesOnInVain, takesOnUnheard, takesOnInVainUnheard, doesNothing, isAway}
	return []*scenario{
		kind("lookup", lookup, calls...),
		kind("key", key, calls...),
		kind("both", both, calls...),
		kind("neither", providers.Capabilities{}, calls...),
		kind("prepares", prepares, calls...),
		kind("takes on", lookup, taking...),
		kind("takes on, key", final, taking...),
	}
}

// small are kinds whose whole space is searched soon: less goes wrong, and more time passes.
func small() []*scenario {
	var out []*scenario
	for _, sc := range kinds() {
		for _, effects := range [][]effect{{pays, declines}, {takesOn, takesOnInVain}} {
			s := *sc
			s.effects, s.name = effects, sc.name+", small"
			s.budget = budget{starts: 2, ticks: 4, notices: 1, losses: 1, redeliveries: 1}
			if slices.Contains(sc.effects, effects[0]) {
				out = append(out, &s)
			}
		}
	}
	return append(append(out, slow(), away(), aged(), putOff()), failing()...)
}

// slow is a refund at which two workers stand still for as long as it takes, and nothing goes wrong.
func slow() *scenario {
	sc := kinds()[1]
	sc.name, sc.effects, sc.budget = "slow", []effect{pays, declines}, budget{starts: 2, ticks: 4, notices: 1, redeliveries: 1}
	return sc
}

// away is a refund that the provider makes unheard and is away from then on, until it has forgotten the key.
func away() *scenario {
	sc := kinds()[1]
	sc.name, sc.workers, sc.effects, sc.budget = "away", 1, []effect{paysUnheard, isAway}, budget{starts: 3, ticks: 8}
	return sc
}

// aged is a refund that nobody can tell anything about: it is parked, and weeks later too old to be begun.
func aged() *scenario {
	sc := kinds()[3]
	sc.name, sc.workers, sc.effects = "aged", 1, []effect{doesNothing}
	sc.budget = budget{starts: 3, ticks: 4, losses: 1, crashes: 1, failures: 1}
	return sc
}

// failing are kinds whose ports fail and whose Redis says what is wrong, with another content in their way or without.
func failing() (out []*scenario) {
	for _, sc := range kinds() {
		switch sc.name {
		case "lookup", "key", "takes on":
			sc.effects = []effect{sc.effects[0], doesNothing}
			rivals := *sc
			sc.name, sc.budget = "failing, "+sc.name, budget{starts: 3, ticks: 2, lies: 1, failures: 1, redeliveries: 1}
			rivals.name, rivals.budget = "rivals, "+rivals.name, budget{starts: 3, ticks: 2, lies: 1, failures: 1, rivals: 1}
			out = append(out, sc, &rivals)
		}
	}
	return out
}

// putOff is a refund that the provider takes on unheard and fails, puts off when it is asked under the same key, and takes
// on under another one.
func putOff() *scenario {
	sc := kinds()[6]
	sc.name, sc.workers, sc.effects = "put off", 1, []effect{takesOn, takesOnInVainUnheard}
	sc.budget = budget{starts: 3, ticks: 8, notices: 1}
	return sc
}

// apart are workers whose clocks are as far apart as they may be.
func apart() (out []*scenario) {
	for _, sc := range kinds() {
		switch sc.name {
		case "lookup", "key", "neither":
			sc.name, sc.skew = "clocks apart, "+sc.name, [maxWorkers]second{-5, 0, 5}
			sc.effects = []effect{pays, paysLate, doesNothing}
			out = append(out, sc)
		}
	}
	return out
}

// blind is a provider whose lookup does not show what it took on.
func blind() *scenario {
	sc := kinds()[5]
	sc.name, sc.blind = "blind lookup", true
	return sc
}

// reversed is a refund that succeeded and comes back in parts, each told more than once.
func reversed() *scenario {
	sc := kinds()[0]
	sc.name, sc.reversals = "reversals", []int8{3, 4, 5}
	sc.before = []fact{{kind: kindOf(schemas.KindDispatched), attempt: 1, owner: 1, lease: 1, at: 1},
		{kind: kindOf(schemas.KindSucceeded), attempt: 1, owner: 1, found: 1, at: 1}}
	sc.movesBefore = []move{{attempt: 1, at: 1, shown: 1}}
	sc.budget = budget{notices: 5, crashes: 1, lost: 1, late: 1}
	return sc
}

// otherRules is a refund whose attempt was journalled by a build that judges payments by other rules: what it asked for
// was granted there, and would not be here, and its call moved the money.
func otherRules() *scenario {
	sc := guarded()
	sc.name, sc.refunds, sc.captured = "other rules", 1, share/2
	sc.before = []fact{{kind: kindOf(schemas.KindDispatched), attempt: 1, owner: 1, lease: 1, at: 1, hold: ledger.GuardRules + 1}}
	sc.movesBefore = []move{{attempt: 1, at: 1, shown: 1}}
	return sc
}

func kindOf(k schemas.Kind) int8 { return int8(slices.Index(schemas.Kinds, k) + 1) }

// guarded is two refunds of a payment that has room for one.
func guarded() *scenario {
	sc := kinds()[0]
	sc.name, sc.refunds, sc.guard, sc.captured = "guard", 2, true, share+share/2
	sc.budget = budget{starts: 4, ticks: 3, crashes: 1, lost: 1, late: 1, losses: 1}
	return sc
}

// A command whose first answer is refused finds an outcome in the chain, and it is the outcome of another content: it is
// rejected, and not taken for settled.
func TestOtherContentIsRejectedBehindAnOutcome(t *testing.T) {
	sc := kinds()[4]
	sc.budget = budget{starts: 2, losses: 1, rivals: 1}
	w := follow(t, sc,
		"--  OTHER CONTENT is published as r0",
		"w0  takes r0, content 1",
		"w0  claim r0 -> taken",
		"w0  prepare r0 -> not found",
		"w0  append r0 dispatched attempt 1 key 0 until 51s after 0 -> #1",
		"w0  CALL r0 key 0 [pays] -> paid",
		"w1  takes r0, content 0",
		"w1  claim r0 -> taken t12, clean up to 0 [Redis is EMPTY]",
		"w1  prepare r0 -> refunded already",
		"w0  append r0 succeeded attempt 1 after 1 -> #2",
		"w1  append r0 failed after 0 -> refused",
		"w1  head of r0 -> #2 succeeded",
		"w1  chain of r0 -> 2 events",
		"w1  chain of r0 -> 2 events",
		"w1  note r0 rejected of content 0",
		"w1  dead letter: request_id_conflict",
		"w1  term")
	if s := &w.refunds[0]; !s.rejected[0] || !s.buried[0] || s.carries(0) {
		t.Errorf("rejected %t, with a dead letter %t, still carried %t", s.rejected[0], s.buried[0], s.carries(0))
	}
}
