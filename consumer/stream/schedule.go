package stream

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// Scheduled is a command or a notice on its way through a schedule.
type Scheduled struct {
	// Subject is the schedule's own: a new one under it replaces the one before. It fires on Target.
	Subject, Target string
	// ID names what is replaced, so that storing the schedule twice is harmless.
	ID string
	Copy
	Round int
	// At is when it fires, by the server's clock: the next whole second.
	At time.Time
}

// Copy is one copy of a command or a notice.
type Copy struct {
	Body   []byte
	Header nats.Header
	// Since is when it came, by the server's clock.
	Since time.Time
}

// Message is the message that carries a command or a notice until it fires.
func (s Scheduled) Message() *nats.Msg {
	msg := &nats.Msg{Subject: s.Subject, Data: s.Body, Header: ownHeaders(s.Header)}
	msg.Header.Set(schemas.HeaderMsgID, s.ID)
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+wholeSecond(s.At).Format(time.RFC3339))
	msg.Header.Set(jetstream.ScheduleTargetHeader, s.Target)
	if !s.Since.IsZero() {
		msg.Header.Set(schemas.HeaderSince, s.Since.UTC().Format(time.RFC3339Nano))
	}
	msg.Header.Del(schemas.HeaderRound)
	if s.Round > 0 {
		msg.Header.Set(schemas.HeaderRound, strconv.Itoa(s.Round))
	}
	return msg
}

// DueAt is when a schedule fires, by its server's clock; the zero time when it does not say.
func DueAt(h nats.Header) time.Time {
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

// Shifted moves a time by what two clocks are apart. Less than a second is within the rounding of schedules, and may be the
// time that the answer took. The zero time stays.
func Shifted(t time.Time, apart time.Duration) time.Time {
	if t.IsZero() || apart.Abs() < time.Second {
		return t
	}
	return t.Add(apart)
}
