package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, row := range []struct {
		args       []string
		code       int
		out, error string
	}{
		{nil, exitUsage, "", "a command is needed"},
		{[]string{"--help"}, exitFine, "Exit codes: 0 fine", ""},
		{[]string{"help"}, exitFine, "usage: refundworker COMMAND", ""},
		{[]string{"doctor"}, exitUsage, "", `unknown command "doctor"`},
		{[]string{"serve", "--help"}, exitFine, "REFUND_REDIS_URL", ""},
		{[]string{"serve", "--nope"}, exitUsage, "", "serve: flag provided but not defined: -nope; see refundworker serve --help"},
		{[]string{"serve", "extra"}, exitUsage, "", `serve: unexpected argument "extra"`},
		{[]string{"serve"}, exitUsage, "", "providers: none is configured"},
		{[]string{"demo", "-h"}, exitFine, "usage: refundworker demo", ""},
		{[]string{"demo", "extra"}, exitUsage, "", "unexpected argument"},
		{[]string{"publish", "--help"}, exitFine, "-nats-url", ""},
		{[]string{"publish", "no-such-file"}, exitUsage, "", "no-such-file"},
		{[]string{"events", "--help"}, exitFine, "-from-start", ""},
		{[]string{"events", "--kind", "odd"}, exitUsage, "", "--kind"},
		{[]string{"simulate", "--help"}, exitFine, "-seed", ""},
		{[]string{"version", "--help"}, exitFine, "usage: refundworker version", ""},
	} {
		code, out, errs := invocation{}.invoke(t, row.args...)
		if code != row.code || !strings.Contains(out, row.out) || !strings.Contains(errs, row.error) {
			t.Errorf("%q ended with %d\nstdout %s\nstderr %s\nwant %d, %q, %q", row.args, code, out, errs, row.code, row.out, row.error)
		}
		if (code == exitFine) != (errs == "") {
			t.Errorf("%q ended with %d and stderr %q", row.args, code, errs)
		}
	}
	_, out, _ := invocation{}.invoke(t, "--help")
	for _, c := range commands() {
		if !strings.Contains(out, "  "+c.name+" ") {
			t.Errorf("the usage text does not name %s", c.name)
		}
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := invocation{}.invoke(t, "version")
	if code != exitFine || !strings.HasPrefix(out, "refundworker ") || strings.Count(out, "\n") != 1 {
		t.Errorf("ended with %d: %q, want one line", code, out)
	}
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}}}
	if got, want := versionLine(info), "refundworker v1.2.3 revision abc (modified) linux/arm64 go1.26.8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := versionLine(nil), "refundworker (unknown)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
