package main

import (
	"time"

	"refundworker/consumer"
	"refundworker/schemas"
)

// readBrakes reads what may hold a provider back: breaker, rate and velocity.
func readBrakes(o *object, in *consumer.Instance) {
	if b := o.object("breaker"); b != nil {
		b.flag("off", &in.Breaker.Off)
		b.integer("consecutive", &in.Breaker.Consecutive)
		b.integer("percent", &in.Breaker.Percent)
		b.integer("calls", &in.Breaker.Calls)
		b.duration("interval", &in.Breaker.Interval)
		b.duration("open", &in.Breaker.Open)
		b.integer("probes", &in.Breaker.Probes)
		b.finish()
	}
	if r := o.object("rate"); r != nil {
		r.integer("perSecond", &in.PerSecond)
		r.integer("fleetPerSecond", &in.FleetPerSecond)
		r.duration("retryAfterMax", &in.RetryAfterMax)
		r.finish()
	}
	for _, v := range o.objects("velocity") {
		in.Velocity = append(in.Velocity, readVelocity(v))
	}
}

// readVelocity reads {"window","count","amount","currencyCode","dryRun"}.
func readVelocity(o *object) consumer.Velocity {
	before := len(*o.found)
	var v consumer.Velocity
	o.duration("window", &v.Window)
	o.integer("count", &v.Count)
	o.flag("dryRun", &v.DryRun)
	var amount schemas.Money
	if read(o, "amount", `an amount such as {"amountMicros":"5000000000","currencyCode":"HKD"}`, &amount) {
		v.Micros, v.Currency = amount.Micros, amount.Currency
		if amount.Micros <= 0 {
			o.found.add(o.at("amount"), "must be positive")
		}
	}
	var currency string
	if o.text("currencyCode", &currency) {
		if v.Currency != "" && v.Currency != schemas.Currency(currency) {
			o.found.add(o.at("currencyCode"), "must be the currency of amount, %s", v.Currency)
		}
		v.Currency = schemas.Currency(currency)
	}
	o.finish()
	if len(*o.found) > before {
		// It is refused already. A good one in its place keeps the others at theirs, and is not judged a second time.
		return consumer.Velocity{Window: time.Hour, Count: 1}
	}
	return v
}
