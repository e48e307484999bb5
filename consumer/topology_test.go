package consumer_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

const day = 24 * time.Hour

// setup has a worker of these settings create and verify the streams.
func (f *fixture) setup(cfg consumer.Config) error {
	f.t.Helper()
	store, err := idempotency.New(f.rdb, idempotency.Config{Volatile: true})
	if err != nil {
		f.t.Fatal(err)
	}
	defer store.Close()
	w, err := consumer.New(cfg, f.js, store, consumer.Telemetry{})
	if err != nil {
		f.t.Fatal(err)
	}
	return w.Setup(context.Background())
}

// configOf is a stream as the server has it, without what no promise rests on.
func (f *fixture) configOf(name string) jetstream.StreamConfig {
	f.t.Helper()
	s, err := f.js.Stream(context.Background(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Description, c.Metadata = "", nil
	return c
}

// streams are all streams as the design has them.
func streams() []jetstream.StreamConfig {
	work, limits := jetstream.WorkQueuePolicy, jetstream.LimitsPolicy
	all := []jetstream.StreamConfig{
		{Name: "REFUND_COMMANDS", Subjects: []string{"refunds.commands.test"}, Retention: work, Discard: jetstream.DiscardNew},
		{Name: "REFUND_RETRIES", Subjects: []string{"refunds.later.test.*", "refunds.retry.test", "refunds.later-notices.test.*",
			"refunds.retry-notices.test"}, Retention: work, Discard: jetstream.DiscardOld, AllowMsgSchedules: true, AllowRollup: true},
		{Name: "REFUND_JOURNAL", Subjects: []string{"refunds.journal.r.*", "refunds.journal.x.*"}, Retention: limits,
			Discard: jetstream.DiscardNew, MaxAge: 90 * day, DenyDelete: true, DenyPurge: true},
		{Name: "REFUND_EVENTS", Subjects: []string{"refunds.events.>"}, Retention: limits, Discard: jetstream.DiscardNew,
			MaxAge: 400 * day},
		{Name: "REFUND_NOTICES", Subjects: []string{"refunds.notices.test"}, Retention: work, Discard: jetstream.DiscardNew},
		{Name: "REFUND_DEAD", Subjects: []string{"refunds.dead.test"}, Retention: limits, Discard: jetstream.DiscardOld,
			MaxAge: 30 * day},
	}
	for i := range all {
		all[i].Storage, all[i].Replicas, all[i].Duplicates = jetstream.FileStorage, 1, 10*time.Minute
		all[i].MaxMsgs, all[i].MaxBytes, all[i].MaxMsgsPerSubject, all[i].MaxConsumers, all[i].MaxMsgSize = -1, -1, -1, -1, -1
	}
	return all
}

func TestSetupCreatesTheStreams(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	for round := range 2 { // the second finds everything in place and changes nothing
		if err := f.setup(f.cfg); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, want := range streams() {
			if got := f.configOf(want.Name); !reflect.DeepEqual(got, want) {
				t.Errorf("round %d: %s\ngot  %+v\nwant %+v", round, want.Name, got, want)
			}
		}
	}
}

func TestSetupAddsSubjectsAndRemovesNone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	other := f.cfg
	other.Instances = slices.Clone(f.cfg.Instances)
	other.Instances[0].Name = "other"
	for _, cfg := range []consumer.Config{other, f.cfg, other} {
		if err := f.setup(cfg); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range streams() {
		subjects := slices.Clone(want.Subjects)
		for _, s := range want.Subjects {
			if o := strings.Replace(s, ".test", ".other", 1); o != s {
				subjects = append(subjects, o)
			}
		}
		got := f.configOf(want.Name)
		slices.Sort(got.Subjects)
		slices.Sort(subjects)
		if !slices.Equal(got.Subjects, subjects) {
			t.Errorf("%s takes %v, want %v", want.Name, got.Subjects, subjects)
		}
		got.Subjects, want.Subjects = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s was changed beyond its subjects: %+v", want.Name, got)
		}
	}
}

// off is one load-bearing setting that somebody set otherwise.
type off struct {
	stream  string
	set     func(*jetstream.StreamConfig)
	setting string
	found   string
	wanted  string
	mend    string
}

var settingsOff = []off{
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.AllowDirect = true }, "direct get", "true", "false",
		"nats stream edit REFUND_JOURNAL --no-allow-direct"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, "persist mode", "Async",
		"default", ""},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard policy", "DiscardOld",
		"DiscardNew", "nats stream edit REFUND_COMMANDS --discard=new"},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max age", "1h0m0s", "unlimited",
		"nats stream edit REFUND_COMMANDS --max-age=0s"},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, "max messages per subject", "1", "no limit",
		"nats stream edit REFUND_COMMANDS --max-msgs-per-subject=-1"},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.AllowRollup = true }, "rollup", "true", "false",
		"nats stream edit REFUND_COMMANDS --no-allow-rollup"},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage", "Memory", "File", ""},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, "retention", "Limits",
		"WorkQueue", ""},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.NoAck = true }, "acknowledgements", "off", "on",
		"nats stream edit REFUND_COMMANDS --ack"},
	{"REFUND_COMMANDS", func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "orders.refunds") }, "subject",
		"orders.refunds", "subjects that begin with refunds.", ""},
	{"REFUND_RETRIES", func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = false }, "message schedules", "false", "true",
		"nats stream edit REFUND_RETRIES --allow-schedules"},
	{"REFUND_RETRIES", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }, "max messages", "1000", "no limit",
		"nats stream edit REFUND_RETRIES --max-msgs=-1"},
	{"REFUND_RETRIES", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, "max bytes", "1048576", "no limit",
		"nats stream edit REFUND_RETRIES --max-bytes=-1"},
	{"REFUND_RETRIES", func(c *jetstream.StreamConfig) { c.MaxAge = 30 * day }, "max age", "720h0m0s", "unlimited",
		"nats stream edit REFUND_RETRIES --max-age=0s"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.DenyDelete = false }, "deny delete", "false", "true",
		"nats stream edit REFUND_JOURNAL --deny-delete"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.DenyPurge = false }, "deny purge", "false", "true",
		"nats stream edit REFUND_JOURNAL --deny-purge"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.MaxAge = 31 * day }, "max age", "744h0m0s", "2160h0m0s",
		"nats stream edit REFUND_JOURNAL --max-age=2160h0m0s"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.Duplicates = 2 * time.Minute }, "duplicate window", "2m0s",
		"at least 10m0s", "nats stream edit REFUND_JOURNAL --dupe-window=10m0s"},
	{"REFUND_JOURNAL", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard policy", "DiscardOld",
		"DiscardNew", "nats stream edit REFUND_JOURNAL --discard=new"},
	{"REFUND_EVENTS", func(c *jetstream.StreamConfig) { c.MaxAge = 31 * day }, "max age", "744h0m0s", "2160h0m0s",
		"nats stream edit REFUND_EVENTS --max-age=2160h0m0s"},
	{"REFUND_NOTICES", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard policy", "DiscardOld",
		"DiscardNew", "nats stream edit REFUND_NOTICES --discard=new"},
	{"REFUND_DEAD", func(c *jetstream.StreamConfig) { c.MaxAge = day }, "max age", "24h0m0s", "720h0m0s",
		"nats stream edit REFUND_DEAD --max-age=720h0m0s"},
}

// create makes all streams anew, with these settings off.
func (f *fixture) create(settings ...off) {
	f.t.Helper()
	ctx := context.Background()
	for _, c := range streams() {
		if err := f.js.DeleteStream(ctx, c.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			f.t.Fatal(err)
		}
		for _, o := range settings {
			if o.stream == c.Name {
				o.set(&c)
			}
		}
		if _, err := f.js.CreateStream(ctx, c); err != nil {
			f.t.Fatal(err)
		}
	}
}

// refused holds that both Setup and Verify name exactly these differences.
func (f *fixture) refused(t *testing.T, settings ...off) {
	t.Helper()
	for name, err := range map[string]error{"Setup": f.setup(f.cfg), "Verify": consumer.Verify(context.Background(), f.js, f.cfg)} {
		var refused *stream.TopologyError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, want a TopologyError", name, err)
			continue
		}
		if len(refused.Differences) != len(settings) {
			t.Errorf("%s names %d differences, want %d: %v", name, len(refused.Differences), len(settings), err)
		}
		for _, o := range settings {
			i := slices.IndexFunc(refused.Differences, func(d stream.Difference) bool {
				return d.Where == "stream "+o.stream && d.Setting == o.setting
			})
			if i < 0 {
				t.Errorf("%s does not name %s of %s: %v", name, o.setting, o.stream, err)
				continue
			}
			d := refused.Differences[i]
			if d.Found != o.found || d.Wanted != o.wanted || d.Mend == "" || o.mend != "" && d.Mend != o.mend {
				t.Errorf("%s: found %q, wanted %q, mend %q; want %q, %q, %q", name, d.Found, d.Wanted, d.Mend, o.found, o.wanted, o.mend)
			}
			for _, part := range []string{d.Where, d.Setting, d.Found, d.Wanted, d.Mend} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: the text does not say %q: %v", name, part, err)
				}
			}
		}
	}
}

func TestSetupRefusesLoadBearingSettingsThatAreOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	for _, o := range settingsOff {
		t.Run(o.stream+" "+o.setting, func(t *testing.T) {
			f.create(o)
			f.refused(t, o)
		})
	}
	t.Run("all that can be off at once", func(t *testing.T) {
		together := slices.DeleteFunc(slices.Clone(settingsOff), func(o off) bool {
			return o.stream == "REFUND_COMMANDS" && (o.setting == "retention" || o.setting == "discard policy")
		})
		f.create(together...)
		f.refused(t, together...)
	})
}

// Looser settings than the worker's own do no harm and are left as they are.
func TestSetupAcceptsWhatIsSafe(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	f.create(
		off{stream: "REFUND_EVENTS", set: func(c *jetstream.StreamConfig) { c.MaxAge = 0 }},
		off{stream: "REFUND_EVENTS", set: func(c *jetstream.StreamConfig) { c.Duplicates = time.Hour }},
		off{stream: "REFUND_COMMANDS", set: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1_000_000 }})
	if err := f.setup(f.cfg); err != nil {
		t.Fatal(err)
	}
	e, c := f.configOf("REFUND_EVENTS"), f.configOf("REFUND_COMMANDS")
	if e.MaxAge != 0 || e.Duplicates != time.Hour || c.MaxMsgs != 1_000_000 {
		t.Errorf("max age %s, window %s, max messages %d: want them left as they were", e.MaxAge, e.Duplicates, c.MaxMsgs)
	}
}

// consumers are the durable consumers of the worker, by stream.
var consumers = map[string]string{"REFUND_COMMANDS": "refund-commands-test", "REFUND_RETRIES": "refund-retries-test"}

func TestDurableConsumers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	f.start()
	lease := f.cfg.LeaseMargin + f.cfg.Instances[0].Timeout
	filters := map[string]string{"REFUND_COMMANDS": "refunds.commands.test", "REFUND_RETRIES": "refunds.retry.test"}
	for stream, durable := range consumers {
		var c jetstream.Consumer
		f.eventually(durable+" is there", func() (err error) {
			c, err = f.js.Consumer(context.Background(), stream, durable)
			return err
		})
		got := c.CachedInfo().Config
		if got.AckPolicy != jetstream.AckExplicitPolicy || got.AckWait <= lease || got.MaxDeliver != -1 || len(got.BackOff) != 0 ||
			got.MaxAckPending < 8*f.cfg.Instances[0].Concurrency || got.FilterSubject != filters[stream] {
			t.Errorf("%s: %+v", durable, got)
		}
	}
}

func TestDeletedConsumerIsMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	f.start()
	f.publish(command("before", ""))
	f.quiet()
	for stream, durable := range consumers {
		if err := f.js.DeleteConsumer(context.Background(), stream, durable); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(command("after", ""))
	f.publish(command("later", `{"script":["not_now:provider_busy:2s","succeeded"]}`))
	f.quiet()
	for _, id := range []string{"before", "after", "later"} {
		if err := f.reached(id, schemas.KindSucceeded); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := len(f.provider.Movements()); got != 3 {
		t.Errorf("%d movements of money, want 3", got)
	}
}
