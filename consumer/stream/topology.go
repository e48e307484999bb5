package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// Topology is what the server must hold.
type Topology struct {
	Subjects  schemas.Subjects
	Providers []schemas.ProviderName
	Replicas  int
	// Accept, Retain and Keep are how long dead letters, the journal and published events are kept.
	Accept, Retain, Keep time.Duration
	// Window is the shortest duplicate window in which a message that is sent again is stored once.
	Window time.Duration
	// Inbox is set where messages from providers are taken in.
	Inbox bool
}

// Ensure creates what is missing and verifies the rest. The one change it makes to an existing stream is to add
// the subjects of its own providers.
func (t Topology) Ensure(ctx context.Context, js jetstream.JetStream) error {
	if err := t.refuseOrphans(ctx, js); err != nil {
		return err
	}
	var differences []Difference
	for _, want := range t.streams() {
		found, err := t.ensureStream(ctx, js, want)
		if err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, err)
		}
		differences = append(differences, found...)
	}
	if t.Inbox {
		found, err := t.ensureInbox(ctx, js)
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
func (t Topology) refuseOrphans(ctx context.Context, js jetstream.JetStream) error {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	_, err := js.Stream(try, schemas.StreamJournal)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	events, err := js.Stream(try, schemas.StreamEvents)
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

// Verify compares the streams that exist with what is needed and changes nothing. It returns a *TopologyError that names every
// difference; a stream that is missing is none, because the worker creates it.
func (t Topology) Verify(ctx context.Context, js jetstream.JetStream) error {
	return t.verify(ctx, js, func(jetstream.StreamConfig) []Difference { return nil })
}

// StillRight compares the streams of a worker that runs with what it needs. By now none may be missing.
func (t Topology) StillRight(ctx context.Context, js jetstream.JetStream) error {
	return t.verify(ctx, js, func(want jetstream.StreamConfig) []Difference {
		return []Difference{{Where: "stream " + want.Name, Setting: "existence", Found: "gone", Wanted: "there",
			Mend: "restoring it from a copy, or starting a worker, which creates it empty: what it held is lost"}}
	})
}

func (t Topology) verify(ctx context.Context, js jetstream.JetStream, missing func(jetstream.StreamConfig) []Difference) error {
	var differences []Difference
	for _, want := range t.streams() {
		try, cancel := context.WithTimeout(ctx, topologyTry)
		stream, err := js.Stream(try, want.Name)
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

func (t Topology) streams() []jetstream.StreamConfig {
	s := t.Subjects
	var commands, notices, dead, retries []string
	for _, p := range t.Providers {
		commands = append(commands, s.Command(p))
		notices = append(notices, s.Notices(p))
		dead = append(dead, s.Dead(p))
		retries = append(retries, s.LaterAll(p), s.Retry(p), s.LaterNotices(p), s.RetryNotices(p))
	}
	common := func(name, description string, subjects []string) jetstream.StreamConfig {
		return jetstream.StreamConfig{Name: name, Description: description, Subjects: subjects,
			Storage: jetstream.FileStorage, Replicas: t.Replicas, Duplicates: duplicateWindow,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1}
	}
	c := common(schemas.StreamCommands, "Refund commands, one subject a provider.", commands)
	c.Retention, c.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	r := common(schemas.StreamRetries, "Schedules that carry commands and notices until they fire.", retries)
	r.Retention, r.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardOld
	// Schedules need rollup: the newest schedule of a refund replaces the one before.
	r.AllowMsgSchedules, r.AllowRollup = true, true
	j := JournalConfig(s, t.Retain, t.Replicas)
	e := EventsConfig(s, t.Keep, t.Replicas)
	n := common(schemas.StreamNotices, "Results and reversals reported by providers.", notices)
	n.Retention, n.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	d := common(schemas.StreamDead, "Messages that were not accepted, and why.", dead)
	d.Retention, d.Discard, d.MaxAge = jetstream.LimitsPolicy, jetstream.DiscardOld, t.Accept
	return []jetstream.StreamConfig{c, r, j, e, n, d}
}

func (t Topology) ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) ([]Difference, error) {
	try, cancel := context.WithTimeout(ctx, topologyTry)
	defer cancel()
	stream, err := js.Stream(try, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(try, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another worker was first
			return t.ensureStream(ctx, js, want)
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
	return nil, addSubjects(try, js, want, found)
}

// addSubjects adds what is missing and never removes: another worker may serve other providers.
func addSubjects(ctx context.Context, js jetstream.JetStream, want, found jetstream.StreamConfig) error {
	missing := slices.DeleteFunc(slices.Clone(want.Subjects), func(s string) bool {
		return slices.Contains(found.Subjects, s)
	})
	if len(missing) == 0 {
		return nil
	}
	found.Subjects = append(slices.Clone(found.Subjects), missing...)
	_, err := js.UpdateStream(ctx, found)
	return err
}

// compare lists the load-bearing settings that are off.
func (t Topology) compare(want, found jetstream.StreamConfig) []Difference {
	var out []Difference
	check := func(ok bool, setting, is, wanted, flag string) {
		if !ok {
			out = append(out, Difference{Where: "stream " + want.Name, Setting: setting, Found: is, Wanted: wanted,
				Mend: mend(want.Name, flag)})
		}
	}
	window := max(t.Window, duplicateWindow)
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
		want.MaxAge = t.Retain
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
	check(t.foreign(found) == "", "subject", t.foreign(found), "subjects that begin with "+t.Subjects.Prefix+".",
		"--subjects=… (one NATS account serves one prefix)")
	return out
}

// foreign is a subject of another prefix, if the stream has one.
func (t Topology) foreign(found jetstream.StreamConfig) string {
	for _, s := range found.Subjects {
		if !strings.HasPrefix(s, t.Subjects.Prefix+".") {
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

const (
	// DefaultKeep is how long published events are kept.
	DefaultKeep = 400 * 24 * time.Hour
	// duplicateWindow is how long the server knows a message id.
	duplicateWindow = 10 * time.Minute
)

// JournalConfig is the stream of the journal. Only age takes entries from it: a chain that has lost one forgets an
// attempt. Its reads come from the leader.
func JournalConfig(s schemas.Subjects, retain time.Duration, replicas int) jetstream.StreamConfig {
	c := limits(schemas.StreamJournal, "All that is known of refunds. This is the truth: it is never purged.", replicas)
	c.Subjects = []string{s.JournalRefunds(), s.JournalProviders()}
	c.MaxAge = retain
	c.DenyDelete, c.DenyPurge = true, true
	return c
}

// EventsConfig is the stream of published events. It must keep them for at least as long as the journal does: the relay
// goes on behind the last one that is there. A keep of 0 is DefaultKeep.
func EventsConfig(s schemas.Subjects, keep time.Duration, replicas int) jetstream.StreamConfig {
	if keep == 0 {
		keep = DefaultKeep
	}
	c := limits(schemas.StreamEvents, "Events of refunds, in the order of the journal.", replicas)
	c.Subjects = []string{s.Events()}
	c.MaxAge = keep
	return c
}

func limits(name, description string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: name, Description: description, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1}
}
