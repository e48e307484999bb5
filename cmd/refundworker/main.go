package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal is taken, the second one has its usual effect: it ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// program is what a command has of the world around it.
type program struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// command is one of the words that may follow the program's name.
type command struct {
	name, arguments, summary string
	run                      func(p *program, ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "[flags]", "run the worker; without NATS and Redis settings both are embedded", (*program).serve},
		{"demo", "", "play sample refunds against simulated providers and check every promise", (*program).demo},
		{"publish", "[flags] [FILE…]", "validate and publish commands from NDJSON files or stdin", (*program).publish},
		{"events", "[flags]", "follow the event stream", (*program).events},
		{"velocity", "show|start [flags]", "show which providers are stopped because refunds came too fast; start one again", (*program).velocity},
		{"simulate", "[flags]", "run the provider simulator alone", (*program).simulate},
		{"version", "", "print version and build", (*program).version},
	}
}

// usageError is a mistake in how the program was called or configured: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run runs one command and returns its exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	err := p.dispatch(ctx, args)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitFine
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "refundworker: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "refundworker: %v\n", err)
	return exitFailed
}

func (p *program) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("a command is needed\n\n" + usage())}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.stdout, usage())
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(p, ctx, args[1:])
		}
	}
	return usageError{fmt.Errorf("unknown command %q\n\n%s", args[0], usage())}
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: refundworker COMMAND [flags] [arguments]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.summary)
	}
	b.WriteString("\nrefundworker COMMAND --help lists the flags of a command.\n" +
		"Exit codes: 0 fine, 1 failed, 2 usage or configuration.\n")
	return b.String()
}

// flags returns the empty flag set of a command.
func (p *program) flags(name string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set
}

// parse reads a command's flags and returns the arguments after them, at most so many.
func (p *program) parse(set *flag.FlagSet, args []string, most int) ([]string, error) {
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		p.help(set)
		return nil, err
	case err != nil:
		return nil, usageError{fmt.Errorf("%s: %w; see refundworker %s --help", set.Name(), err, set.Name())}
	}
	if rest := set.Args(); most >= 0 && len(rest) > most {
		return nil, usageError{fmt.Errorf("%s: unexpected argument %q; see refundworker %s --help",
			set.Name(), rest[most], set.Name())}
	}
	return set.Args(), nil
}

func (p *program) help(set *flag.FlagSet) {
	for _, c := range commands() {
		if c.name == set.Name() {
			fmt.Fprintf(p.stdout, "usage: refundworker %s\n\n%s\n", strings.TrimSpace(c.name+" "+c.arguments), c.summary)
		}
	}
	set.SetOutput(p.stdout)
	any := false
	set.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprintln(p.stdout, "\nFlags:")
		set.PrintDefaults()
	}
	if set.Lookup("nats-url") != nil {
		fmt.Fprint(p.stdout, environmentHelp)
	}
}
