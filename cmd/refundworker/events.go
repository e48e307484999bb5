package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// eventQuery says which events to print, how and for how long.
type eventQuery struct {
	provider  string
	kind      string
	requestID string
	fromStart bool
	since     time.Duration
	json      bool
	count     int
	noFollow  bool
}

// events prints the events of the stream.
func (p *program) events(ctx context.Context, args []string) error {
	var o overrides
	var q eventQuery
	set := p.flags("events")
	o.bindClient(set)
	set.StringVar(&q.provider, "provider", "", "only events of this provider `name`")
	set.StringVar(&q.kind, "kind", "", "only events of this `kind`, or of several joined by commas")
	set.StringVar(&q.requestID, "request-id", "", "only events of this `requestId`")
	set.BoolVar(&q.fromStart, "from-start", false, "begin with the oldest event instead of the next one")
	set.DurationVar(&q.since, "since", 0, "begin with the events of the last `duration`, such as 1h")
	set.BoolVar(&q.json, "json", false, "print event bodies, one a line")
	set.IntVar(&q.count, "count", 0, "end after `n` events")
	set.BoolVar(&q.noFollow, "no-follow", false, "end where the stream ends now; begins with the oldest event unless --since is given")
	if _, err := p.parse(set, args, 0); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return usageError{err}
	}
	js, prefix, err := o.reach(p.getenv)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	return q.follow(ctx, js, prefix, p.stdout)
}

func (q *eventQuery) check() error {
	var errs []error
	if q.provider != "" && !schemas.ProviderName(q.provider).Valid() {
		errs = append(errs, errors.New("--provider: must be 1 to 32 characters of a-z 0-9 -"))
	}
	for _, k := range q.kinds() {
		if k != "*" && !slices.Contains(schemas.Kinds, schemas.Kind(k)) {
			errs = append(errs, fmt.Errorf("--kind: must be of %v", schemas.Kinds))
		}
	}
	if q.requestID != "" && !schemas.RequestID(q.requestID).Valid() {
		errs = append(errs, errors.New("--request-id: must be 1 to 100 characters of a-z A-Z 0-9 : - _"))
	}
	if q.fromStart && q.since != 0 {
		errs = append(errs, errors.New("--from-start and --since exclude each other"))
	}
	if q.since < 0 || q.count < 0 {
		errs = append(errs, errors.New("--since and --count: must not be negative"))
	}
	return errors.Join(errs...)
}

func (q *eventQuery) kinds() []string {
	if q.kind == "" {
		return []string{"*"}
	}
	return strings.Split(q.kind, ",")
}

func (q *eventQuery) consumer(prefix string) jetstream.OrderedConsumerConfig {
	provider := q.provider
	if provider == "" {
		provider = "*"
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy}
	for _, kind := range q.kinds() {
		subject := schemas.Subjects{Prefix: prefix}.Event(schemas.Kind(kind), schemas.ProviderName(provider))
		cfg.FilterSubjects = append(cfg.FilterSubjects, subject)
	}
	switch {
	case q.since > 0:
		start := time.Now().Add(-q.since)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &start
	case q.fromStart || q.noFollow:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return cfg
}

// follow prints events until there are enough of them, the stream ends (with noFollow), or ctx ends.
func (q *eventQuery) follow(ctx context.Context, js jetstream.JetStream, prefix string, out io.Writer) error {
	c, err := js.OrderedConsumer(ctx, schemas.StreamEvents, q.consumer(prefix))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no stream %s: has a worker been started once?", schemas.StreamEvents)
	}
	if err != nil {
		return fmt.Errorf("read stream %s: %w", schemas.StreamEvents, err)
	}
	if info := c.CachedInfo(); q.noFollow && info != nil && info.NumPending == 0 {
		return nil
	}
	messages, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read stream %s: %w", schemas.StreamEvents, err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for printed := 0; ; {
		msg, err := messages.Next()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("read stream %s: %w", schemas.StreamEvents, err)
		}
		ok, err := q.print(out, msg)
		if err != nil {
			return fmt.Errorf("print event: %w", err)
		}
		if ok {
			printed++
		}
		meta, err := msg.Metadata()
		if printed == q.count && q.count > 0 || q.noFollow && (err != nil || meta.NumPending == 0) {
			return nil
		}
	}
}

// print writes an event that the query asks for, and tells whether it did.
func (q *eventQuery) print(out io.Writer, msg jetstream.Msg) (bool, error) {
	if q.requestID != "" && msg.Headers().Get(schemas.HeaderSubject) != q.requestID {
		return false, nil
	}
	line, ok := q.line(msg)
	if !ok {
		return false, nil
	}
	_, err := fmt.Fprintln(out, line)
	return true, err
}

// line is an event as it is printed. One that cannot be read has a line for people, and none for programs.
func (q *eventQuery) line(msg jetstream.Msg) (string, bool) {
	e, err := schemas.DecodeEvent(msg.Data())
	switch {
	case err != nil && q.json:
		return "", false
	case err != nil:
		return "unreadable event on " + msg.Subject(), true
	case !q.json:
		return eventLine(e), true
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, msg.Data())
	return compact.String(), err == nil
}

// lineTime is how lines for people begin: UTC, of one width.
const lineTime = "2006-01-02T15:04:05.000Z"

// eventLine tells an event to a person.
func eventLine(e schemas.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-12s %s", e.OccurredAt.UTC().Format(lineTime), e.Kind, e.Provider)
	if e.RequestID != "" {
		fmt.Fprintf(&b, "  %s", e.RequestID)
	}
	if e.Amount != nil {
		fmt.Fprintf(&b, "  %s", e.Amount)
	}
	if e.Payment != nil {
		fmt.Fprintf(&b, "  payment %s", e.Payment.Reference)
	}
	for _, detail := range eventDetails(e) {
		b.WriteString("  " + detail)
	}
	return b.String()
}

func eventDetails(e schemas.Event) []string {
	var out []string
	add := func(given bool, format string, args ...any) {
		if given {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(e.Attempt > 0, "attempt %d", e.Attempt)
	add(e.Reason != "", "reason %s", e.Reason)
	add(e.NotBefore != nil, "not before %s", utc(e.NotBefore))
	add(e.FoundBy != "", "by %s", e.FoundBy)
	add(e.ProviderRefundID != "", "refund %s", e.ProviderRefundID)
	if r := e.ProviderResult; r != nil {
		add(true, "provider said %s", strings.TrimSpace(r.Code+" "+r.Message))
	}
	if r := e.Reversal; r != nil {
		add(true, "came back %s, %s in all", r.Amount, r.Total)
	}
	for _, p := range e.Problems {
		add(true, "problem %s", problemText(p))
	}
	if x := e.Existing; x != nil {
		add(x.Kind != "", "the requestId belongs to a refund that is %s", x.Kind)
	}
	if by := e.By; by != nil {
		add(true, "by %q: %q", by.Operator, by.Note)
	}
	add(e.CurrencyCode != "", "number %d, %s per %s", e.N, e.CurrencyCode, e.Window)
	return out
}

func utc(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// problemText is a broken rule with its place.
func problemText(p schemas.Problem) string { return strings.TrimSpace(p.Pointer + " " + p.Rule) }
