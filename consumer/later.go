package consumer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// scheduled is a command or a notice on its way through a schedule.
type scheduled struct {
	// subject is the schedule's own: a new one under it replaces the one before. It fires on target.
	subject, target string
	// id names what is replaced, so that storing the schedule twice is harmless.
	id string
	copied
	round int
	at    time.Time
}

// copied is one copy of a command or a notice.
type copied struct {
	body   []byte
	header nats.Header
	// since is when it came, by the server's clock.
	since time.Time
}

// schedule is the message that carries a command or a notice until it fires.
func schedule(s scheduled) *nats.Msg {
	msg := &nats.Msg{Subject: s.subject, Data: s.body, Header: ownHeaders(s.header)}
	msg.Header.Set(schemas.HeaderMsgID, s.id)
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+wholeSecond(s.at).Format(time.RFC3339))
	msg.Header.Set(jetstream.ScheduleTargetHeader, s.target)
	if !s.since.IsZero() {
		msg.Header.Set(schemas.HeaderSince, s.since.UTC().Format(time.RFC3339Nano))
	}
	msg.Header.Del(schemas.HeaderRound)
	if s.round > 0 {
		msg.Header.Set(schemas.HeaderRound, strconv.Itoa(s.round))
	}
	return msg
}

// dueAt is when a schedule fires, by its server's clock; the zero time when it does not say.
func dueAt(h nats.Header) time.Time {
	at, _ := time.Parse("@at "+time.RFC3339, h.Get(jetstream.ScheduleHeader))
	return at
}

// wholeSecond rounds up: the server knows whole seconds and would fire early.
func wholeSecond(t time.Time) time.Time {
	whole := t.UTC().Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return whole
}

// ownHeaders are a message's headers without those that the server gives a meaning to.
func ownHeaders(h nats.Header) nats.Header {
	out := nats.Header{}
	for name, values := range h {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") {
			out[name] = values
		}
	}
	return out
}

// letter is a message that was not accepted, and why.
type letter struct {
	provider schemas.ProviderName
	subject  string
	body     []byte
	header   nats.Header
	stream   string
	seq      uint64
	reason   schemas.Reason
	detail   string
	at       time.Time
}

const (
	// deadBodyMax is how much of a body a dead letter keeps; of a longer one, the head.
	deadBodyMax   = 512 << 10
	deadHeaderMax = 16 << 10
	deadDetailMax = 4 << 10
)

// deadLetter is the message that keeps what was not accepted, with where it came from.
func deadLetter(subjects schemas.Subjects, l letter) *nats.Msg {
	msg := &nats.Msg{Subject: subjects.Dead(l.provider), Data: l.body, Header: nats.Header{}}
	if headerSize(l.header) <= deadHeaderMax {
		msg.Header = ownHeaders(l.header)
		if id := l.header.Get(schemas.HeaderMsgID); id != "" {
			msg.Header.Set(schemas.HeaderDeadMsgID, id)
		}
	} else {
		msg.Header.Set(schemas.HeaderDeadOmitted, "headers")
	}
	if len(l.body) > deadBodyMax {
		sum := sha256.Sum256(l.body)
		msg.Data = l.body[:deadBodyMax]
		msg.Header.Set(schemas.HeaderDeadBodyHash, hex.EncodeToString(sum[:]))
		msg.Header.Set(schemas.HeaderDeadBodySize, strconv.Itoa(len(l.body)))
	}
	detail := strings.NewReplacer("\r", " ", "\n", " ").Replace(l.detail)
	if len(detail) > deadDetailMax {
		detail = detail[:deadDetailMax]
	}
	msg.Header.Set(schemas.HeaderMsgID, fmt.Sprintf("dead-%s-%d", l.stream, l.seq))
	msg.Header.Set(schemas.HeaderDeadSubject, l.subject)
	msg.Header.Set(schemas.HeaderDeadStream, l.stream)
	msg.Header.Set(schemas.HeaderDeadSequence, strconv.FormatUint(l.seq, 10))
	msg.Header.Set(schemas.HeaderDeadReason, string(l.reason))
	msg.Header.Set(schemas.HeaderDeadDetail, detail)
	msg.Header.Set(schemas.HeaderDeadAt, l.at.UTC().Format(time.RFC3339Nano))
	return msg
}

func headerSize(h nats.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}
