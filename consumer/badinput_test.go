package consumer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// bad is a command body that is not accepted. Secret is what stands in the offending place.
type bad struct {
	name string
	// body is made for the id, which is empty where no valid requestId can be read.
	body             func(id string) string
	id, secret, rule string
	reason           schemas.Reason
}

// with is a good command but for one field, which stands last.
func with(field, value string) func(string) string {
	return func(id string) string {
		fields := []struct{ name, value string }{{"requestId", `"` + id + `"`}, {"provider", `"test"`},
			{"payment", `{"reference":"pay-` + id + `"}`}, {"amount", hkd("10000000")},
			{"requestedAt", `"` + today + `"`}}
		var out []string
		for _, f := range fields {
			if f.name != field {
				out = append(out, fmt.Sprintf("%q:%s", f.name, f.value))
			}
		}
		out = append(out, fmt.Sprintf("%q:%s", field, value))
		return "{" + strings.Join(out, ",") + "}"
	}
}

// twice has the last field of a body a second time.
func twice(body func(string) string) func(string) string {
	return func(id string) string {
		b := body(id)
		return strings.TrimSuffix(b, "}") + b[strings.LastIndex(b, ","):]
	}
}

func hkd(micros string) string { return `{"amountMicros":"` + micros + `","currencyCode":"HKD"}` }

func verbatim(body string) func(string) string { return func(string) string { return body } }

var (
	today     = time.Now().UTC().Format(time.RFC3339)
	tomorrow  = time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	lastYear  = time.Now().AddDate(-1, 0, 0).UTC().Format(time.RFC3339)
	longID    = strings.Repeat("i", 101)
	hugeValue = strings.Repeat("h", 900_000)
)

const minorUnits = "/amount/amountMicros must be a whole number of the currency's minor units"

var badCommands = []bad{
	{"not JSON", verbatim(`{"requestId":"not-json", leak01`), "", "leak01", "must be JSON", schemas.ReasonMalformed},
	{"not an object", verbatim(`["leak02"]`), "", "leak02", "must be an object", schemas.ReasonMalformed},
	{"empty", verbatim(``), "", "", "must be JSON", schemas.ReasonMalformed},
	{"a duplicate key", twice(with("reason", `"leak03"`)), "b03", "leak03", "/reason duplicate key", schemas.ReasonMalformed},
	{"the requestId twice", twice(with("requestId", `"leak04"`)), "", "leak04", "/requestId duplicate key", schemas.ReasonMalformed},
	{"1e400", with("amount", `{"amountMicros":1e400,"currencyCode":"HKD"}`), "b05", "1e400", "/amount/amountMicros must be a string",
		schemas.ReasonInvalid},
	{"a negative amount", with("amount", hkd("-7654321")), "b06", "7654321",
		"/amount/amountMicros must be a positive 64-bit integer in decimal digits, without sign or leading zeros", schemas.ReasonInvalid},
	{"half a cent", with("amount", hkd("7655000")), "b07", "7655000", minorUnits, schemas.ReasonInvalid},
	{"KWD with four decimals", with("amount", `{"amountMicros":"7654300","currencyCode":"KWD"}`), "b08", "7654300", minorUnits,
		schemas.ReasonInvalid},
	{"a requestId of 101 characters", with("requestId", `"`+longID+`"`), "", longID,
		"/requestId must be 1 to 100 characters of a-z A-Z 0-9 : - _", schemas.ReasonInvalid},
	{"a requestId that would be two tokens", with("requestId", `"leak10.x"`), "", "leak10",
		"/requestId must be 1 to 100 characters of a-z A-Z 0-9 : - _", schemas.ReasonInvalid},
	{"a wildcard in the provider", with("provider", `"leak11*"`), "b11", "leak11", "/provider must be 1 to 32 characters of a-z 0-9 -",
		schemas.ReasonInvalid},
	{"a dot in the provider", with("provider", `"leak12.x"`), "b12", "leak12", "/provider must be 1 to 32 characters of a-z 0-9 -",
		schemas.ReasonInvalid},
	{"a provider unlike the subject", with("provider", `"leak13"`), "b13", "leak13", "/provider must equal the subject's provider",
		schemas.ReasonInvalid},
	{"an unknown field", with("cardNumber", `"4111111111111111"`), "b14", "4111111111111111", "/cardNumber unknown field",
		schemas.ReasonInvalid},
	{"a field whose name is a secret", with("leak15 4111-1111", `1`), "b15", "leak15", "unknown field", schemas.ReasonInvalid},
	{"900 kB", with("reason", `"`+hugeValue+`"`), "", hugeValue[:100], "must be at most 65536 bytes", schemas.ReasonMalformed},
	{"requested tomorrow", with("requestedAt", `"`+tomorrow+`"`), "b17", "", "/requestedAt must not be more than 5 minutes ahead",
		schemas.ReasonInvalid},
	{"requested last year", with("requestedAt", `"`+lastYear+`"`), "b18", "", "/requestedAt must not be older than 720h0m0s",
		schemas.ReasonTooOld},
	{"the next major version", with("schemaVersion", `"2.0"`), "b19", `"2.0"`, `/schemaVersion must be "1.0"`, schemas.ReasonInvalid},
	{"options that are no object", with("options", `"leak20"`), "b20", "leak20", "/options must be an object", schemas.ReasonInvalid},
	{"options that nobody knows", with("options", `{"leak21":1}`), "b21", "leak21", `/options must be an object with at most "script", a list of outcomes`,
		schemas.ReasonUnsupported},
	{"not UTF-8", with("reason", "\"leak22\xff\""), "", "leak22", "must be UTF-8", schemas.ReasonMalformed},
}

// logged collects a worker's log.
type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// TestBadInput sends everything that may not become a refund past one worker. Each is rejected where an id can be
// read, buried whole, said in places and rules only, and shown to no provider.
func TestBadInput(t *testing.T) {
	t.Parallel()
	log := &logged{}
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	f.logTo = log
	f.start()
	for i, b := range badCommands {
		f.publishWith([]byte(b.body(b.id)), map[string]string{"X-Shop": "blue", "Nats-Msg-Id": fmt.Sprint("id-", i)})
	}
	newer := with("schemaVersion", `"1.9"`)("newer")
	f.publishRaw([]byte(newer))                        // is left for a newer worker
	f.publishRaw([]byte(with("reason", `""`)("good"))) // has no headers at all
	f.eventually("everything bad is buried, and the newer command left", func() error {
		if n := f.messages(schemas.StreamDead); n != uint64(len(badCommands)) {
			return fmt.Errorf("%d dead letters", n)
		}
		return errors.Join(f.left(1, 0), f.reached("good", schemas.KindSucceeded))
	})
	if got := f.kindsOf("newer"); len(got) != 0 {
		t.Errorf("the newer command has events %v, want none", got)
	}
	if got := f.provider.Movements(); len(got) != 1 {
		t.Errorf("%d movements of money, want the good command's alone", len(got))
	}
	if got := f.kindsWithout("good", schemas.KindRejected); len(got) != 0 {
		t.Errorf("bad commands have events %v, want rejected alone", got)
	}
	for i, b := range badCommands {
		t.Run(b.name, func(t *testing.T) {
			checkRejected(t, f, b)
			checkBuried(t, f, b, uint64(i+1))
			if b.secret != "" && strings.Contains(log.String(), b.secret) {
				t.Errorf("the log holds %.20q", b.secret)
			}
		})
	}
	if !strings.Contains(log.String(), "/amount/amountMicros must be") {
		t.Error("the log does not say why, so it shows nothing above either")
	}
}

// kindsWithout are the kinds of all events but one refund's and one kind.
func (f *fixture) kindsWithout(id string, k schemas.Kind) []schemas.Kind {
	var out []schemas.Kind
	for _, e := range f.events() {
		if e.RequestID != schemas.RequestID(id) && e.Kind != k {
			out = append(out, e.Kind)
		}
	}
	return out
}

// stored is one message of a stream.
func (f *fixture) stored(stream string, seq uint64) *jetstream.RawStreamMsg {
	f.t.Helper()
	s, err := f.js.Stream(context.Background(), stream)
	if err != nil {
		f.t.Fatal(err)
	}
	msg, err := s.GetMsg(context.Background(), seq)
	if err != nil {
		f.t.Fatalf("message %d of %s: %v", seq, stream, err)
	}
	return msg
}

// checkRejected looks for the one rejected event of a body; without a valid requestId there must be none.
func checkRejected(t *testing.T, f *fixture, b bad) {
	t.Helper()
	found := false
	for i, e := range f.events() {
		msg := f.stored(schemas.StreamJournal, uint64(i+1))
		if b.secret != "" && (bytes.Contains(msg.Data, []byte(b.secret)) || strings.Contains(fmt.Sprint(msg.Header), b.secret)) {
			t.Errorf("event %d holds the offending value: %s", i+1, msg.Data)
		}
		if b.id == "" || e.RequestID != schemas.RequestID(b.id) {
			continue
		}
		found = true
		if e.Kind != schemas.KindRejected || e.Reason != b.reason || e.Provider != provider || e.Existing != nil {
			t.Errorf("event %s %s of provider %q, want rejected %s", e.Kind, e.Reason, e.Provider, b.reason)
		}
		if want := problemsOf(b); !reflect.DeepEqual(e.Problems, want) {
			t.Errorf("problems %v, want %v", e.Problems, want)
		}
		sum := sha256.Sum256([]byte(b.body(b.id)))
		want := b.id + ":rejected:" + hex.EncodeToString(sum[:8])
		if got := msg.Header.Get("ce-id"); got != want {
			t.Errorf("ce-id %s, want %s", got, want)
		}
	}
	if found != (b.id != "") {
		t.Errorf("a rejected event is there: %t, want %t", found, b.id != "")
	}
}

// problemsOf is a row's rule as problems: a pointer, which may be empty, then the rule.
func problemsOf(b bad) []schemas.Problem {
	pointer, rule, _ := strings.Cut(b.rule, " ")
	if !strings.HasPrefix(pointer, "/") {
		pointer, rule = "", b.rule
	}
	return []schemas.Problem{{Pointer: pointer, Rule: rule}}
}

// checkBuried holds the dead letter of a command against what was sent.
func checkBuried(t *testing.T, f *fixture, b bad, command uint64) {
	t.Helper()
	msg := f.letterOf(command)
	if msg == nil {
		t.Fatalf("command %d has no dead letter", command)
	}
	if msg.Subject != "refunds.dead.test" {
		t.Errorf("subject %s", msg.Subject)
	}
	for name, want := range map[string]string{
		"Refund-Dead-Subject": "refunds.commands.test", "Refund-Dead-Stream": "REFUND_COMMANDS",
		"Refund-Dead-Reason": string(b.reason), "Nats-Msg-Id": fmt.Sprint("dead-REFUND_COMMANDS-", command),
		"X-Shop": "blue", "Refund-Dead-Msg-Id": fmt.Sprint("id-", command-1)} {
		if got := msg.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if got := msg.Header.Get("Refund-Dead-Detail"); !strings.Contains(got, b.rule) {
		t.Errorf("detail %q does not name the rule %q", got, b.rule)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Refund-Dead-At"))
	if now := time.Now(); err != nil || at.After(now) || at.Before(now.Add(-patience)) {
		t.Errorf("at %q, want a while before %s", msg.Header.Get("Refund-Dead-At"), now)
	}
	if b.secret != "" && strings.Contains(fmt.Sprint(msg.Header), b.secret) {
		t.Errorf("headers hold the offending value: %v", msg.Header)
	}
	checkKept(t, msg, []byte(b.body(b.id)))
}

// checkKept holds that a dead letter has the body, or its head with the hash and size of all of it.
func checkKept(t *testing.T, msg *jetstream.RawStreamMsg, body []byte) {
	t.Helper()
	hash, size := "", ""
	if len(body) > 512<<10 {
		sum := sha256.Sum256(body)
		hash, size = hex.EncodeToString(sum[:]), fmt.Sprint(len(body))
		body = body[:512<<10]
	}
	if !bytes.Equal(msg.Data, body) {
		t.Errorf("the body has %d bytes and is not the %d bytes sent", len(msg.Data), len(body))
	}
	if got := msg.Header.Get("Refund-Dead-Body-Sha256"); got != hash {
		t.Errorf("hash %q, want %q", got, hash)
	}
	if got := msg.Header.Get("Refund-Dead-Body-Size"); got != size {
		t.Errorf("size %q, want %q", got, size)
	}
}

// letterOf is the dead letter of a command by its sequence, or nil.
func (f *fixture) letterOf(command uint64) *jetstream.RawStreamMsg {
	f.t.Helper()
	for seq := uint64(1); seq <= f.messages(schemas.StreamDead); seq++ {
		if msg := f.stored(schemas.StreamDead, seq); msg.Header.Get("Refund-Dead-Sequence") == fmt.Sprint(command) {
			return msg
		}
	}
	return nil
}

// A publisher learns at once that nobody serves a provider: no stream takes the subject.
func TestCommandForAProviderThatNobodyServes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	f.start()
	for _, p := range []schemas.ProviderName{"nobody", "test-2", "tes"} {
		_, err := f.js.Publish(context.Background(), f.subjects.Command(p), []byte(`{}`))
		if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("publish to provider %s: %v, want no response from any stream", p, err)
		}
	}
}

// A bad command does not hold up the good ones behind it, not even one that is left in the stream.
func TestNewerCommandWaitsAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}},
		func(c *consumer.Config) { c.Instances[0].Concurrency = 2 })
	f.start()
	for i := range 10 {
		f.publishRaw([]byte(with("schemaVersion", `"1.9"`)(fmt.Sprint("newer", i))))
	}
	f.publish(command("good", ""))
	f.eventually("the good one is made", func() error { return f.reached("good", schemas.KindSucceeded) })
	if err := f.left(10, 0); err != nil {
		t.Error(err)
	}
	if got := f.kindsWithout("good", ""); !slices.Equal(got, nil) || f.messages(schemas.StreamDead) != 0 {
		t.Errorf("events of newer commands %v and %d dead letters, want none", got, f.messages(schemas.StreamDead))
	}
}
