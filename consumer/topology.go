package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/schemas"
)

// TopologyError lists every load-bearing setting that is off: a worker that started all the same would forget
// refunds or pay them twice.
type TopologyError struct {
	Differences []Difference
}

// Difference is one setting of a stream or durable consumer that is not as it must be.
type Difference struct {
	Where, Setting, Found, Wanted string
	// Mend is the command that sets it right.
	Mend string
}

func (e *TopologyError) Error() string {
	var b strings.Builder
	b.WriteString("streams are not set up as the worker needs them:")
	for _, d := range e.Differences {
		fmt.Fprintf(&b, "\n  %s: %s is %s, want %s; mend with: %s", d.Where, d.Setting, d.Found, d.Wanted, d.Mend)
	}
	return b.String()
}

// topologyTry bounds one administrative call: without a leader the server does not answer at all.
const topologyTry = 2 * time.Second

// The durable consumers of a provider instance.
func durableCommands(p schemas.ProviderName) string { return "refund-commands-" + string(p) }
func durableRetries(p schemas.ProviderName) string  { return "refund-retries-" + string(p) }
func durableNotices(p schemas.ProviderName) string  { return "refund-notices-" + string(p) }

func durableLateNotices(p schemas.ProviderName) string { return "refund-late-notices-" + string(p) }

// topology is what the server must hold for this configuration.
type topology struct {
	js       jetstream.JetStream
	cfg      Config
	subjects schemas.Subjects
}

// ensure creates what is missing and verifies the rest. The one change it makes to an existing stream is to add
// the subjects of its own providers.
func (t *topology) ensure(ctx context.Context) error {
	if err := t.refuseOrphans(ctx); err != nil {
		return err
	}
	var differences []Difference
	for _, want := range t.streams() {
		found, err := t.ensureStream(ctx, want)
		if err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, err)
		}
		differences = append(differences, found...)
	}
	if t.cfg.Inbox {
		found, err := t.ensureInbox(ctx)
		if err != nil {
			return err
		}
		differences = append(differences, found...)
	}
	if len(differences) > 0 {
		return &TopologyError{Differences: differences}
	}
	return nil
}

// refuseOrphans refuses published events without the journal that they are from: a journal that was lost, or streams of a
// version that kept none. An empty journal beside them would have refunds made again.
func (t *topology) refuseOrphans(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	_, err := t.js.Stream(try, schemas.StreamJournal)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	events, err := t.js.Stream(try, schemas.StreamEvents)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil || events.CachedInfo().State.LastSeq == 0 {
		return err
	}
	return &TopologyError{Differences: []Difference{{Where: "stream " + schemas.StreamJournal, Setting: "existence",
		Found: "gone, with events in " + schemas.StreamEvents, Wanted: "there",
		Mend: "restoring it from a copy, or, once the refunds in " + schemas.StreamEvents + " are reconciled, deleting that stream, too"}}}
}

// Verify compares the streams that exist with what cfg needs and changes nothing. It returns a *TopologyError that
// names every difference; a stream that is missing is none, because the worker creates it.
func Verify(ctx context.Context, js jetstream.JetStream, cfg Config) error {
	cfg = cfg.WithDefaults()
	t := &topology{js: js, cfg: cfg, subjects: schemas.Subjects{Prefix: cfg.Prefix}}
	return t.verify(ctx, func(jetstream.StreamConfig) []Difference { return nil })
}

// stillRight compares the streams of a worker that runs with what it needs. By now none may be missing.
func (t *topology) stillRight(ctx context.Context) error {
	return t.verify(ctx, func(want jetstream.StreamConfig) []Difference {
		return []Difference{{Where: "stream " + want.Name, Setting: "existence", Found: "gone", Wanted: "there",
			Mend: "restoring it from a copy, or starting a worker, which creates it empty: what it held is lost"}}
	})
}

func (t *topology) verify(ctx context.Context, missing func(jetstream.StreamConfig) []Difference) error {
	var differences []Difference
	for _, want := range t.streams() {
		try, cancel := context.WithTimeout(ctx, topologyTry)
		stream, err := t.js.Stream(try, want.Name)
		cancel()
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			differences = append(differences, missing(want)...)
		case err != nil:
			return fmt.Errorf("stream %s: %w", want.Name, err)
		default:
			differences = append(differences, t.compare(want, stream.CachedInfo().Config)...)
		}
	}
	if len(differences) > 0 {
		return &TopologyError{Differences: differences}
	}
	return nil
}

func (t *topology) streams() []jetstream.StreamConfig {
	s := t.subjects
	var commands, notices, dead, retries []string
	for _, in := range t.cfg.Instances {
		commands = append(commands, s.Command(in.Name))
		notices = append(notices, s.Notices(in.Name))
		dead = append(dead, s.Dead(in.Name))
		retries = append(retries, s.LaterAll(in.Name), s.Retry(in.Name), s.LaterNotices(in.Name), s.RetryNotices(in.Name))
	}
	common := func(name, description string, subjects []string) jetstream.StreamConfig {
		return jetstream.StreamConfig{Name: name, Description: description, Subjects: subjects,
			Storage: jetstream.FileStorage, Replicas: t.cfg.Replicas, Duplicates: duplicateWindow,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1}
	}
	c := common(schemas.StreamCommands, "Refund commands, one subject a provider.", commands)
	c.Retention, c.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	r := common(schemas.StreamRetries, "Schedules that carry commands and notices until they fire.", retries)
	r.Retention, r.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardOld
	// Schedules need rollup: the newest schedule of a refund replaces the one before.
	r.AllowMsgSchedules, r.AllowRollup = true, true
	j := stream.JournalConfig(s, t.cfg.Retain, t.cfg.Replicas)
	e := stream.EventsConfig(s, t.cfg.EventsKeep, t.cfg.Replicas)
	n := common(schemas.StreamNotices, "Results and reversals reported by providers.", notices)
	n.Retention, n.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	d := common(schemas.StreamDead, "Messages that were not accepted, and why.", dead)
	d.Retention, d.Discard, d.MaxAge = jetstream.LimitsPolicy, jetstream.DiscardOld, t.cfg.Accept
	return []jetstream.StreamConfig{c, r, j, e, n, d}
}

func (t *topology) ensureStream(ctx context.Context, want jetstream.StreamConfig) ([]Difference, error) {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	stream, err := t.js.Stream(try, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = t.js.CreateStream(try, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another worker was first
			return t.ensureStream(ctx, want)
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	found := stream.CachedInfo().Config
	if differences := t.compare(want, found); len(differences) > 0 {
		return differences, nil
	}
	return nil, t.addSubjects(try, want, found)
}

// addSubjects adds what is missing and never removes: another worker may serve other providers.
func (t *topology) addSubjects(ctx context.Context, want, found jetstream.StreamConfig) error {
	missing := slices.DeleteFunc(slices.Clone(want.Subjects), func(s string) bool {
		return slices.Contains(found.Subjects, s)
	})
	if len(missing) == 0 {
		return nil
	}
	found.Subjects = append(slices.Clone(found.Subjects), missing...)
	_, err := t.js.UpdateStream(ctx, found)
	return err
}

// compare lists the load-bearing settings that are off.
func (t *topology) compare(want, found jetstream.StreamConfig) []Difference {
	var out []Difference
	check := func(ok bool, setting, is, wanted, flag string) {
		if !ok {
			out = append(out, Difference{Where: "stream " + want.Name, Setting: setting, Found: is, Wanted: wanted,
				Mend: mend(want.Name, flag)})
		}
	}
	window := t.window()
	check(found.Retention == want.Retention, "retention", found.Retention.String(), want.Retention.String(),
		"creating the stream anew while it is empty (retention cannot be changed)")
	check(found.Storage == jetstream.FileStorage, "storage", found.Storage.String(), "File",
		"creating the stream anew while it is empty (storage cannot be changed)")
	check(found.Discard == want.Discard, "discard policy", found.Discard.String(), want.Discard.String(),
		"--discard="+discardFlag(want.Discard))
	check(found.Duplicates >= window, "duplicate window", found.Duplicates.String(), "at least "+window.String(),
		"--dupe-window="+window.String())
	check(found.MaxMsgs < 0 || want.Discard == jetstream.DiscardNew, "max messages", fmt.Sprint(found.MaxMsgs), "no limit",
		"--max-msgs=-1")
	check(found.MaxBytes < 0 || want.Discard == jetstream.DiscardNew, "max bytes", fmt.Sprint(found.MaxBytes), "no limit",
		"--max-bytes=-1")
	check(found.MaxMsgsPerSubject < 0, "max messages per subject", fmt.Sprint(found.MaxMsgsPerSubject), "no limit",
		"--max-msgs-per-subject=-1")
	if want.Name == schemas.StreamEvents { // no more than that rests on it
		want.MaxAge = t.cfg.Retain
	}
	check(want.MaxAge == 0 && found.MaxAge == 0 || want.MaxAge > 0 && (found.MaxAge == 0 || found.MaxAge >= want.MaxAge),
		"max age", age(found.MaxAge), age(want.MaxAge), "--max-age="+want.MaxAge.String())
	check(!want.DenyDelete || found.DenyDelete, "deny delete", fmt.Sprint(found.DenyDelete), "true", "--deny-delete")
	check(!want.DenyPurge || found.DenyPurge, "deny purge", fmt.Sprint(found.DenyPurge), "true", "--deny-purge")
	check(!want.AllowMsgSchedules || found.AllowMsgSchedules, "message schedules", fmt.Sprint(found.AllowMsgSchedules),
		"true", "--allow-schedules")
	check(want.AllowMsgSchedules || !found.AllowMsgSchedules, "message schedules", fmt.Sprint(found.AllowMsgSchedules),
		"false", "creating the stream anew while it is empty (schedules cannot be switched off)")
	check(want.AllowRollup || !found.AllowRollup, "rollup", fmt.Sprint(found.AllowRollup), "false", "--no-allow-rollup")
	// Reads of events and schedules must come from the leader: a replica may not have the newest yet.
	check(!found.AllowDirect, "direct get", fmt.Sprint(found.AllowDirect), "false", "--no-allow-direct")
	check(found.PersistMode == jetstream.DefaultPersistMode, "persist mode", found.PersistMode.String(), "default",
		"creating the stream anew while it is empty (acknowledged must mean written)")
	check(!found.Sealed, "sealed", fmt.Sprint(found.Sealed), "false", "creating the stream anew (a sealed one cannot be opened again)")
	check(!found.NoAck, "acknowledgements", "off", "on", "--ack")
	check(t.foreign(found) == "", "subject", t.foreign(found), "subjects that begin with "+t.cfg.Prefix+".",
		"--subjects=… (one NATS account serves one prefix)")
	return out
}

// window is the shortest duplicate window in which a message that is sent again is stored once.
func (t *topology) window() time.Duration {
	window := duplicateWindow
	for _, in := range t.cfg.Instances {
		window = max(window, 2*(t.cfg.lease(in)+30*time.Second))
	}
	return window
}

// foreign is a subject of another prefix, if the stream has one.
func (t *topology) foreign(found jetstream.StreamConfig) string {
	for _, s := range found.Subjects {
		if !strings.HasPrefix(s, t.cfg.Prefix+".") {
			return s
		}
	}
	return ""
}

// mend is what sets a difference right: a command, or in words what no command can do.
func mend(stream, flag string) string {
	if strings.HasPrefix(flag, "--") {
		return "nats stream edit " + stream + " " + flag
	}
	return flag
}

func discardFlag(p jetstream.DiscardPolicy) string {
	if p == jetstream.DiscardNew {
		return "new"
	}
	return "old"
}

func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}

// consumerConfig is a durable consumer of one instance. AckWait outlives the lease, so that a redelivery never
// meets the lease of a worker that still runs.
func (t *topology) consumerConfig(in Instance, durable, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: durable, FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: t.cfg.lease(in) + t.cfg.LeaseMargin,
		MaxDeliver: -1, MaxAckPending: 8 * in.Concurrency}
}

// consumer creates the durable consumer or brings it up to date.
func (t *topology) consumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	c, err := t.js.CreateOrUpdateConsumer(try, stream, want)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of %s: %w", want.Durable, stream, err)
	}
	return c, nil
}
