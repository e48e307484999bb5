package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

const (
	// publishWindow is how many commands may be on their way at once.
	publishWindow = 256
	// publishPatience is how long one command's acknowledgement may take.
	publishPatience = 15 * time.Second
	// refusalsListed bounds the summary, and the memory that a hopeless input can take.
	refusalsListed = 1000
)

// publish validates commands and publishes the good ones. They carry no message id: the requestId is what makes
// publishing again harmless, and an id would hide a conflict from the worker.
func (p *program) publish(ctx context.Context, args []string) error {
	var o overrides
	set := p.flags("publish")
	o.bindClient(set)
	dryRun := set.Bool("dry-run", false, "validate only")
	files, err := p.parse(set, args, -1)
	if err != nil {
		return err
	}
	s, err := o.loadClient(p.getenv)
	if err != nil {
		return usageError{err}
	}
	inputs, err := p.openInputs(files) // run closes them; an error before it ends the program
	if err != nil {
		return usageError{err}
	}
	pub := &publisher{subjects: schemas.Subjects{Prefix: s.worker.Prefix}, pending: make(chan sent, publishWindow)}
	if !*dryRun {
		nc, err := dialNATS(s.nats)
		if err != nil {
			return err
		}
		defer nc.Close()
		if pub.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*publishWindow),
			jetstream.WithPublishAsyncTimeout(publishPatience)); err != nil {
			return fmt.Errorf("jetstream: %w", err)
		}
	}
	bar := startProgress(p.stderr, inputs, pub)
	err = pub.run(ctx, inputs)
	bar.stop()
	return pub.summarise(p, err)
}

// publisher publishes the commands of its inputs in order and remembers what was refused.
type publisher struct {
	// js is nil when nothing is to be published.
	js       jetstream.JetStream
	subjects schemas.Subjects
	pending  chan sent

	published, refused atomic.Int64
	refusals           []refusal
}

// refusal is a command that was not published, with its place and why; never with its content.
type refusal struct {
	source string
	line   int
	why    []string
}

// sent is a command on its way.
type sent struct {
	source   string
	line     int
	provider schemas.ProviderName
	subject  string
	ack      jetstream.PubAckFuture
	err      error
}

// run reads every input to its end, or until ctx ends, and closes them.
func (p *publisher) run(ctx context.Context, in *inputs) error {
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for s := range p.pending {
			p.collect(s)
		}
	}()
	err := p.sendAll(ctx, in)
	close(p.pending)
	<-collected
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// sendAll sends every line. Reading has a goroutine of its own, because a read of a terminal or a pipe cannot be
// broken off: after an interrupt it ends with the program.
func (p *publisher) sendAll(ctx context.Context, in *inputs) error {
	type read struct {
		line line
		err  error
	}
	reads := make(chan read)
	go func() {
		defer in.close()
		for {
			l, err := in.next()
			l.body = bytes.Clone(l.body)
			select {
			case reads <- read{l, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	last := line{source: "the start"}
	for {
		select {
		case r := <-reads:
			if r.err != nil {
				return r.err
			}
			last = r.line
			p.pending <- p.send(r.line)
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s line %d", last.source, last.number)
		}
	}
}

// send validates one line and starts publishing it.
func (p *publisher) send(l line) sent {
	s := sent{source: l.source, line: l.number}
	if l.tooLong {
		s.err = fmt.Errorf("must be at most %d bytes", schemas.MaxCommandBytes)
		return s
	}
	c, err := schemas.DecodeCommand(l.body, schemas.Arrival{Now: time.Now()})
	if err != nil {
		s.err = err
		return s
	}
	s.provider, s.subject = c.Provider, p.subjects.Command(c.Provider)
	if p.js != nil {
		s.ack, s.err = p.js.PublishMsgAsync(&nats.Msg{Subject: s.subject, Data: l.body})
	}
	return s
}

// collect waits for what became of one command.
func (p *publisher) collect(s sent) {
	if s.err == nil && s.ack != nil {
		select {
		case <-s.ack.Ok():
		case s.err = <-s.ack.Err():
		}
	}
	if s.err == nil {
		p.published.Add(1)
		return
	}
	p.refused.Add(1)
	if len(p.refusals) < refusalsListed {
		p.refusals = append(p.refusals, refusal{source: s.source, line: s.line, why: s.reasons()})
	}
}

// reasons says why a command was not published and, where that helps, what to do.
func (s sent) reasons() []string {
	var rejected *schemas.Rejection
	var refused *jetstream.APIError
	switch {
	case errors.As(s.err, &rejected):
		var why []string
		for _, problem := range rejected.Problems {
			why = append(why, problemText(problem))
		}
		return why
	case errors.Is(s.err, jetstream.ErrNoStreamResponse), errors.Is(s.err, nats.ErrNoResponders):
		return []string{fmt.Sprintf("no stream takes %s: is the provider configured and its worker started once?", s.subject)}
	case errors.As(s.err, &refused):
		return []string{"the stream refused it: " + refused.Description}
	case errors.Is(s.err, jetstream.ErrAsyncPublishTimeout):
		return []string{"no answer in time: it may be stored; publish it again unchanged, which is harmless"}
	}
	return []string{s.err.Error()}
}

// summarise prints what happened. Anything refused is a failure.
func (p *publisher) summarise(out *program, err error) error {
	for _, r := range p.refusals {
		for _, why := range r.why {
			fmt.Fprintf(out.stderr, "%s:%d: %s\n", r.source, r.line, why)
		}
	}
	refused := p.refused.Load()
	if more := refused - int64(len(p.refusals)); more > 0 {
		fmt.Fprintf(out.stderr, "and %d more\n", more)
	}
	verb := "published"
	if p.js == nil {
		verb = "valid"
	}
	fmt.Fprintf(out.stdout, "%d %s, %d refused\n", p.published.Load(), verb, refused)
	switch {
	case err != nil:
		return fmt.Errorf("publish: %w", err)
	case refused > 0:
		return fmt.Errorf("publish: %d commands were refused", refused)
	}
	return nil
}

// openInputs opens the named files; none, or "-", is stdin.
func (p *program) openInputs(files []string) (*inputs, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	in := &inputs{}
	var errs []error
	for _, name := range files {
		if name == "-" {
			in.add("stdin", io.NopCloser(p.stdin), 0)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		size := int64(0)
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in.add(name, f, size)
	}
	if err := errors.Join(errs...); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}
