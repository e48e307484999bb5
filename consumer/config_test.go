package consumer_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"refundworker/consumer"
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
	given := consumer.Config{Instances: []consumer.Instance{{Name: "a", Provider: p},
		{Name: "b", Provider: p, Concurrency: 7, Timeout: time.Minute, MaxAttempts: 3,
			Backoff: consumer.Backoff{Initial: 2 * time.Second, Jitter: 0.1}}}}
	before := slices.Clone(given.Instances)
	got := given.WithDefaults()
	want := consumer.Config{Prefix: "refunds", Accept: 30 * day, Retain: 90 * day, Replicas: 1, LeaseMargin: 30 * time.Second,
		RecordGrace: 2 * time.Minute, PendingTimeout: 14 * day, Instances: []consumer.Instance{
			{Name: "a", Provider: p, Concurrency: 64, Timeout: 20 * time.Second, MaxAttempts: 12,
				Backoff: consumer.Backoff{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.5}},
			{Name: "b", Provider: p, Concurrency: 7, Timeout: time.Minute, MaxAttempts: 3,
				Backoff: consumer.Backoff{Initial: 2 * time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.1}}}}
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
	{"negative replicas", func(c *consumer.Config) { c.Replicas = -1 }, "replicas is -1, want 1 to 5"},
	{"a lease that no call fits into", func(c *consumer.Config) { c.LeaseMargin = time.Second }, "lease margin is 1s, want at least 4s"},
	{"one name twice", func(c *consumer.Config) { c.Instances = append(c.Instances, c.Instances[0]) },
		`provider "test" is configured twice`},
	{"a name of two tokens", func(c *consumer.Config) { c.Instances[0].Name = "te.st" },
		`provider "te.st": name must be 1 to 32 characters of a-z 0-9 -`},
	{"no adapter", func(c *consumer.Config) { c.Instances[0].Provider = nil }, `provider "test": has no adapter`},
	{"no slot for retries", func(c *consumer.Config) { c.Instances[0].Concurrency = 1 }, `provider "test": concurrency is 1, want 2 to 4096`},
	{"two leases that outlast the duplicate window", func(c *consumer.Config) { c.Instances[0].Timeout = 4 * time.Minute },
		`provider "test": timeout is 4m0s, want 100ms to 4m0s: twice the lease and 30s must fit into the duplicate window of 10m0s`},
	{"a timeout of nothing", func(c *consumer.Config) { c.Instances[0].Timeout = time.Millisecond },
		`provider "test": timeout is 1ms, want 100ms to`},
	{"negative attempts", func(c *consumer.Config) { c.Instances[0].MaxAttempts = -1 }, `provider "test": maxAttempts is -1, want 1 to 1000`},
	{"a negative rate", func(c *consumer.Config) { c.Instances[0].PerSecond = -1 }, `provider "test": rate is -1 calls a second`},
	{"a backoff that shrinks", func(c *consumer.Config) { c.Instances[0].Backoff.Multiplier = 0.5 }, `provider "test": backoff wants`},
	{"a backoff below its start", func(c *consumer.Config) { c.Instances[0].Backoff.Max = time.Millisecond },
		`provider "test": backoff wants`},
	{"jitter above the delay itself", func(c *consumer.Config) { c.Instances[0].Backoff.Jitter = 1.5 }, `provider "test": backoff wants`},
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
	cfg.Instances = append(cfg.Instances, cfg.Instances[0], second)
	cfg.Retain, cfg.Replicas, cfg.LeaseMargin = day, 6, time.Second
	w, err := consumer.New(cfg, nil, nil, consumer.Telemetry{})
	if w != nil || err == nil {
		t.Fatalf("got %v, %v, want no worker and every problem", w, err)
	}
	for _, want := range []string{"worker settings: ", "retain is 24h0m0s", "replicas is 6", "lease margin is 1s",
		`provider "test" is configured twice`, `provider "B": name must be`, `provider "B": has no adapter`,
		`provider "B": concurrency is 9000`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 7 {
		t.Errorf("%d problems, want 7: %v", got, err)
	}
}
