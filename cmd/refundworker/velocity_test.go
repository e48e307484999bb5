package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/operator"
	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// journalStop journals a stop as a worker does.
func journalStop(t *testing.T, js jetstream.JetStream, p schemas.ProviderName, n int) {
	t.Helper()
	e := schemas.Event{Kind: schemas.KindStopped, Provider: p, OccurredAt: time.Now().UTC(), Reason: schemas.ReasonVelocityStop, N: n,
		CurrencyCode: "HKD", Window: "1m0s"}
	if _, err := stream.NewJournal(js, schemas.Subjects{}).Note(t.Context(), ledger.Entry{Event: e, ID: e.ID()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop is published", func() bool {
		stop, err := operator.ReadVelocityStop(t.Context(), js, schemas.Subjects{}, p)
		return err == nil && stop.N == n
	})
}

// An operator looks at what is stopped, starts it with a note, and it is kept who did.
func TestVelocity(t *testing.T) {
	_, line := embeddedWorker(t, t.TempDir())
	url := "nats://" + line.NATS[0]
	js := connect(t, url)
	const none = "  waiting: 0 commands not looked at yet, 0 refunds in a schedule\n"
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
	for i, step := range []struct {
		before func()
		args   []string
		code   int
		// out and errs are whole texts.
		out, errs string
	}{
		{nil, []string{"show"}, exitFine, "no stop in the event stream\n", ""},
		{nil, []string{"show", "--provider", "try"}, exitFine, "try  running  no stop in the event stream\n", ""},
		{nil, []string{"start", "--provider", "try", "--note", "fine"}, exitFailed, "", "refundworker: start try again: the provider is not " +
			"stopped; refundworker velocity show --provider try tells who started it last\n"},
		{func() { journalStop(t, js, "try", 7); journalStop(t, js, "another", 1) }, []string{"show"}, exitFine,
			"another  STOPPED  since " + stamp + "  number 1  HKD per 1m0s\n" + none + "try  STOPPED  since " + stamp +
				"  number 7  HKD per 1m0s\n" + none, ""},
		{nil, []string{"start", "--provider", "try", "--note", " a campaign "}, exitFine,
			"try  started  " + stamp + `  number 7  by "ada": "a campaign"` + "\n", ""},
		{nil, []string{"show", "--provider", "try"}, exitFine, "try  running  last stopped " + stamp + "  number 7  HKD per 1m0s\n" +
			"  last started " + stamp + `  number 7  by "ada": "a campaign"` + "\n", ""},
		{nil, []string{"start", "--provider", "try", "--note", "again"}, exitFailed, "", "refundworker: start try again: the provider is " +
			"not stopped; .*\n"},
		{func() { journalStop(t, js, "try", 8) }, []string{"start", "--provider", "try", "--note", "once more", "--operator", "eve"}, exitFine,
			"try  started  " + stamp + `  number 8  by "eve": "once more"` + "\n", ""},
		{nil, []string{"show", "--provider", "another"}, exitFine, "another  STOPPED  since " + stamp + "  number 1  HKD per 1m0s\n" + none, ""},
		{nil, []string{"start", "--provider", "another", "--note", strings.Repeat("x", 2001)}, exitUsage, "",
			"refundworker: --note or --operator: /by/note must be 1 to 2000 characters\n"},
	} {
		if step.before != nil {
			step.before()
		}
		args := append([]string{"velocity", step.args[0], "--nats-url", url}, step.args[1:]...)
		code, out, errs := invocation{env: map[string]string{"USER": "ada"}}.invoke(t, args...)
		whole := func(pattern, text string) bool { return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(text) }
		if code != step.code || !whole(step.out, out) || !whole(step.errs, errs) {
			t.Errorf("step %d, %v, ended with %d\nstdout %s\nstderr %s\nwant %d, %s, %s", i, step.args[:min(4, len(step.args))], code, out, errs,
				step.code, step.out, step.errs)
		}
	}
	// The start is an event as all others are, so whoever follows them sees it.
	_, out, _ := invocation{}.invoke(t, "events", "--nats-url", url, "--no-follow", "--kind", "started", "--provider", "try")
	if strings.Count(out, "\n") != 2 || !strings.Contains(out, `by "eve": "once more"`) {
		t.Errorf("events are\n%swant both starts of try", out)
	}
}

// Refunds come too fast: as many as the bound allows are made and the others wait. An operator sees it and lets them go on:
// those that waited are made, and what comes from then on is counted from zero.
func TestVelocityFromStopToStart(t *testing.T) {
	settings := strings.Replace(scriptedSettings, `"timeout"`, `"velocity":[{"window":"1h","currencyCode":"HKD","count":3}],"timeout"`, 1)
	worker := invocation{}.background(t, "serve", "--config", writeFile(t, "settings.json", settings), "--data-dir", t.TempDir(),
		"--nats-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	line := worker.started(t)
	url := "nats://" + line.NATS[0]
	eventually(t, "the worker is ready", func() bool { code, _ := get(t, line.Admin, "/readyz"); return code == 200 })
	publish := func(ids ...schemas.RequestID) {
		t.Helper()
		var lines strings.Builder
		for _, id := range ids {
			lines.WriteString(commandLine(t, id, ""))
		}
		if code, _, errs := (invocation{stdin: lines.String()}).invoke(t, "publish", "--nats-url", url); code != exitFine {
			t.Fatalf("publish ended with %d: %s", code, errs)
		}
	}
	velocity := func(args ...string) string {
		t.Helper()
		code, out, errs := invocation{env: map[string]string{"USER": "ada"}}.invoke(t, append([]string{"velocity", args[0], "--nats-url", url,
			"--provider", "try"}, args[1:]...)...)
		if code != exitFine {
			t.Fatalf("velocity %v ended with %d: %s", args, code, errs)
		}
		return out
	}
	made := func() int {
		t.Helper()
		code, out, errs := invocation{}.invoke(t, "events", "--nats-url", url, "--no-follow", "--kind", "succeeded")
		if code != exitFine {
			t.Fatalf("events ended with %d: %s", code, errs)
		}
		return strings.Count(out, "\n")
	}
	waits := func(out string) (all int) {
		var commands, scheduled int
		_, rest, _ := strings.Cut(out, "waiting: ")
		if _, err := fmt.Sscanf(rest, "%d commands not looked at yet, %d refunds in a schedule", &commands, &scheduled); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		return commands + scheduled
	}
	stopped := func(number string) bool {
		out := velocity("show")
		return strings.HasPrefix(out, "try  STOPPED") && strings.Contains(out, "  number "+number+"  HKD per 1h0m0s\n")
	}

	publish("r1", "r2", "r3", "r4", "r5")
	eventually(t, "the provider is stopped", func() bool { return stopped("1") })
	eventually(t, "those within the bound are made", func() bool { return made() == 3 })
	publish("r6")
	eventually(t, "what waits is shown", func() bool { return waits(velocity("show")) == 3 })
	velocity("start", "--note", "a campaign")
	eventually(t, "those that waited are made", func() bool { return made() == 6 })
	if out := velocity("show"); !strings.HasPrefix(out, "try  running") || !strings.Contains(out, `by "ada": "a campaign"`) {
		t.Errorf("it is not shown who started it:\n%s", out)
	}
	publish("r7", "r8", "r9")
	eventually(t, "as many as the bound allows are made again", func() bool { return made() == 9 })
	publish("r10")
	eventually(t, "the provider is stopped again", func() bool { return stopped("2") })
	if got := made(); got != 9 {
		t.Errorf("%d refunds are made, want 9", got)
	}
}

// What is missing is told before anybody is asked for a connection, all of it at once.
func TestVelocityRefusesWhatItCannotDo(t *testing.T) {
	for _, row := range []struct {
		args []string
		user string
		want []string
	}{
		{nil, "ada", []string{`velocity wants show or start, not ""`}},
		{[]string{"stop", "--provider", "try"}, "ada", []string{`velocity wants show or start, not "stop"`}},
		{[]string{"show", "--provider", "A"}, "ada", []string{"--provider: must be 1 to 32 characters"}},
		{[]string{"show", "--note", "x"}, "ada", []string{"--note and --operator: only velocity start keeps them"}},
		{[]string{"start"}, "", []string{"--provider: is needed", "--note: is needed", "--operator: is needed, because $USER is not set"}},
		{[]string{"start", "--provider", "try", "--note", " "}, "ada", []string{"--note: is needed"}},
		{[]string{"start", "--provider", "try", "--note", "x", "--operator", " "}, "ada", []string{"--operator: is needed"}},
		{[]string{"start", "try"}, "ada", []string{`unexpected argument "try"`}},
	} {
		code, out, errs := invocation{env: map[string]string{"USER": row.user}}.invoke(t, append([]string{"velocity"}, row.args...)...)
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != len(row.want) {
			t.Errorf("%v ended with %d: %s%s, want %d and %d lines", row.args, code, out, errs, exitUsage, len(row.want))
		}
		for _, want := range row.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%v: %s does not say %q", row.args, errs, want)
			}
		}
	}
}

// What starting means stands where it is read before it is done: in the help, and in the README.
func TestVelocityStartSaysWhatItMeans(t *testing.T) {
	const means = "What waits now is let go and not counted again; what is published from then on is counted from zero. " +
		"Look at what waits before you start"
	code, out, _ := invocation{}.invoke(t, "velocity", "--help")
	if flat := strings.Join(strings.Fields(out), " "); code != exitFine || !strings.Contains(flat, means) || !strings.Contains(out, "-note") {
		t.Errorf("help ended with %d and does not say what starting means:\n%s", code, out)
	}
	readmeSays(t, means)
}

func TestVelocityWithoutStream(t *testing.T) {
	srv := natsAlone(t, server.Options{})
	for _, args := range [][]string{{"show"}, {"show", "--provider", "try"}, {"start", "--provider", "try", "--note", "x", "--operator", "ada"}} {
		code, _, errs := invocation{}.invoke(t, append(append([]string{"velocity"}, args...), "--nats-url", srv.ClientURL())...)
		if code != exitFailed || errs != "refundworker: there is no stream REFUND_EVENTS: has a worker been started once?\n" {
			t.Errorf("%v ended with %d: %s, want %d and what to do", args, code, errs, exitFailed)
		}
	}
}
