package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/operator"
	"refundworker/idempotency"
	"refundworker/schemas"
)

// startMeans is what an operator has to know before a provider is started again.
const startMeans = `
velocity show tells which providers are stopped, or were. velocity start lets a stopped one go on:
What waits now is let go and not counted again; what is published from then on is counted from zero.
Look at what waits before you start: show tells how much it is.
`

// velocityQuery is what an operator asks for.
type velocityQuery struct {
	action   string
	provider string
	by       schemas.Operator
}

// velocity shows and lifts the velocity stops of providers.
func (p *program) velocity(ctx context.Context, args []string) error {
	var o overrides
	var q velocityQuery
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		q.action, args = args[0], args[1:]
	}
	set := p.flags("velocity")
	o.bindClient(set)
	set.StringVar(&q.provider, "provider", "", "`name` of the provider; without it show lists every one that was ever stopped")
	set.StringVar(&q.by.Note, "note", "", "why it may go on, `text` that is kept (start)")
	set.StringVar(&q.by.Operator, "operator", "", "`name` of who decides, which is kept (start; default $USER)")
	if _, err := p.parse(set, args, 0); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(p.stdout, startMeans)
		}
		return err
	}
	if err := q.check(p.getenv); err != nil {
		return usageError{err}
	}
	js, prefix, err := o.reach(p.getenv)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	return q.do(ctx, velocityDesk{js, schemas.Subjects{Prefix: prefix}, p.stdout})
}

func (q *velocityQuery) check(getenv func(string) string) error {
	var errs []error
	if q.provider != "" && !schemas.ProviderName(q.provider).Valid() {
		errs = append(errs, errors.New("--provider: must be 1 to 32 characters of a-z 0-9 -"))
	}
	switch q.action {
	case "show":
		if q.by != (schemas.Operator{}) {
			errs = append(errs, errors.New("--note and --operator: only velocity start keeps them"))
		}
	case "start":
		if q.provider == "" {
			errs = append(errs, errors.New("--provider: is needed; velocity show lists what is stopped"))
		}
		if q.by.Note = strings.TrimSpace(q.by.Note); q.by.Note == "" {
			errs = append(errs, errors.New("--note: is needed: whoever reads the events later wants to know why"))
		}
		if q.by.Operator = strings.TrimSpace(cmp.Or(q.by.Operator, getenv("USER"))); q.by.Operator == "" {
			errs = append(errs, errors.New("--operator: is needed, because $USER is not set: the start is kept with a name"))
		}
	default:
		errs = append(errs, fmt.Errorf("velocity wants show or start, not %q; see refundworker velocity --help", q.action))
	}
	return errors.Join(errs...)
}

// velocityDesk is where an operator's question is answered.
type velocityDesk struct {
	js       jetstream.JetStream
	subjects schemas.Subjects
	out      io.Writer
}

func (q *velocityQuery) do(ctx context.Context, desk velocityDesk) error {
	p := schemas.ProviderName(q.provider)
	var err error
	switch {
	case q.action == "start":
		err = desk.start(ctx, operator.Start{Provider: p, By: q.by})
	case p != "":
		var stop operator.VelocityStop
		if stop, err = operator.ReadVelocityStop(ctx, desk.js, desk.subjects, p); err == nil {
			err = desk.show(ctx, stop)
		}
	default:
		err = desk.showAll(ctx)
	}
	if errors.Is(err, idempotency.ErrNoJournal) {
		return fmt.Errorf("there is no stream %s: has a worker been started once?", schemas.StreamEvents)
	}
	return err
}

func (d velocityDesk) showAll(ctx context.Context) error {
	stops, err := operator.VelocityStops(ctx, d.js, d.subjects)
	if err != nil {
		return err
	}
	if len(stops) == 0 {
		fmt.Fprintln(d.out, "no stop in the event stream")
	}
	for _, stop := range stops {
		if err := d.show(ctx, stop); err != nil {
			return err
		}
	}
	return nil
}

// show tells a person where a provider stands: a line, one more for what waits, and one for whoever started it last.
func (d velocityDesk) show(ctx context.Context, v operator.VelocityStop) error {
	switch s := v.Stopped; {
	case s == nil:
		fmt.Fprintf(d.out, "%s  running  no stop in the event stream\n", v.Provider)
	case v.Holds():
		fmt.Fprintf(d.out, "%s  STOPPED  since %s  number %d  %s per %s\n", v.Provider, s.OccurredAt.UTC().Format(lineTime), v.N,
			s.CurrencyCode, s.Window)
	default:
		fmt.Fprintf(d.out, "%s  running  last stopped %s  number %d  %s per %s\n", v.Provider, s.OccurredAt.UTC().Format(lineTime),
			v.N, s.CurrencyCode, s.Window)
	}
	if v.Holds() {
		commands, scheduled, err := operator.Waiting(ctx, d.js, d.subjects, v.Provider)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "  waiting: %d commands not looked at yet, %d refunds in a schedule\n", commands, scheduled)
	}
	if v.Started != nil {
		fmt.Fprintf(d.out, "  last started %s\n", startedText(*v.Started))
	}
	return nil
}

// startedText is when a provider was started, after which stop, by whom and why.
func startedText(e schemas.Event) string {
	text := fmt.Sprintf("%s  number %d", e.OccurredAt.UTC().Format(lineTime), e.N)
	if e.By != nil {
		text += fmt.Sprintf("  by %q: %q", e.By.Operator, e.By.Note)
	}
	return text
}

// start lets a provider go on, and tells why not where it does not.
func (d velocityDesk) start(ctx context.Context, start operator.Start) error {
	e, err := operator.StartAgain(ctx, d.js, d.subjects, start)
	var refused *schemas.Rejection
	switch {
	case errors.As(err, &refused):
		return usageError{fmt.Errorf("--note or --operator: %s", problemText(refused.Problems[0]))}
	case errors.Is(err, operator.ErrStartedByOther):
		return fmt.Errorf("%w: %s", err, startedText(e))
	case errors.Is(err, operator.ErrNotStopped):
		return fmt.Errorf("%w; refundworker velocity show --provider %s tells who started it last", err, start.Provider)
	case err != nil:
		return fmt.Errorf("%w; refundworker velocity show --provider %s tells whether it was started", err, start.Provider)
	}
	fmt.Fprintf(d.out, "%s  started  %s\n", e.Provider, startedText(e))
	return nil
}
