// Package operator is what a person does beside the workers: it looks at what stopped a provider and lets it go on.
//
// It reads the published events, and the one thing that it writes, a decision, is an entry of the journal like a worker's: its
// id is made of what it decides, so that doing it twice is harmless and of two operators only one has decided. It needs neither
// Redis nor a provider, and runs without a worker.
package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// answerTimeout bounds one look, publishedWithin the wait for a decision to be among the published events.
const (
	answerTimeout   = 5 * time.Second
	publishedWithin = 2 * time.Second
	publishedLook   = 20 * time.Millisecond
)

// VelocityStop is the last velocity stop of a provider and the last start, as the event stream has them.
type VelocityStop struct {
	Provider schemas.ProviderName
	// N is the number of the last stop; 0 when there is none.
	N int
	// Stopped and Started are the last event of each kind; nil when there is none.
	Stopped, Started *schemas.Event
}

// Holds reports whether nobody has started the provider again since it was stopped.
func (v VelocityStop) Holds() bool {
	return v.Stopped != nil && (v.Started == nil || v.Started.N != v.N)
}

// Start is an operator's decision to let a stopped provider go on.
type Start struct {
	Provider schemas.ProviderName
	By       schemas.Operator
}

// ErrNotStopped occurs when a provider is to be started again that no stop holds.
var ErrNotStopped = errors.New("the provider is not stopped")

// ErrStartedByOther occurs when somebody else started the provider in the same moment.
var ErrStartedByOther = errors.New("somebody else has started the provider")

// ReadVelocityStop reads the last stop and the last start of a provider.
func ReadVelocityStop(ctx context.Context, js jetstream.JetStream, subjects schemas.Subjects,
	p schemas.ProviderName) (VelocityStop, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	d := desk{js, subjects}
	stream, err := d.events(ctx)
	if err != nil {
		return VelocityStop{}, err
	}
	return d.velocityStop(ctx, stream, p)
}

// VelocityStops reads the last stop and the last start of every provider that was ever stopped, by name.
func VelocityStops(ctx context.Context, js jetstream.JetStream, subjects schemas.Subjects) ([]VelocityStop, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	d := desk{js, subjects}
	stream, err := d.events(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjects.Event(schemas.KindStopped, "*")))
	if err != nil {
		return nil, fmt.Errorf("list the stopped providers: %w", err)
	}
	var stops []VelocityStop
	for subject := range info.State.Subjects {
		name := strings.TrimPrefix(subject, subjects.Event(schemas.KindStopped, ""))
		stop, err := d.velocityStop(ctx, stream, schemas.ProviderName(name))
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
	}
	slices.SortFunc(stops, func(a, b VelocityStop) int { return strings.Compare(string(a.Provider), string(b.Provider)) })
	return stops, nil
}

// Waiting counts the commands of a provider that wait in their stream, and the refunds that wait in a schedule.
func Waiting(ctx context.Context, js jetstream.JetStream, subjects schemas.Subjects,
	p schemas.ProviderName) (commands, scheduled uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for _, w := range []struct {
		into            *uint64
		stream, subject string
	}{
		{&commands, schemas.StreamCommands, subjects.Command(p)},
		{&scheduled, schemas.StreamRetries, subjects.Retry(p)},
		{&scheduled, schemas.StreamRetries, subjects.LaterAll(p)},
	} {
		stream, err := js.Stream(ctx, w.stream)
		if err != nil {
			return 0, 0, fmt.Errorf("count what waits on %s: %w", w.subject, err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(w.subject))
		if err != nil {
			return 0, 0, fmt.Errorf("count what waits on %s: %w", w.subject, err)
		}
		for _, n := range info.State.Subjects {
			*w.into += n
		}
	}
	return commands, scheduled, nil
}

// StartAgain journals that a stopped provider may go on, and returns the event. Its id is made of the stop's number, so
// doing it again after a lost answer is harmless, and of two operators only one has started the provider: the other
// gets the first one's event and ErrStartedByOther.
func StartAgain(ctx context.Context, js jetstream.JetStream, subjects schemas.Subjects, start Start) (schemas.Event, error) {
	stop, err := ReadVelocityStop(ctx, js, subjects, start.Provider)
	if err != nil {
		return schemas.Event{}, err
	}
	if !stop.Holds() {
		return schemas.Event{}, fmt.Errorf("start %s again: %w", start.Provider, ErrNotStopped)
	}
	e := schemas.Event{Kind: schemas.KindStarted, Provider: start.Provider, OccurredAt: time.Now().UTC(),
		Reason: schemas.ReasonVelocityStop, N: stop.N, CurrencyCode: stop.Stopped.CurrencyCode, Window: stop.Stopped.Window,
		By: &start.By}
	if _, err := e.Encode(); err != nil {
		return schemas.Event{}, fmt.Errorf("start %s again: %w", start.Provider, err)
	}
	journal := stream.NewJournal(js, subjects)
	stored, err := journal.Note(ctx, ledger.Entry{Event: e, ID: e.ID()})
	if err == nil && stored.Stale {
		err = errors.New("the event's id is taken by something else")
	}
	if err != nil {
		return schemas.Event{}, fmt.Errorf("start %s again: %w", start.Provider, err)
	}
	d := desk{js, subjects}
	d.awaitPublished(ctx, start.Provider, stop.N)
	there, err := journal.Entry(ctx, stored.Seq) // our own, perhaps of a try whose answer was lost, or somebody else's
	switch {
	case err != nil:
		return schemas.Event{}, fmt.Errorf("read the start of %s: %w", start.Provider, err)
	case there.Event.By == nil || *there.Event.By != start.By:
		return there.Event, fmt.Errorf("start %s again: %w", start.Provider, ErrStartedByOther)
	}
	return there.Event, nil
}

// desk reads the published events: an operator's program may read them and nothing else of the truth.
type desk struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
}

// awaitPublished waits, for a moment, until a start is among the published events, so that whoever looks next sees it. Where
// no worker runs, nobody publishes it for now.
func (d desk) awaitPublished(ctx context.Context, p schemas.ProviderName, n int) {
	ctx, cancel := context.WithTimeout(ctx, publishedWithin)
	defer cancel()
	again := time.NewTicker(publishedLook)
	defer again.Stop()
	for {
		stop, err := ReadVelocityStop(ctx, d.js, d.subjects, p)
		if err == nil && stop.Started != nil && stop.Started.N >= n {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d desk) events(ctx context.Context) (jetstream.Stream, error) {
	s, err := d.js.Stream(ctx, schemas.StreamEvents)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamEvents, idempotency.ErrNoJournal)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", schemas.StreamEvents, err)
	}
	return s, nil
}

func (d desk) velocityStop(ctx context.Context, stream jetstream.Stream, p schemas.ProviderName) (VelocityStop, error) {
	stop := VelocityStop{Provider: p}
	var err error
	// The start first: so it cannot be of a later stop than the one that is read.
	if stop.Started, err = d.last(ctx, stream, d.subjects.Event(schemas.KindStarted, p)); err != nil {
		return VelocityStop{}, err
	}
	if stop.Stopped, err = d.last(ctx, stream, d.subjects.Event(schemas.KindStopped, p)); err != nil {
		return VelocityStop{}, err
	}
	if stop.Stopped != nil {
		stop.N = stop.Stopped.N
	}
	return stop, nil
}

// last reads the last event under a subject; nil when there is none.
func (d desk) last(ctx context.Context, stream jetstream.Stream, subject string) (*schemas.Event, error) {
	raw, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last event on %s: %w", subject, err)
	}
	e, err := schemas.DecodeEvent(raw.Data)
	if err != nil {
		return nil, fmt.Errorf("event %d on %s: %w", raw.Sequence, subject, err)
	}
	return &e, nil
}
