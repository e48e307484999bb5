package consumer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// standing is the schedule under this refund's requestId that a new one would replace.
type standing struct {
	command schemas.Command
	body    []byte
	header  nats.Header
	subject string
	seq     uint64
	// rival tells that it carries other content. That can come about only while nothing is journalled about the
	// requestId and Redis has lost the first content's claim. Replaced, its command would be forgotten.
	rival bool
}

// due is when the schedule fires; the zero time when it does not say.
func (s *standing) due() time.Time {
	at, _ := time.Parse("@at "+time.RFC3339, s.header.Get(jetstream.ScheduleHeader))
	return at
}

// copy is the schedule's. One that does not say when it came is taken for the first.
func (s *standing) copy() copied {
	since, _ := time.Parse(time.RFC3339Nano, s.header.Get(schemas.HeaderSince))
	return copied{body: s.body, header: s.header, since: since}
}

// standing reads the schedule that a new one would replace, until it is read or ctx ends; nil when there is none.
func (p *processor) standing(ctx context.Context, d *delivery) (found *standing, err error) {
	err = untilDone(ctx, func() (bool, error) {
		found, err = p.standingOf(ctx, d)
		return err == nil, err
	})
	return found, err
}

// standingOf tries once.
func (p *processor) standingOf(ctx context.Context, d *delivery) (*standing, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	stream, err := p.journal.js.Stream(ctx, schemas.StreamRetries)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamRetries, err)
	}
	raw, err := stream.GetLastMsgForSubject(ctx, p.journal.subjects.Later(p.in.Name, d.command.RequestID))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the refund's schedule: %w", err)
	}
	other, err := schemas.DecodeCommand(raw.Data, schemas.Arrival{Provider: p.in.Name})
	if err != nil {
		return nil, nil // not a command: nothing is lost with it
	}
	mine, err := d.command.Fingerprint()
	if err != nil {
		return nil, err
	}
	theirs, err := other.Fingerprint()
	if err != nil {
		return nil, err
	}
	return &standing{command: other, body: raw.Data, header: raw.Header, subject: raw.Subject, seq: raw.Sequence,
		rival: mine != theirs}, nil
}

// yield gives way to a rival that was first, where nothing is journalled about the requestId.
func (p *processor) yield(ctx context.Context, d *delivery, decision Decision) (Decision, error) {
	if decision.Then != Later || decision.Delay < scheduleFloor || decision.Kind != "" || d.previous > 0 {
		return decision, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	r, err := p.standing(ctx, d)
	if err != nil || r == nil || !r.rival {
		return decision, err
	}
	fingerprint, err := r.command.Fingerprint()
	if err != nil {
		return decision, err
	}
	d.claim.Record.Fingerprint = fingerprint
	return Decision{Kind: schemas.KindRejected, Reason: schemas.ReasonRequestIDConflict, Release: decision.Release,
		Then: Terminate, Detail: "the requestId belongs to a command with other content, which waits"}, nil
}

// rejectRival rejects a rival whose requestId the journal has given to this delivery's content.
func (p *processor) rejectRival(ctx context.Context, d *delivery, r *standing) error {
	mine, err := d.command.Fingerprint()
	if err != nil {
		return err
	}
	e := schemas.NewEvent(schemas.KindRejected, r.command, time.Now())
	e.BodyHash, e.Reason = sha256.Sum256(r.body), schemas.ReasonRequestIDConflict
	e.Existing = &schemas.Existing{Kind: d.claim.Record.State.Kind(), Fingerprint: mine.String()}
	out, err := p.outgoing(e, entryHeaders{trace: r.header})
	if err != nil {
		return err
	}
	if err := p.keep(ctx, out.msg); err != nil {
		return err
	}
	return p.keep(ctx, p.journal.deadLetter(letter{provider: p.in.Name, subject: r.subject, body: r.body,
		header: r.header, stream: schemas.StreamRetries, seq: r.seq, reason: schemas.ReasonRequestIDConflict,
		detail: "the requestId belongs to a command with other content", at: time.Now()}))
}
