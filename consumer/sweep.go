package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	// sweepEvery is the time between two passes.
	sweepEvery = time.Minute
	// sweepBatch is how many refunds' messages are looked for in one pass: reading one costs the server a request. All
	// have their turn, one batch after another.
	sweepBatch = 500
	// sweepPause spaces those requests out.
	sweepPause = 50 * time.Millisecond
	// sweepQueue is how many messages of a queue are looked through for those that carry a refund. With more of them
	// waiting, whatever is missing is looked for later.
	sweepQueue = 5000
	// settling is how long a refund is left alone after its last event, and a schedule after it was due.
	settling = 2 * time.Minute
)

// sweep counts the open refunds, and sees to it that each has a message that carries it. Nothing loses one as a rule; a
// schedule that falls due while its stream takes nothing never fires, for one, and a person may delete what they should
// not. One worker sweeps at a time, the one whose projector leads; two are harmless, for what they store is conditional.
type sweep struct {
	store   *idempotency.Store
	journal *stream.Journal
	sender  *stream.Sender
	obs     *observer
	log     *slog.Logger
	// commands and retries are the queues that carry refunds.
	commands, retries *stream.Queue
	// last is what was counted last; nil while another worker sweeps.
	last atomic.Pointer[census]
	// next is where the next batch begins, missed are those for which no message was found in the last pass.
	next   int
	missed map[schemas.RequestID]bool
	// uncarried counts what this pass could not carry on.
	uncarried map[schemas.ProviderName]int64
}

// run sweeps while leads reports true, until ctx ends.
func (s *sweep) run(ctx context.Context, leads func() bool) {
	told, due := "", time.Time{}
	for ctx.Err() == nil {
		switch {
		case !leads():
			s.last.Store(nil)
			s.next, s.missed, due = 0, nil, time.Time{}
		case !time.Now().Before(due):
			err := s.pass(ctx)
			if due = time.Now().Add(sweepEvery); err == nil {
				told = ""
			} else if ctx.Err() == nil {
				due = time.Now().Add(sweepEvery / 4)
				if err.Error() != told {
					told = err.Error()
					s.log.Warn("open refunds are not looked through now", "error", told)
				}
			}
		}
		_ = pause(ctx, relayEvery)
	}
}

// pass counts all open refunds, and looks for the messages of a batch of them.
func (s *sweep) pass(ctx context.Context) error {
	counted, n := newCensus(), 0
	var batch []idempotency.Open
	err := s.store.EachOpen(ctx, func(o idempotency.Open) {
		counted.add(o)
		due := n >= s.next && n < s.next+sweepBatch || s.missed[o.RequestID]
		if n++; due && !o.Leased && time.Since(o.Since) > settling {
			batch = append(batch, o)
		}
	})
	if err != nil {
		return err
	}
	counted.keep(s.last.Load())
	s.last.Store(counted)
	s.uncarried = map[schemas.ProviderName]int64{}
	missed, carried := map[schemas.RequestID]bool{}, map[schemas.ProviderName]*carriedSet{}
	for _, o := range batch {
		has, err := s.hasMessage(ctx, o, carried)
		if err != nil { // the others need not wait for it
			s.log.WarnContext(ctx, "it is not known whether a message carries an open refund", "requestId", string(o.RequestID),
				"provider", string(o.Provider), "error", err.Error())
		}
		if err != nil || !has {
			missed[o.RequestID] = true
		}
		if pause(ctx, sweepPause) != nil {
			return nil
		}
	}
	s.missed = missed
	s.last.Store(&census{states: counted.states, atRisk: counted.atRisk, uncarried: s.uncarried})
	if s.next += sweepBatch; s.next >= n {
		s.next = 0
	}
	return nil
}

// hasMessage reports whether a message carries the refund. One for which none was found in the last pass either is carried on.
func (s *sweep) hasMessage(ctx context.Context, o idempotency.Open, carried map[schemas.ProviderName]*carriedSet) (bool, error) {
	scheduled, err := s.isScheduled(ctx, o)
	if scheduled || err != nil || !s.missed[o.RequestID] { // it may be on its way from one message to the next
		return scheduled, err
	}
	if carried[o.Provider] == nil {
		if carried[o.Provider], err = s.carried(ctx, o.Provider); err != nil {
			return false, err
		}
	}
	switch carried[o.Provider].has(o) {
	case yes:
		return true, nil
	case unknown:
		return false, nil // more waits than is looked through
	}
	return s.restore(ctx, o)
}

// isScheduled reports whether a schedule carries the refund. One that is overdue fires now.
func (s *sweep) isScheduled(ctx context.Context, o idempotency.Open) (bool, error) {
	m, err := s.retries.Last(ctx, s.sender.Subjects().Later(o.Provider, o.RequestID))
	if m == nil || err != nil {
		return false, err
	}
	if due := stream.DueAt(m.Header); !due.IsZero() && time.Now().Add(s.store.Gate().Apart()).Sub(due) < settling {
		return true, nil
	}
	if err := s.sender.Hurry(ctx, o.Provider, o.RequestID, time.Now().Add(s.store.Gate().Apart())); err != nil {
		return false, err
	}
	s.obs.restored(ctx, o.Provider, "overdue")
	s.log.WarnContext(ctx, "a refund's schedule did not fire when it was due: it fires now", "requestId", string(o.RequestID),
		"provider", string(o.Provider), "due", stream.DueAt(m.Header).String())
	return true, nil
}

// carriedSet is the refunds that messages of a provider's queues carry.
type carriedSet struct {
	by map[schemas.RequestID]schemas.Fingerprint
	// all is set when every message was looked at.
	all bool
}

// known is whether something is so, as far as anybody knows.
type known int

const (
	unknown known = iota
	yes
	no
)

// has tells whether a message carries a refund. One with other content under its requestId does not.
func (c *carriedSet) has(o idempotency.Open) known {
	switch fingerprint, there := c.by[o.RequestID]; {
	case there && fingerprint == o.Fingerprint:
		return yes
	case !c.all:
		return unknown
	}
	return no
}

func (s *sweep) carried(ctx context.Context, p schemas.ProviderName) (*carriedSet, error) {
	set := &carriedSet{by: map[schemas.RequestID]schemas.Fingerprint{}}
	take := func(m stream.Waiting) {
		command, err := schemas.DecodeCommand(m.Data, schemas.Arrival{Provider: p})
		if err != nil {
			return
		}
		if fingerprint, err := command.Fingerprint(); err == nil {
			set.by[command.RequestID] = fingerprint
		}
	}
	for _, queue := range []struct {
		of      *stream.Queue
		subject string
	}{{s.retries, s.sender.Subjects().Retry(p)}, {s.commands, s.sender.Subjects().Command(p)}} {
		all, err := queue.of.Each(ctx, queue.subject, sweepQueue, take)
		if err != nil || !all {
			return set, err
		}
	}
	set.all = true
	return set, nil
}

// restore stores the message that carries a refund on, made of what the journal says. It reports false when the journal does
// not have the refund's command.
func (s *sweep) restore(ctx context.Context, o idempotency.Open) (bool, error) {
	chain, err := s.journal.Chain(ctx, o.RequestID)
	if err != nil {
		return false, err
	}
	refund := ledger.Fold(chain, 0)
	switch {
	case refund.Outcome != nil || refund.First == nil: // it has ended meanwhile
		return true, nil
	case refund.Command == nil:
		s.log.ErrorContext(ctx, "no message carries an open refund, and the journal does not have its command: publish the same "+
			"command again", "requestId", string(o.RequestID), "provider", string(o.Provider), "state", string(refund.State))
		s.uncarried[o.Provider]++
		return false, nil
	}
	subjects := s.sender.Subjects()
	next := stream.Scheduled{Subject: subjects.Later(o.Provider, o.RequestID), Target: subjects.Retry(o.Provider),
		ID: fmt.Sprintf("%s:restored:%d", o.RequestID, refund.Head), At: time.Now().Add(s.store.Gate().Apart()),
		Copy: stream.Copy{Body: refund.Command, Header: stream.TraceHeader(chain[0]), Since: refund.First.OccurredAt}}
	if _, err := s.sender.PublishAfter(ctx, next.Message(), 0); errors.Is(err, stream.ErrOvertaken) {
		return true, nil // one stands there by now
	} else if err != nil {
		return false, err
	}
	s.obs.restored(ctx, o.Provider, "missing")
	s.log.ErrorContext(ctx, "no message carried an open refund: it is carried on from the journal", "requestId", string(o.RequestID),
		"provider", string(o.Provider), "state", string(refund.State))
	return true, nil
}

// restored counts a refund that is carried on.
func (o *observer) restored(ctx context.Context, p schemas.ProviderName, reason string) {
	o.carriers.Add(ctx, 1, metric.WithAttributes(attribute.String(attrProvider, string(p)), attribute.String(attrReason, reason)))
}
