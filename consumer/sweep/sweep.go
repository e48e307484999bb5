// Package sweep counts the open refunds, and sees to it that each of them has a message that carries it.
//
// Nothing loses such a message as a rule. But a schedule that falls due while its stream takes nothing never fires, and a person
// may delete what they should not. Then the refund is carried on from the journal: with its command and trace, as if nothing had
// been. One worker sweeps at a time, the one whose projector leads; two are harmless, for what they store is conditional.
//
// It decides nothing about money: the message that it stores goes through the protocol like any other.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Names of metrics and attributes of this package.
const (
	metricOpen       = "refund.open"
	metricOpenOldest = "refund.open.oldest"
	metricAtRisk     = "refund.at_risk"
	metricUncarried  = "refund.uncarried"
	metricCarriers   = "refund.carriers.restored"
	attrProvider     = "provider"
	attrReason       = "reason"
	attrState        = "state"
	attrCurrency     = "currency"
)

const (
	// passEvery is the time between two passes, leadEvery that between two looks at whether this worker leads.
	passEvery = time.Minute
	leadEvery = 250 * time.Millisecond
	// batchSize is how many refunds' messages are looked for in one pass: reading one costs the server a request. All
	// have their turn, one batch after another.
	batchSize = 500
	// readEvery spaces those requests out.
	readEvery = 50 * time.Millisecond
	// queueLimit is how many messages of a queue are looked through for those that carry a refund. With more of them
	// waiting, whatever is missing is looked for later.
	queueLimit = 5000
	// settling is how long a refund is left alone after its last event, and a schedule after it was due.
	settling = 2 * time.Minute
)

// Config is what is swept. Every field is needed.
type Config struct {
	Store   *idempotency.Store
	Journal *stream.Journal
	Sender  *stream.Sender
	// Commands and Retries are the streams of messages that carry refunds.
	Commands, Retries *stream.Queue
	// Providers are the instances whose open refunds are measured. Those of others are carried on all the same.
	Providers []schemas.ProviderName
	Meter     metric.Meter
	Log       *slog.Logger
}

// Sweep is one worker's sweep. Run is for one goroutine.
type Sweep struct {
	cfg      Config
	restored metric.Int64Counter
	// last is what was counted last; nil while another worker sweeps.
	last atomic.Pointer[census]
	// next is where the next batch begins, missed are those for which no message was found in the last pass.
	next   int
	missed map[schemas.RequestID]bool
	// uncarried counts what this pass could not carry on.
	uncarried map[schemas.ProviderName]int64
}

// New returns a sweep that has not begun, and registers its metrics.
func New(cfg Config) *Sweep {
	s := &Sweep{cfg: cfg}
	var err error
	s.restored, err = cfg.Meter.Int64Counter(metricCarriers, metric.WithUnit("{refund}"),
		metric.WithDescription("Open refunds that no message carried any more, or only an overdue one."))
	if err != nil {
		otel.Handle(err) // the instrument still works, measuring nothing
	}
	s.measure(cfg.Meter)
	return s
}

// Run sweeps while leads reports true, until ctx ends.
func (s *Sweep) Run(ctx context.Context, leads func() bool) {
	logged, due := "", time.Time{}
	again := time.NewTicker(leadEvery)
	defer again.Stop()
	for ctx.Err() == nil {
		switch {
		case !leads():
			s.last.Store(nil)
			s.next, s.missed, due = 0, nil, time.Time{}
		case !time.Now().Before(due):
			err := s.pass(ctx)
			if due = time.Now().Add(passEvery); err == nil {
				logged = ""
			} else if ctx.Err() == nil {
				due = time.Now().Add(passEvery / 4)
				if err.Error() != logged {
					logged = err.Error()
					s.cfg.Log.Warn("open refunds are not looked through now", "error", logged)
				}
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// pass counts all open refunds, and looks for the messages of a batch of them.
func (s *Sweep) pass(ctx context.Context) error {
	counted, n := newCensus(), 0
	var batch []idempotency.Open
	err := s.cfg.Store.EachOpen(ctx, func(o idempotency.Open) {
		counted.add(o)
		due := n >= s.next && n < s.next+batchSize || s.missed[o.RequestID]
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
	paced := time.NewTicker(readEvery)
	defer paced.Stop()
	for _, o := range batch {
		has, err := s.hasMessage(ctx, o, carried)
		if err != nil { // the others need not wait for it
			s.cfg.Log.WarnContext(ctx, "it is not known whether a message carries an open refund", "requestId", string(o.RequestID),
				"provider", string(o.Provider), "error", err.Error())
		}
		if err != nil || !has {
			missed[o.RequestID] = true
		}
		select {
		case <-paced.C:
		case <-ctx.Done():
			return nil
		}
	}
	s.missed = missed
	s.last.Store(&census{states: counted.states, atRisk: counted.atRisk, uncarried: s.uncarried})
	if s.next += batchSize; s.next >= n {
		s.next = 0
	}
	return nil
}

// hasMessage reports whether a message carries the refund. One for which none was found in the last pass either is carried on.
func (s *Sweep) hasMessage(ctx context.Context, o idempotency.Open, carried map[schemas.ProviderName]*carriedSet) (bool, error) {
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
func (s *Sweep) isScheduled(ctx context.Context, o idempotency.Open) (bool, error) {
	m, err := s.cfg.Retries.Last(ctx, s.cfg.Sender.Subjects().Later(o.Provider, o.RequestID))
	if m == nil || err != nil {
		return false, err
	}
	if due := stream.DueAt(m.Header); !due.IsZero() && time.Now().Add(s.cfg.Store.Gate().Apart()).Sub(due) < settling {
		return true, nil
	}
	if err := s.cfg.Sender.Hurry(ctx, o.Provider, o.RequestID, time.Now().Add(s.cfg.Store.Gate().Apart())); err != nil {
		return false, err
	}
	s.count(ctx, o.Provider, "overdue")
	s.cfg.Log.WarnContext(ctx, "a refund's schedule did not fire when it was due: it fires now", "requestId", string(o.RequestID),
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

// has says whether a message carries a refund. One with other content under its requestId does not.
func (c *carriedSet) has(o idempotency.Open) known {
	switch fingerprint, there := c.by[o.RequestID]; {
	case there && fingerprint == o.Fingerprint:
		return yes
	case !c.all:
		return unknown
	}
	return no
}

func (s *Sweep) carried(ctx context.Context, p schemas.ProviderName) (*carriedSet, error) {
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
	}{{s.cfg.Retries, s.cfg.Sender.Subjects().Retry(p)}, {s.cfg.Commands, s.cfg.Sender.Subjects().Command(p)}} {
		all, err := queue.of.Each(ctx, queue.subject, queueLimit, take)
		if err != nil || !all {
			return set, err
		}
	}
	set.all = true
	return set, nil
}

// restore stores the message that carries a refund on, made of what the journal says. It reports false when the journal does
// not have the refund's command.
func (s *Sweep) restore(ctx context.Context, o idempotency.Open) (bool, error) {
	chain, err := s.cfg.Journal.Chain(ctx, o.RequestID)
	if err != nil {
		return false, err
	}
	refund := ledger.Fold(chain, 0)
	switch {
	case refund.Outcome != nil: // it has ended meanwhile
		return true, nil
	case refund.First == nil:
		s.cfg.Log.ErrorContext(ctx, "no message carries an open refund, and the journal has nothing of it any more: ask the provider "+
			"what became of it", "requestId", string(o.RequestID), "provider", string(o.Provider))
		s.uncarried[o.Provider]++
		return false, nil
	case refund.Command == nil:
		s.cfg.Log.ErrorContext(ctx, "no message carries an open refund, and the journal does not have its command: publish the same "+
			"command again", "requestId", string(o.RequestID), "provider", string(o.Provider), "state", string(refund.State))
		s.uncarried[o.Provider]++
		return false, nil
	}
	subjects := s.cfg.Sender.Subjects()
	next := stream.Scheduled{Subject: subjects.Later(o.Provider, o.RequestID), Target: subjects.Retry(o.Provider),
		ID: fmt.Sprintf("%s:restored:%d", o.RequestID, refund.Head), At: time.Now().Add(s.cfg.Store.Gate().Apart()),
		Copy: stream.Copy{Body: refund.Command, Header: stream.TraceHeader(*ledger.FirstOwn(chain)), Since: refund.First.OccurredAt}}
	if _, err := s.cfg.Sender.PublishAfter(ctx, next.Message(), 0); errors.Is(err, stream.ErrOvertaken) {
		return true, nil // one stands there by now
	} else if err != nil {
		return false, err
	}
	s.count(ctx, o.Provider, "missing")
	s.cfg.Log.ErrorContext(ctx, "no message carried an open refund: it is carried on from the journal", "requestId", string(o.RequestID),
		"provider", string(o.Provider), "state", string(refund.State))
	return true, nil
}

// count counts a refund that is carried on.
func (s *Sweep) count(ctx context.Context, p schemas.ProviderName, reason string) {
	s.restored.Add(ctx, 1, metric.WithAttributes(attribute.String(attrProvider, string(p)), attribute.String(attrReason, reason)))
}
