package consumer

import (
	"errors"
	"fmt"
	"time"

	"refundworker/consumer/brakes"
	"refundworker/consumer/stream"
	"refundworker/providers"
	"refundworker/schemas"
)

// Config says how commands are worked on. The zero value of a field means its default.
type Config struct {
	// Prefix begins every subject. Default "refunds".
	Prefix string
	// Accept is how old requestedAt may be for a refund that nobody has begun. Default 30 days.
	Accept time.Duration
	// Retain is how long the journal keeps events. Default 90 days; more than Accept + 1 day.
	Retain time.Duration
	// Replicas is how many servers store each stream. Default 1.
	Replicas int
	// LeaseMargin is added to a provider's timeout to make the lease of a claim. Default 30 s. A longer one
	// forgives slower servers; a shorter one resolves crashes sooner.
	LeaseMargin time.Duration
	// RecordGrace is how long a worker tries to journal what a provider answered, also during a shutdown.
	// Default 2 minutes. When it ends the refund is in doubt and will be looked up.
	RecordGrace time.Duration
	// PendingTimeout is how long a provider may owe the result of an acknowledged refund before a person is
	// asked. Default 14 days.
	PendingTimeout time.Duration
	// EventsKeep is how long published events are kept. Default 400 days, or Retain if that is longer.
	EventsKeep time.Duration
	// EventKinds are the kinds of events that are published; none means all.
	EventKinds []schemas.Kind
	// IgnoreSameAmount lets a refund go on while another one of the same payment and amount is in doubt.
	IgnoreSameAmount bool
	// Inbox tells that providers report to this worker by HTTP, so that Worker.Inbox is needed.
	Inbox bool
	// Instances are the configured providers; at least one.
	Instances []Instance
}

// Instance is one configured provider and its own bounds.
type Instance struct {
	// Name is the provider's token in subjects.
	Name schemas.ProviderName
	// Provider is the adapter.
	Provider providers.Provider
	// Concurrency bounds the deliveries in hand. Default 64, at least 2: some are kept for retries.
	Concurrency int
	// Timeout bounds one provider call. Default 20 s.
	Timeout time.Duration
	// MaxAttempts is how many calls that may have reached the provider a refund gets before a person is asked. Default 12.
	MaxAttempts int
	// GiveUpAfter is for how long a refund is tried whose calls surely did not reach the provider. Default 72 h.
	GiveUpAfter time.Duration
	// Backoff spaces out attempts.
	Backoff Backoff
	// PerSecond bounds this process's calls of the provider, lookups among them. Default 0, no bound.
	PerSecond int
	// FleetPerSecond bounds the calls of all workers together, counted in Redis. Default 0, no bound.
	FleetPerSecond int
	// RetryAfterMax bounds what the provider may ask us to wait. Default 1 minute.
	RetryAfterMax time.Duration
	// Breaker says when the provider is left alone.
	Breaker brakes.Breaker
	// Velocity says when the provider is stopped for the whole fleet. Default: never.
	Velocity []Velocity
}

// Velocity is a bound on the refunds that a provider begins within any window of time, in one currency. Passing it stops
// the provider for the whole fleet until an operator starts it again.
type Velocity struct {
	Window time.Duration
	// Currency is the one that is bounded; empty bounds each currency by itself.
	Currency schemas.Currency
	// Count bounds the refunds; 0 does not.
	Count int
	// Micros bounds their sum, in millionths of the currency's unit; 0 does not. It needs a Currency.
	Micros int64
	// DryRun only reports.
	DryRun bool
}

// Backoff is exponential with jitter: Initial, then times Multiplier up to Max; each delay is moved by up to
// Jitter of itself, either way. Defaults 1 s, 15 m, 2, 0.5.
type Backoff struct {
	Initial, Max       time.Duration
	Multiplier, Jitter float64
}

const (
	// longestTimeout bounds one call: what is in doubt waits for at least as long.
	longestTimeout = 4 * time.Minute
	// longestSilence is how long an open refund may go without a new event, unless the provider owes it a result.
	longestSilence = 14 * 24 * time.Hour
	// publishTimeout bounds one try to publish.
	publishTimeout = 5 * time.Second
	// callMargin is kept free between the latest end of a call and the end of its lease.
	callMargin = 2 * time.Second
	// maxPerSecond, maxVelocity, maxWindow and maxCount bound what brakes may be set to.
	maxPerSecond = 100_000
	maxVelocity  = 16
	maxWindow    = 7 * 24 * time.Hour
	maxCount     = 1_000_000_000
	// notReadyNak is the delay of a delivery that was not begun.
	notReadyNak = time.Second
)

// WithDefaults returns a copy in which every zero field has its default.
func (c Config) WithDefaults() Config {
	day := 24 * time.Hour
	setDefault(&c.Prefix, schemas.DefaultPrefix)
	setDefault(&c.Accept, 30*day)
	setDefault(&c.Retain, 90*day)
	setDefault(&c.Replicas, 1)
	setDefault(&c.LeaseMargin, 30*time.Second)
	setDefault(&c.RecordGrace, 2*time.Minute)
	setDefault(&c.PendingTimeout, 14*day)
	setDefault(&c.EventsKeep, max(stream.DefaultKeep, c.Retain))
	instances := make([]Instance, len(c.Instances))
	for i, in := range c.Instances {
		setDefault(&in.Concurrency, 64)
		setDefault(&in.Timeout, 20*time.Second)
		setDefault(&in.MaxAttempts, 12)
		setDefault(&in.GiveUpAfter, 3*day)
		if in.Backoff == (Backoff{}) {
			in.Backoff.Jitter = 0.5
		}
		setDefault(&in.Backoff.Initial, time.Second)
		setDefault(&in.Backoff.Max, 15*time.Minute)
		setDefault(&in.Backoff.Multiplier, 2)
		setDefault(&in.RetryAfterMax, time.Minute)
		in.Breaker = in.Breaker.WithDefaults()
		instances[i] = in
	}
	c.Instances = instances
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// lease is how long a claim on this instance lasts.
func (c Config) lease(in Instance) time.Duration { return in.Timeout + c.LeaseMargin }

// Validate reports every problem of the settings.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Retain <= c.Accept+24*time.Hour {
		wrong("retain is %s, want more than accept (%s) and a day: records must outlive every duplicate that is accepted",
			c.Retain, c.Accept)
	}
	if longest := max(c.PendingTimeout, longestSilence) + 24*time.Hour; c.Retain < longest {
		wrong("retain is %s, want at least %s: an open refund's events must outlive pendingTimeout (%s), and two weeks", c.Retain, longest,
			c.PendingTimeout)
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		wrong("replicas is %d, want 1 to 5", c.Replicas)
	}
	if c.LeaseMargin < 2*callMargin {
		wrong("lease margin is %s, want at least %s", c.LeaseMargin, 2*callMargin)
	}
	if c.EventsKeep < c.Retain {
		wrong("events.keep is %s, want at least retain (%s): what is published goes on behind the last event that is there",
			c.EventsKeep, c.Retain)
	}
	if c.RecordGrace < publishTimeout {
		wrong("record grace is %s, want at least %s", c.RecordGrace, publishTimeout)
	}
	if len(c.Instances) == 0 {
		wrong("no provider is configured")
	}
	seen := map[schemas.ProviderName]bool{}
	for _, in := range c.Instances {
		if seen[in.Name] {
			wrong("provider %q is configured twice", in.Name)
		}
		seen[in.Name] = true
		errs = append(errs, in.problems()...)
	}
	return errors.Join(errs...)
}

func (in Instance) problems() []error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: %s", in.Name, fmt.Sprintf(format, args...)))
	}
	if !in.Name.Valid() {
		wrong("name must be 1 to 32 characters of a-z 0-9 -")
	}
	if in.Provider == nil {
		wrong("has no adapter")
	}
	if in.Concurrency < 2 || in.Concurrency > 4096 {
		wrong("concurrency is %d, want 2 to 4096", in.Concurrency)
	}
	if in.Timeout < 100*time.Millisecond || in.Timeout > longestTimeout {
		wrong("timeout is %s, want 100ms to %s", in.Timeout, longestTimeout)
	}
	if in.MaxAttempts < 1 || in.MaxAttempts > 1000 {
		wrong("maxAttempts is %d, want 1 to 1000", in.MaxAttempts)
	}
	if in.GiveUpAfter < time.Minute {
		wrong("giveUpAfter is %s, want at least 1m", in.GiveUpAfter)
	}
	b := in.Backoff
	if b.Initial < 0 || b.Max < b.Initial || b.Multiplier < 1 || b.Jitter < 0 || b.Jitter > 1 {
		wrong("backoff wants initial not above max, multiplier at least 1, jitter 0 to 1")
	}
	in.judgeRate(wrong)
	for _, err := range in.Breaker.Problems() {
		wrong("breaker.%v", err)
	}
	if len(in.Velocity) > maxVelocity {
		wrong("velocity has %d bounds, want at most %d", len(in.Velocity), maxVelocity)
	}
	for i, v := range in.Velocity {
		v.judge(func(format string, args ...any) {
			wrong("velocity[%d]: %s", i, fmt.Sprintf(format, args...))
		})
	}
	return errs
}

func (in Instance) judgeRate(wrong func(format string, args ...any)) {
	if in.PerSecond < 0 || in.PerSecond > maxPerSecond {
		wrong("rate.perSecond is %d, want 1 to %d", in.PerSecond, maxPerSecond)
	}
	if in.FleetPerSecond < 0 || in.FleetPerSecond > maxPerSecond {
		wrong("rate.fleetPerSecond is %d, want 1 to %d", in.FleetPerSecond, maxPerSecond)
	}
	if in.RetryAfterMax < time.Second || in.RetryAfterMax > time.Hour {
		wrong("rate.retryAfterMax is %s, want 1s to %s", in.RetryAfterMax, time.Hour)
	}
}

func (v Velocity) judge(wrong func(format string, args ...any)) {
	if v.Window < time.Second || v.Window > maxWindow {
		wrong("window is %s, want 1s to %s", v.Window, maxWindow)
	}
	if v.Count < 0 || v.Count > maxCount {
		wrong("count is %d, want 1 to %d", v.Count, maxCount)
	}
	if v.Count == 0 && v.Micros == 0 {
		wrong("bounds neither how many refunds nor what they come to")
	}
	_, known := v.Currency.Exponent()
	switch {
	case v.Currency == "" && v.Micros != 0:
		wrong("an amount needs its currency")
	case v.Currency == "":
	case !known:
		wrong("currency %q is not in the ISO 4217 table", v.Currency)
	case v.Micros < 0 || !wholeMinor(schemas.Money{Micros: v.Micros, Currency: v.Currency}):
		// Whoever meant units, or cents, often meets this.
		wrong("amount is %d micros, want a positive whole number of the minor units of %s", v.Micros, v.Currency)
	}
}

func wholeMinor(m schemas.Money) bool {
	_, err := m.Minor()
	return err == nil
}
