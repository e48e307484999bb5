package schemas

import "strings"

// Streams. The names are fixed: one deployment owns one NATS account.
const (
	StreamCommands = "REFUND_COMMANDS"
	StreamRetries  = "REFUND_RETRIES"
	StreamJournal  = "REFUND_JOURNAL"
	StreamEvents   = "REFUND_EVENTS"
	StreamNotices  = "REFUND_NOTICES"
	StreamDead     = "REFUND_DEAD"
)

// Headers of commands, events, schedules and dead letters.
const (
	HeaderMsgID       = "Nats-Msg-Id"
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
	HeaderBaggage     = "baggage"
	HeaderContentType = "content-type"

	// Headers of the CloudEvents binary form.
	HeaderSpecVersion = "ce-specversion"
	HeaderEventID     = "ce-id"
	HeaderEventType   = "ce-type"
	HeaderSource      = "ce-source"
	HeaderSubject     = "ce-subject"
	HeaderTime        = "ce-time"
	HeaderDataSchema  = "ce-dataschema"

	// HeaderKind is, in the journal, the kind of the event: its subject does not say it.
	HeaderKind = "Refund-Kind"
	// HeaderJournal is, on a published event, its sequence in the journal.
	HeaderJournal = "Refund-Journal"
	// HeaderPrevious is the journal sequence of this refund's event before.
	HeaderPrevious = "Refund-Previous"
	// HeaderOwner is the owner token of the claim under which an event was written.
	HeaderOwner = "Refund-Owner"
	// HeaderCommand is, on the journal's first entry of a refund and on parked ones, the command as it was published, in one
	// line: the refund can be carried on from it when every message that carried it is lost.
	HeaderCommand = "Refund-Command"
	// HeaderHold is what a dispatched event asks of its payment: "share", its amount out of what was captured; a
	// number, the sole hold, where the number is the journal position at which the payment was looked at; " first" behind
	// either where nothing was known of the payment then. Without it the call follows unasked.
	HeaderHold = "Refund-Hold"
	// HeaderRules is, on a dispatched event that asks for a hold, the version of the rules that grant it.
	HeaderRules = "Refund-Rules"
	// HeaderVelocity is, on a dispatched event, what the provider's refunds may come to within windows of time: each
	// bound as milliseconds:count:micros, 0 for no bound, "~" before those that only report; "-" for a refund that waited
	// when the provider was last started again.
	HeaderVelocity = "Refund-Velocity"
	// HeaderUndone is, on a dispatched event, the sequence up to which every earlier attempt surely did not reach the provider.
	HeaderUndone = "Refund-Undone"
	// HeaderRound counts, on a schedule, the rounds without progress; it only spaces them out.
	HeaderRound = "Refund-Round"
	// HeaderSince tells, on a schedule, when a worker first saw the notice, or when the command came into its stream.
	HeaderSince = "Refund-Since"

	HeaderDeadReason = "Refund-Dead-Reason"
	HeaderDeadDetail = "Refund-Dead-Detail"
	HeaderDeadAt     = "Refund-Dead-At"
	// Where a dead letter came from, and what of it did not fit.
	HeaderDeadSubject  = "Refund-Dead-Subject"
	HeaderDeadStream   = "Refund-Dead-Stream"
	HeaderDeadSequence = "Refund-Dead-Sequence"
	HeaderDeadMsgID    = "Refund-Dead-Msg-Id"
	HeaderDeadBodyHash = "Refund-Dead-Body-Sha256"
	HeaderDeadBodySize = "Refund-Dead-Body-Size"
	HeaderDeadOmitted  = "Refund-Dead-Omitted"
)

// DefaultPrefix begins every subject unless settings name another.
const DefaultPrefix = "refunds"

// Subjects spells the subjects of one deployment.
type Subjects struct {
	// Prefix is the first token (or tokens) of every subject; empty means DefaultPrefix.
	Prefix string
}

func (s Subjects) join(tokens ...string) string {
	prefix := s.Prefix
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return prefix + "." + strings.Join(tokens, ".")
}

// Command is where order services publish refund commands for a provider instance.
func (s Subjects) Command(p ProviderName) string { return s.join("commands", string(p)) }

// CommandProvider is the provider instance named by a command's subject, and whether it is one.
func (s Subjects) CommandProvider(subject string) (ProviderName, bool) {
	name, ok := strings.CutPrefix(subject, s.join("commands")+".")
	return ProviderName(name), ok && ProviderName(name).Valid()
}

// Retry is where schedules fire.
func (s Subjects) Retry(p ProviderName) string { return s.join("retry", string(p)) }

// Later is the schedule of one refund; a new one replaces the one before.
func (s Subjects) Later(p ProviderName, id RequestID) string {
	return s.join("later", string(p), string(id))
}

// LaterAll matches the schedules of every refund of a provider instance.
func (s Subjects) LaterAll(p ProviderName) string { return s.join("later", string(p), "*") }

// LaterNotice is the schedule of one notice. A notice's id may hold any character, so its hash names it.
func (s Subjects) LaterNotice(p ProviderName, noticeID string) string {
	return s.join("later-notices", string(p), hashHex([]byte(noticeID), 16))
}

// LaterNotices matches the schedules of the notices of a provider instance.
func (s Subjects) LaterNotices(p ProviderName) string { return s.join("later-notices", string(p), "*") }

// RetryNotices is where the schedules of notices fire.
func (s Subjects) RetryNotices(p ProviderName) string { return s.join("retry-notices", string(p)) }

// Journal is where the events of one refund are stored, whatever their kind.
func (s Subjects) Journal(id RequestID) string { return s.join("journal", "r", string(id)) }

// JournalRefunds matches the events of every single refund.
func (s Subjects) JournalRefunds() string { return s.join("journal", "r", "*") }

// JournalAbout is where events about a provider instance, or about no single refund, are stored.
func (s Subjects) JournalAbout(p ProviderName) string { return s.join("journal", "x", string(p)) }

// JournalProviders matches what is about no single refund.
func (s Subjects) JournalProviders() string { return s.join("journal", "x", "*") }

// JournalAll matches every entry of the journal.
func (s Subjects) JournalAll() string { return s.join("journal", ">") }

// Event is where an event of a kind is published.
func (s Subjects) Event(k Kind, p ProviderName) string {
	return s.join("events", string(k), string(p))
}

// Events matches every event.
func (s Subjects) Events() string { return s.join("events", ">") }

// Notices is where results and reversals of a provider instance are published.
func (s Subjects) Notices(p ProviderName) string { return s.join("notices", string(p)) }

// Dead is where dead letters of a provider instance go.
func (s Subjects) Dead(p ProviderName) string { return s.join("dead", string(p)) }

// DeadAll matches every dead letter.
func (s Subjects) DeadAll() string { return s.join("dead", "*") }
