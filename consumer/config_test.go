package consumer_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/consumer/brakes"
	"refundworker/providers/scripted"
)

func adapter(t *testing.T) *scripted.Provider {
	t.Helper()
	p, err := scripted.New(scripted.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConfigDefaults(t *testing.T) {
	p := adapter(t)
	breaker := brakes.Breaker{Consecutive: 20, Percent: 75, Calls: 20, Interval: 30 * time.Second, Open: 5 * time.Second, Probes: 3}
	given := consumer.Config{Instances: []consumer.Instance{{Name: "a", Provider: p},
		{Name: "b", Provider: p, Concurrency: 7, Timeout: time.Minute, MaxAttempts: 3,
			Backoff: consumer.Backoff{Initial: 2 * time.Second, Jitter: 0.1}, RetryAfterMax: time.Hour,
			Breaker: brakes.Breaker{Off: true, Percent: 50, Open: time.Minute}}}}
	before := slices.Clone(given.Instances)
	got := given.WithDefaults()
	want := consumer.Config{Prefix: "refunds", Accept: 30 * day, Retain: 90 * day, Replicas: 1, LeaseMargin: 30 * time.Second,
		RecordGrace: 2 * time.Minute, PendingTimeout: 14 * day, EventsKeep: 400 * day, Instances: []consumer.Instance{
			{Name: "a", Provider: p, Concurrency: 64, Timeout: 20 * time.Second, MaxAttempts: 12, GiveUpAfter: 3 * day,
				Backoff:       consumer.Backoff{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.5},
				RetryAfterMax: time.Minute, Breaker: breaker},
			{Name: "b", Provider: p, Concurrency: 7, Timeout: time.Minute, MaxAttempts: 3, GiveUpAfter: 3 * day,
				Backoff:       consumer.Backoff{Initial: 2 * time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.1},
				RetryAfterMax: time.Hour, Breaker: brakes.Breaker{Off: true, Consecutive: 20, Percent: 50, Calls: 20,
					Interval: 30 * time.Second, Open: time.Minute, Probes: 3}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !reflect.DeepEqual(given.Instances, before) {
		t.Errorf("the caller's settings were changed to %+v", given.Instances)
	}
	if again := got.WithDefaults(); !reflect.DeepEqual(again, got) {
		t.Errorf("defaults of defaults differ: %+v", again)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

// Each wrong setting alone, and its message.
var wrongSettings = []struct {
	name string
	set  func(*consumer.Config)
	want string
}{
	{"no instance", func(c *consumer.Config) { c.Instances = nil }, "no provider is configured"},
	{"records would not outlive duplicates", func(c *consumer.Config) { c.Retain = c.Accept + day },
		"retain is 744h0m0s, want more than accept (720h0m0s) and a day"},
	{"parked refunds would age out", func(c *consumer.Config) { c.Accept, c.PendingTimeout, c.Retain = day, day, 14*day },
		"retain is 336h0m0s, want at least 360h0m0s: an open refund's events must outlive pendingTimeout (24h0m0s), and two weeks"},
	{"refunds that are owed a result would age out", func(c *consumer.Config) { c.PendingTimeout = 90 * day },
		"retain is 2160h0m0s, want at least 2184h0m0s: an open refund's events must outlive pendingTimeout (2160h0m0s), and two weeks"},
	{"negative replicas", func(c *consumer.Config) { c.Replicas = -1 }, "replicas is -1, want 1 to 5"},
	{"a lease that no call fits into", func(c *consumer.Config) { c.LeaseMargin = time.Second }, "lease margin is 1s, want at least 4s"},
	{"one name twice", func(c *consumer.Config) { c.Instances = append(c.Instances, c.Instances[0]) },
		`provider "test" is configured twice`},
	{"a name of two tokens", func(c *consumer.Config) { c.Instances[0].Name = "te.st" },
		`provider "te.st": name must be 1 to 32 characters of a-z 0-9 -`},
	{"no adapter", func(c *consumer.Config) { c.Instances[0].Provider = nil }, `provider "test": has no adapter`},
	{"no slot for retries", func(c *consumer.Config) { c.Instances[0].Concurrency = 1 }, `provider "test": concurrency is 1, want 2 to 4096`},
	{"a timeout that is too long", func(c *consumer.Config) { c.Instances[0].Timeout = 241 * time.Second },
		`provider "test": timeout is 4m1s, want 100ms to 4m0s`},
	{"a timeout of nothing", func(c *consumer.Config) { c.Instances[0].Timeout = time.Millisecond },
		`provider "test": timeout is 1ms, want 100ms to`},
	{"negative attempts", func(c *consumer.Config) { c.Instances[0].MaxAttempts = -1 }, `provider "test": maxAttempts is -1, want 1 to 1000`},
	{"a negative rate", func(c *consumer.Config) { c.Instances[0].PerSecond = -1 }, `provider "test": rate.perSecond is -1`},
	{"a backoff that shrinks", func(c *consumer.Config) { c.Instances[0].Backoff.Multiplier = 0.5 }, `provider "test": backoff wants`},
	{"a backoff below its start", func(c *consumer.Config) { c.Instances[0].Backoff.Max = time.Millisecond },
		`provider "test": backoff wants`},
	{"jitter above the delay itself", func(c *consumer.Config) { c.Instances[0].Backoff.Jitter = 1.5 }, `provider "test": backoff wants`},
	{"a fleet too fast", func(c *consumer.Config) { c.Instances[0].FleetPerSecond = 100_001 },
		`provider "test": rate.fleetPerSecond is 100001, want 1 to 100000`},
	{"a negative rate of the fleet", func(c *consumer.Config) { c.Instances[0].FleetPerSecond = -1 },
		`provider "test": rate.fleetPerSecond is -1`},
	{"a rest of nothing", func(c *consumer.Config) { c.Instances[0].RetryAfterMax = time.Millisecond },
		`provider "test": rate.retryAfterMax is 1ms, want 1s to 1h0m0s`},
	{"a rest of a day", func(c *consumer.Config) { c.Instances[0].RetryAfterMax = day },
		`provider "test": rate.retryAfterMax is 24h0m0s, want 1s to 1h0m0s`},
	{"more than all calls", func(c *consumer.Config) { c.Instances[0].Breaker.Percent = 101 },
		`provider "test": breaker.percent is 101, want 1 to 100`},
	{"less than no call", func(c *consumer.Config) { c.Instances[0].Breaker.Calls = -1 },
		`provider "test": breaker.calls is -1, want at least 1`},
	{"calls in a row below one", func(c *consumer.Config) { c.Instances[0].Breaker.Consecutive = -1 },
		`provider "test": breaker.consecutive is -1, want at least 1`},
	{"an interval of nothing", func(c *consumer.Config) { c.Instances[0].Breaker.Interval = time.Millisecond },
		`provider "test": breaker.interval is 1ms, want at least 1s`},
	{"a breaker that is hardly open", func(c *consumer.Config) { c.Instances[0].Breaker.Open = time.Millisecond },
		`provider "test": breaker.open is 1ms, want 100ms to 10m0s`},
	{"a breaker that stays open", func(c *consumer.Config) { c.Instances[0].Breaker.Open = time.Hour },
		`provider "test": breaker.open is 1h0m0s, want 100ms to 10m0s`},
	{"a flood of probes", func(c *consumer.Config) { c.Instances[0].Breaker.Probes = 101 },
		`provider "test": breaker.probes is 101, want 1 to 100`},
	{"a window of nothing", velocity(consumer.Velocity{Count: 1}), `provider "test": velocity[1]: window is 0s, want 1s to 168h0m0s`},
	{"a window of eight days", velocity(consumer.Velocity{Window: 8 * day, Count: 1}),
		`provider "test": velocity[1]: window is 192h0m0s, want 1s to 168h0m0s`},
	{"a bound on nothing", velocity(consumer.Velocity{Window: time.Hour, Currency: "HKD"}),
		`provider "test": velocity[1]: bounds neither how many refunds nor what they come to`},
	{"a negative count", velocity(consumer.Velocity{Window: time.Hour, Count: -1}), `provider "test": velocity[1]: count is -1, want 1 to`},
	{"a count beyond all refunds", velocity(consumer.Velocity{Window: time.Hour, Count: 1_000_000_001}),
		`provider "test": velocity[1]: count is 1000000001, want 1 to 1000000000`},
	{"an amount of no currency", velocity(consumer.Velocity{Window: time.Hour, Micros: 5_000_000}),
		`provider "test": velocity[1]: an amount needs its currency`},
	{"a currency that is none", velocity(consumer.Velocity{Window: time.Hour, Count: 1, Currency: "HKK"}),
		`provider "test": velocity[1]: currency "HKK" is not in the ISO 4217 table`},
	{"a negative amount", velocity(consumer.Velocity{Window: time.Hour, Micros: -10_000, Currency: "HKD"}),
		`provider "test": velocity[1]: amount is -10000 micros, want a positive whole number of the minor units of HKD`},
	{"units for micros", velocity(consumer.Velocity{Window: time.Hour, Micros: 5000, Currency: "HKD"}),
		`provider "test": velocity[1]: amount is 5000 micros, want a positive whole number`},
	{"too many bounds", func(c *consumer.Config) {
		c.Instances[0].Velocity = slices.Repeat([]consumer.Velocity{{Window: time.Hour, Count: 1}}, 17)
	}, `provider "test": velocity has 17 bounds, want at most 16`},
}

// velocity adds a bound behind a good one.
func velocity(v consumer.Velocity) func(*consumer.Config) {
	return func(c *consumer.Config) {
		c.Instances[0].Velocity = []consumer.Velocity{{Window: day, Count: 1, Micros: 10_000, Currency: "HKD"}, v}
	}
}

func good(t *testing.T) consumer.Config {
	t.Helper()
	return consumer.Config{Instances: []consumer.Instance{{Name: provider, Provider: adapter(t)}}}.WithDefaults()
}

func TestConfigRefusesEachWrongSetting(t *testing.T) {
	for _, w := range wrongSettings {
		t.Run(w.name, func(t *testing.T) {
			cfg := good(t)
			w.set(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.HasPrefix(err.Error(), w.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q alone", err, w.want)
			}
		})
	}
}

// All problems come at once, also through New, which starts nothing.
func TestConfigReportsEveryProblem(t *testing.T) {
	cfg := good(t)
	second := cfg.Instances[0]
	second.Name, second.Concurrency, second.Provider = "B", 9000, nil
	second.FleetPerSecond, second.Breaker.Percent, second.Velocity = -1, 101, []consumer.Velocity{{}}
	cfg.Instances = append(cfg.Instances, cfg.Instances[0], second)
	cfg.Retain, cfg.Replicas, cfg.LeaseMargin = day, 6, time.Second
	w, err := consumer.New(cfg, nil, nil, consumer.Telemetry{})
	if w != nil || err == nil {
		t.Fatalf("got %v, %v, want no worker and every problem", w, err)
	}
	for _, want := range []string{"worker settings: ", "retain is 24h0m0s", "replicas is 6", "lease margin is 1s",
		`provider "test" is configured twice`, `provider "B": name must be`, `provider "B": has no adapter`,
		`provider "B": concurrency is 9000`, `provider "B": rate.fleetPerSecond is -1`, `provider "B": breaker.percent is 101`,
		`provider "B": velocity[0]: window is 0s, want 1s to 168h0m0s`, `provider "B": velocity[0]: bounds neither`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 12 {
		t.Errorf("%d problems, want 12: %v", got, err)
	}
}
