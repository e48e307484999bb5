package stream

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

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
