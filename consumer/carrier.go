package consumer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/refund"
	"refundworker/consumer/stream"
	"refundworker/schemas"
)

// carrier is the message in hand, and the schedule that carries its refund on.
type carrier struct {
	*delivery
	// standing is the schedule that was read last, as it is stored.
	standing *jetstream.RawStreamMsg
}

// Standing is part of refund.Carrier.
func (c *carrier) Standing() (*refund.Carried, error) {
	err := c.untilDone(func() (err error) {
		c.standing, err = c.sender.Schedule(c.ctx, c.subjects().Later(c.in.Name, c.requestID))
		return err
	})
	if err != nil || c.standing == nil {
		return nil, noAnswer(err)
	}
	command, err := schemas.DecodeCommand(c.standing.Data, schemas.Arrival{Provider: c.in.Name})
	var newer *schemas.NewerVersionError
	if errors.As(err, &newer) {
		return &refund.Carried{Seq: c.standing.Sequence, Newer: true}, nil
	}
	fingerprint, unhashed := command.Fingerprint()
	if err != nil || unhashed != nil || command.RequestID != c.requestID {
		return &refund.Carried{Seq: c.standing.Sequence, Unreadable: true}, nil
	}
	since, _ := time.Parse(time.RFC3339Nano, c.standing.Header.Get(schemas.HeaderSince))
	return &refund.Carried{Seq: c.standing.Sequence, Command: command, Fingerprint: fingerprint, Arrived: since,
		Due: c.ownTime(stream.DueAt(c.standing.Header)), BodyHash: sha256.Sum256(c.standing.Data)}, nil
}

// Schedule is part of refund.Carrier.
func (c *carrier) Schedule(s refund.Schedule) error {
	copied := stream.Copy{Body: c.msg.Data(), Header: c.msg.Headers(), Since: s.Arrived}
	if s.KeepCopy {
		copied.Body, copied.Header = c.standing.Data, c.standing.Header
	}
	id := fmt.Sprintf("%s:later:%s:%d", c.requestID, c.stream, c.seq)
	if s.Replaces > 0 { // the same delivery may replace several: each is a message of its own
		id += ":" + strconv.FormatUint(s.Replaces, 10)
	}
	next := stream.Scheduled{Subject: c.subjects().Later(c.in.Name, c.requestID), Target: c.subjects().Retry(c.in.Name), ID: id,
		Round: s.Round, At: c.serverTime(s.At), Copy: copied}
	var stale bool
	err := c.untilDone(func() error {
		stale = false
		_, err := c.sender.PublishAfter(c.ctx, next.Message(), s.Replaces)
		if errors.Is(err, stream.ErrOvertaken) { // or the answer to an earlier try was lost
			stale, err = c.isAnother(id)
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", refund.ErrNoAnswer, err)
	case stale:
		return refund.ErrStale
	}
	return nil
}

// isAnother reports whether the refund's schedule is another one than that of an id.
func (c *carrier) isAnother(id string) (bool, error) {
	raw, err := c.sender.Schedule(c.ctx, c.subjects().Later(c.in.Name, c.requestID))
	return raw == nil || raw.Header.Get(schemas.HeaderMsgID) != id, err
}

// Wake is part of refund.Carrier.
func (c *carrier) Wake() error {
	return noAnswer(c.sender.Hurry(c.ctx, c.in.Name, c.requestID, c.serverTime(time.Now())))
}

// Bury is part of refund.Carrier.
func (c *carrier) Bury(reason schemas.Reason, detail string) error {
	return c.bury(stream.Letter{Provider: c.in.Name, Subject: c.msg.Subject(), Body: c.msg.Data(), Header: c.msg.Headers(), Stream: c.stream,
		Seq: c.seq, Reason: reason, Detail: detail, At: time.Now()})
}

// BuryStanding is part of refund.Carrier.
func (c *carrier) BuryStanding(s refund.Carried, reason schemas.Reason, detail string) error {
	raw := c.standing
	if raw == nil || raw.Sequence != s.Seq {
		return refund.ErrStale
	}
	return c.bury(stream.Letter{Provider: c.in.Name, Subject: raw.Subject, Body: raw.Data, Header: raw.Header, Stream: schemas.StreamRetries,
		Seq: raw.Sequence, Reason: reason, Detail: detail, At: time.Now()})
}

func (c *carrier) bury(l stream.Letter) error {
	err := c.untilDone(func() error {
		_, err := c.sender.Publish(c.ctx, l.Message(c.subjects()))
		return err
	})
	if err == nil {
		c.obs.buried(c.ctx, c.in.Name, l.Reason)
	}
	return noAnswer(err)
}

// Ack is part of refund.Carrier.
func (c *carrier) Ack() error { return noAnswer(c.msg.Ack()) }

// Nak is part of refund.Carrier.
func (c *carrier) Nak(delay time.Duration) error { return noAnswer(c.msg.NakWithDelay(delay)) }

// Term is part of refund.Carrier.
func (c *carrier) Term(reason schemas.Reason) error {
	return noAnswer(c.msg.TermWithReason(string(reason)))
}

// serverTime is a time by the clock of the server that fires schedules, ownTime the opposite. The zero time stays.
func (d *delivery) serverTime(t time.Time) time.Time {
	return stream.Shifted(t, d.store.Gate().Apart())
}

func (d *delivery) ownTime(t time.Time) time.Time { return stream.Shifted(t, -d.store.Gate().Apart()) }

func (d *delivery) subjects() schemas.Subjects { return d.sender.Subjects() }

// reportCarrier is a notice in hand: what it waits for, it waits for in a schedule of its own.
type reportCarrier struct {
	carrier
	notice schemas.Notice
}

// Schedule is part of refund.Carrier.
func (c *reportCarrier) Schedule(s refund.Schedule) error {
	id := c.notice.MsgID(c.msg.Data())
	next := stream.Scheduled{Subject: c.subjects().LaterNotice(c.in.Name, id), Target: c.subjects().RetryNotices(c.in.Name),
		ID: fmt.Sprintf("%s:later:%s:%d", id, c.stream, c.seq), At: c.serverTime(s.At),
		Copy: stream.Copy{Body: c.msg.Data(), Header: c.msg.Headers(), Since: s.Arrived}}
	err := c.untilDone(func() error {
		_, err := c.sender.Publish(c.ctx, next.Message())
		return err
	})
	return noAnswer(err)
}

var (
	_ refund.Carrier = (*carrier)(nil)
	_ refund.Carrier = (*reportCarrier)(nil)
)
