package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// streamsOfTry makes the stream of provider try's commands alone.
func streamsOfTry(t *testing.T, change func(*jetstream.StreamConfig)) (url string, js jetstream.JetStream) {
	t.Helper()
	srv := natsAlone(t, server.Options{})
	js = connect(t, srv.ClientURL())
	cfg := jetstream.StreamConfig{Name: schemas.StreamCommands, Subjects: []string{schemas.Subjects{}.Command("try")}}
	if change != nil {
		change(&cfg)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return srv.ClientURL(), js
}

func TestPublish(t *testing.T) {
	url, js := streamsOfTry(t, nil)
	first, second := commandLine(t, "ord-1:r1", ""), commandLine(t, "ord-2:r1", "")
	file := writeFile(t, "commands.ndjson", "\n"+first)
	code, out, errs := invocation{stdin: second + first}.invoke(t, "publish", "--nats-url", url, file, "-")
	if code != exitFine || out != "3 published, 0 refused\n" || errs != "" {
		t.Errorf("ended with %d, %q, %q, want 3 published", code, out, errs)
	}
	stream, err := js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{first, second, first} {
		msg, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Data)+"\n" != want || msg.Header.Get(schemas.HeaderMsgID) != "" {
			t.Errorf("message %d is %s with id %q, want the line as it was and no id", i+1, msg.Data, msg.Header.Get(schemas.HeaderMsgID))
		}
	}
}

func TestPublishTellsWhatItRefuses(t *testing.T) {
	url, _ := streamsOfTry(t, nil)
	good := commandLine(t, "ord-1:r1", "")
	negative := strings.Replace(good, `"10000000"`, `"-10000000"`, 1)
	lines := good + "{\"secret\":\"4111111111111111\"\n\n" + strings.Replace(negative, "pay-", "\\u00e9", 1) +
		strings.Replace(good, `"try"`, `"other"`, 1) + `{"requestId":"` + strings.Repeat("x", schemas.MaxCommandBytes) + "\"}\n" +
		strings.Replace(good, `{`, `{"schemaVersion":"1.7",`, 1) + strings.TrimSpace(good)
	code, out, errs := invocation{stdin: lines}.invoke(t, "publish", "--nats-url", url)
	if code != exitFailed || out != "2 published, 5 refused\n" {
		t.Errorf("ended with %d, %q, want %d and 2 published, 5 refused", code, out, exitFailed)
	}
	want := `stdin:2: must be JSON
stdin:4: /payment/reference must be 1 to 128 printable ASCII characters, not only spaces
stdin:4: /amount/amountMicros must be a positive 64-bit integer in decimal digits, without sign or leading zeros
stdin:5: no stream takes refunds.commands.other: is the provider configured and its worker started once?
stdin:6: must be at most 65536 bytes
stdin:7: command has schema version 1.7, newer than 1.0
refundworker: publish: 5 commands were refused
`
	if errs != want {
		t.Errorf("stderr is\n%swant\n%s", errs, want)
	}
}

func TestPublishValidatesOnly(t *testing.T) {
	code, out, errs := invocation{stdin: commandLine(t, "ord-1:r1", "") + "{}\n"}.invoke(t, "publish", "--dry-run", "--nats-url", "nats://127.0.0.1:1")
	if code != exitFailed || out != "1 valid, 1 refused\n" || !strings.Contains(errs, "stdin:2: /requestId ") {
		t.Errorf("ended with %d, %q, %q, want 1 valid and the problems of line 2", code, out, errs)
	}
}

func TestPublishSaysThatTheStreamIsFull(t *testing.T) {
	url, _ := streamsOfTry(t, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 1, jetstream.DiscardNew })
	lines := commandLine(t, "ord-1:r1", "") + commandLine(t, "ord-2:r1", "")
	code, out, errs := invocation{stdin: lines}.invoke(t, "publish", "--nats-url", url)
	if code != exitFailed || out != "1 published, 1 refused\n" || !strings.Contains(errs, "stdin:2: the stream refused it: maximum messages exceeded") {
		t.Errorf("ended with %d, %q, %q, want the second one refused by the stream", code, out, errs)
	}
}

func TestPublishManyInOrder(t *testing.T) {
	const n = 3 * publishWindow
	url, js := streamsOfTry(t, nil)
	code, out, _ := invocation{stdin: strings.Repeat(commandLine(t, "ord-1:r1", ""), n)}.invoke(t, "publish", "--nats-url", url)
	if got := messagesIn(t, js, schemas.StreamCommands); code != exitFine || got != n {
		t.Errorf("ended with %d, %q, %d stored, want %d", code, out, got, n)
	}
}

func TestPublishWithoutNATS(t *testing.T) {
	code, _, errs := invocation{stdin: "{}"}.invoke(t, "publish", "--nats-url", "nats://user:s3cret@127.0.0.1:1")
	if code != exitFailed || !strings.Contains(errs, "connect to nats at [127.0.0.1:1]") || strings.Contains(errs, "s3cret") {
		t.Errorf("ended with %d: %s, want %d and the address without its user", code, errs, exitFailed)
	}
}

func TestInputsReadLines(t *testing.T) {
	long := strings.Repeat("x", schemas.MaxCommandBytes)
	in := &inputs{}
	in.add("a", io.NopCloser(strings.NewReader("one\n\n  two  \r\n"+long+"\n"+long+"y\n"+long+long+"\nlast")), 10)
	in.add("b", io.NopCloser(strings.NewReader("")), 0)
	in.add("c", io.NopCloser(strings.NewReader("three")), 10)
	if in.total != 0 {
		t.Errorf("total is %d, want 0: one input has no known end", in.total)
	}
	for _, want := range []line{{"a", 1, []byte("one"), false}, {"a", 3, []byte("two"), false}, {"a", 4, []byte(long), false},
		{"a", 5, nil, true}, {"a", 6, nil, true}, {"a", 7, []byte("last"), false}, {"c", 1, []byte("three"), false}} {
		got, err := in.next()
		if err != nil || got.source != want.source || got.number != want.number || got.tooLong != want.tooLong ||
			!want.tooLong && string(got.body) != string(want.body) {
			t.Fatalf("got %s:%d (%d bytes, too long %t), %v, want %s:%d", got.source, got.number, len(got.body), got.tooLong, err, want.source, want.number)
		}
	}
	if _, err := in.next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end, want EOF", err)
	}
}

func TestProgressLine(t *testing.T) {
	for _, row := range []struct {
		done, total int64
		want        string
	}{
		{0, 200, "[..............................]   0% 3 published, 1 refused"},
		{100, 200, "[###############...............]  50% 3 published, 1 refused"},
		{300, 200, "[##############################] 100% 3 published, 1 refused"},
		{300, 0, "3 published, 1 refused"},
	} {
		if got := progressLine(row.done, row.total, 3, 1); got != row.want {
			t.Errorf("%d of %d: got %q, want %q", row.done, row.total, got, row.want)
		}
	}
}

// An interrupt ends a publish that waits for a terminal or a pipe.
func TestPublishIsInterruptedWhileItReads(t *testing.T) {
	idle, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"publish", "--dry-run"}, invocation{}.getenv, idle, &stdout, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit %d, %q; want 1 and the word interrupted", code, stderr.String())
	}
}

// So does a demo: promises that it had no time to keep are not called broken.
func TestDemoIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"demo"}, invocation{}.getenv, strings.NewReader(""), &stdout, &stderr)
	if code != 1 || strings.Contains(stdout.String()+stderr.String(), "BROKEN") {
		t.Errorf("exit %d, %q %q; want 1 and no broken promise", code, stdout.String(), stderr.String())
	}
}
