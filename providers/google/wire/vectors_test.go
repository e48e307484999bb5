package wire

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vectorFile is one file of cases. All start from the same fixture.
type vectorFile struct {
	HeaderFamily string `json:"headerFamily"`
	Fixture      struct {
		NowMillis string `json:"nowMillis"`
	} `json:"fixture"`
	Cases     []vectorCase `json:"cases"`
	Sequences []struct {
		ID    string       `json:"id"`
		Steps []vectorCase `json:"steps"`
	} `json:"sequences"`
}

type vectorCase struct {
	ID        string          `json:"id"`
	Direction string          `json:"direction"`
	Valid     bool            `json:"valid"`
	HTTP      int             `json:"http"`
	Body      json.RawMessage `json:"body"`
	Raw       *string         `json:"raw"`
	AtMillis  string          `json:"atMillis"`
	Expect    struct {
		HTTP          int    `json:"http"`
		Code          string `json:"code"`
		Field         string `json:"field"`
		ClientMessage string `json:"clientMessage"`
		SameAsStep    *int   `json:"sameAsStep"`
	} `json:"expect"`
}

func (c vectorCase) document() []byte {
	if c.Raw != nil {
		return []byte(*c.Raw)
	}
	return c.Body
}

func (v vectorFile) family() Family {
	if v.HeaderFamily == "flat" {
		return Flat
	}
	return Object
}

func readVectors(t testing.TB, name string) vectorFile {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func millis(t testing.TB, text string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(n)
}

// method is how a vector file's documents are read. Both functions ask for a family, because echo has cases of both.
type method struct {
	request  func(Family, []byte) (Header, error)
	response func(Family, []byte) error
}

func acceptedBy(f Family, document []byte) error {
	_, err := f.response(document, f.name("accepted", "SUCCESS"))
	return err
}

var resultMethod = method{
	func(f Family, b []byte) (Header, error) { n, err := f.DecodeResult(b); return n.Header, err }, acceptedBy}

var reversalMethod = method{
	func(f Family, b []byte) (Header, error) { n, err := f.DecodeReversal(b); return n.Header, err }, acceptedBy}

var refundMethod = method{
	func(f Family, b []byte) (Header, error) { r, err := f.decodeRefund(b); return r.Header, err },
	func(f Family, b []byte) error { _, err := f.DecodeRefundResponse(b); return err }}

var methods = map[string]method{
	"asynchronous_refund_redirect.json":              refundMethod,
	"asynchronous_refund_card.json":                  refundMethod,
	"refund_result_notification_redirect.json":       resultMethod,
	"refund_result_notification_card.json":           resultMethod,
	"reverse_refund_notification_card.json":          reversalMethod,
	"reverse_refund_notification_object_header.json": reversalMethod,
}

// elsewhere names the vector files that are not cases of one method, with what covers each.
var elsewhere = map[string]string{
	"echo.json":                          "TestEchoVectors",
	"error_responses.json":               "TestErrorResponseVectors",
	"idempotency_sequences.json":         "TestContentVectors",
	"notification_client_reactions.json": "about calls that this package's caller does not make",
}

func TestVectorsAreAllCovered(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) != len(methods)+len(elsewhere) {
		t.Fatalf("vector files: got %d, %v, want %d", len(files), err, len(methods)+len(elsewhere))
	}
	for _, file := range files {
		name := filepath.Base(file)
		if _, here := methods[name]; !here && elsewhere[name] == "" {
			t.Errorf("%s is covered by no test", name)
		}
	}
}

// Every recorded document reads as its case says, as far as a codec can tell: what depends on accounts and payments
// reads as good.
func TestVectors(t *testing.T) {
	for name, m := range methods {
		v := readVectors(t, name)
		for _, c := range v.Cases {
			t.Run(strings.TrimSuffix(name, ".json")+"/"+c.ID, func(t *testing.T) {
				if c.Direction == "request" {
					checkRequest(t, m, v, c)
					return
				}
				if err := m.response(v.family(), c.document()); (err == nil) != c.Valid {
					t.Errorf("got error %v, want valid %v", err, c.Valid)
				}
			})
		}
	}
}

// beyond are the codes that need more than the document.
var beyond = []string{"INVALID_IDENTIFIER", "invalidIdentifier", "PRECONDITION_VIOLATION", "preconditionViolation"}

func checkRequest(t *testing.T, m method, v vectorFile, c vectorCase) {
	h, err := m.request(v.family(), c.document())
	if err == nil {
		err = h.CheckClock(millis(t, v.Fixture.NowMillis))
	}
	if c.Valid || slices.Contains(beyond, c.Expect.Code) {
		if err != nil {
			t.Errorf("got %v, want it taken", err)
		}
		return
	}
	wantError(t, v.family(), err, c)
}

func wantError(t *testing.T, f Family, err error, c vectorCase) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want code %s", err, c.Expect.Code)
	}
	code := codeOf(f, c.Expect.Code)
	if code == "" || e.Code != code || e.Code.HTTP() != c.Expect.HTTP {
		t.Errorf("got code %s with status %d, want %s with %d", e.Code, e.Code.HTTP(), c.Expect.Code, c.Expect.HTTP)
	}
	if c.Expect.Field != "" && e.Field != c.Expect.Field {
		t.Errorf("got field %q, want %q", e.Field, c.Expect.Field)
	}
}

func TestEchoVectors(t *testing.T) {
	v := readVectors(t, "echo.json")
	now := millis(t, v.Fixture.NowMillis)
	for _, c := range v.Cases {
		f := Object
		if strings.Contains(c.ID, "flat") {
			f = Flat
		}
		t.Run(c.ID, func(t *testing.T) {
			switch {
			case c.Direction == "response":
				checkEchoResponse(t, f, c)
			case c.Valid:
				e, err := f.DecodeEcho(c.document())
				if err != nil || e.ClientMessage != c.Expect.ClientMessage || e.CheckClock(now) != nil {
					t.Errorf("got %q, %v, want %q", e.ClientMessage, err, c.Expect.ClientMessage)
				}
			default:
				_, err := f.DecodeEcho(c.document())
				wantError(t, f, err, c)
			}
		})
	}
}

// checkEchoResponse compares with what we answer, which has no serverMessage.
func checkEchoResponse(t *testing.T, f Family, c vectorCase) {
	want := decoded(t, c.Body).(map[string]any)
	delete(want, "serverMessage")
	wantSame(t, f.EncodeEcho(time.UnixMilli(1780315200005), "lighthouse"), want)
}

func TestErrorResponseVectors(t *testing.T) {
	for _, c := range readVectors(t, "error_responses.json").Cases {
		t.Run(c.ID, func(t *testing.T) {
			got, readable := DecodeErrorResponse(c.document())
			_, name, named := strings.Cut(c.ID, "-")
			if strings.HasPrefix(c.ID, "error-with-200") { // a good body: the status is wrong, which its reader must see
				name, c.Valid = "preconditionViolation", true
			}
			want := max(codeOf(Flat, name), codeOf(Object, name))
			if !c.Valid || !strings.HasPrefix(string(c.document()), "{") {
				if readable {
					t.Errorf("got code %q, want a body that says nothing", got.Code)
				}
				return
			}
			if !readable || got.Code != want || !got.Timestamp.Equal(time.UnixMilli(1780315200012)) {
				t.Errorf("got code %q, readable %v, made at %v, want code %q", got.Code, readable, got.Timestamp, want)
			}
			if named && want != "" && c.HTTP != 200 {
				if want.HTTP() != c.HTTP {
					t.Errorf("status of %s: got %d, want %d", want, want.HTTP(), c.HTTP)
				}
				checkEncodedError(t, want, got.Field, c)
			}
		})
	}
}

// checkEncodedError compares the part that names the code with what we would send.
func checkEncodedError(t *testing.T, code Code, field string, c vectorCase) {
	want := decoded(t, c.Body).(map[string]any)
	f := Object
	if strings.HasPrefix(c.ID, "flat") {
		f = Flat
	}
	e := &Error{Code: code, Field: field, Detail: "kept for support staff, never shown to a user", major: 2}
	sent := decoded(t, f.EncodeError(time.UnixMilli(1780315200012), e)).(map[string]any)
	for _, key := range []string{"responseHeader", "errorResponseCode", "errorResponseResult"} {
		if string(encoded(t, sent[key])) != string(encoded(t, want[key])) {
			t.Errorf("%s: got %s, want %s", key, encoded(t, sent[key]), encoded(t, want[key]))
		}
	}
}

// A repeat has the same content hash, whatever its timestamp; a violation of the key has another.
func TestContentVectors(t *testing.T) {
	compared := 0
	for _, s := range readVectors(t, "idempotency_sequences.json").Sequences {
		var contents [][32]byte
		for i, step := range s.Steps {
			h := headerOf(t, step)
			contents = append(contents, h.Content)
			switch {
			case step.Expect.SameAsStep != nil:
				compared++
				if contents[i] != contents[*step.Expect.SameAsStep] {
					t.Errorf("%s, step %d: got another content, want that of step %d", s.ID, i, *step.Expect.SameAsStep)
				}
			case step.Expect.Code == "idempotencyViolation":
				compared++
				if contents[i] == contents[0] {
					t.Errorf("%s, step %d: got the content of the first, want another", s.ID, i)
				}
			case step.Expect.Code == "requestTimestampOutOfRange":
				compared++
				wantError(t, Object, h.CheckClock(millis(t, step.AtMillis)), step)
			}
		}
	}
	if compared < 6 {
		t.Errorf("compared steps: got %d, want 6 or more", compared)
	}
}

// headerOf is a step's header. One step is refused for its amount, yet its header reads.
func headerOf(t *testing.T, step vectorCase) Header {
	t.Helper()
	_, h, err := Object.request(step.Body)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
