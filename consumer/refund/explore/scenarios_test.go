package explore

import (
	"time"

	"refundworker/consumer/refund"
	"refundworker/providers"
)

// rules are short: what they bound is counted in instants here.
func rules(caps providers.Capabilities) refund.Rules {
	return refund.Rules{Capabilities: caps, Timeout: timeout * time.Second, LeaseMargin: margin * time.Second,
		RecordGrace: 40 * time.Second, Accept: 24 * time.Hour, MaxAttempts: 12, GiveUpAfter: 24 * time.Hour,
		PendingTimeout: 24 * time.Hour, RetryAfterMax: time.Minute, SameAmount: true,
		Backoff: refund.Backoff{Initial: 5 * time.Second, Max: 5 * time.Second, Multiplier: 1}}
}

// base is 2 workers, 1 refund, 2 deliveries, 3 instants, 1 crash, 1 loss of Redis, 1 late append, 1 lost reply.
var base = budget{starts: 2, ticks: 3, crashes: 1, lost: 1, late: 1, losses: 1}

// kinds are the kinds of providers.
func kinds() []*scenario {
	lookup := providers.Capabilities{Lookup: true, LookupDelay: lookDelay * time.Second}
	key := providers.Capabilities{KeyLife: keyLife * time.Second}
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
		kind("takes on, key", key, taking...),
	}
}

// guarded is two refunds of a payment that has room for one.
func guarded() *scenario {
	sc := kinds()[0]
	sc.name, sc.refunds, sc.guard, sc.captured = "guard", 2, true, share+share/2
	sc.budget = budget{starts: 4, ticks: 3, crashes: 1, lost: 1, late: 1, losses: 1}
	return sc
}
