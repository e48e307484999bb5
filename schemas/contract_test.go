package schemas

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// messages are the three kinds of messages: a schema, and a decoder that encodes again what it read.
var messages = []struct {
	name, file string
	decode     func([]byte) (any, error)
	encode     func(any) ([]byte, error)
}{
	{"command", CommandSchemaFile,
		func(b []byte) (any, error) { return DecodeCommand(b, Arrival{}) },
		func(v any) ([]byte, error) { return v.(Command).Encode() }},
	{"event", EventSchemaFile,
		func(b []byte) (any, error) { return DecodeEvent(b) },
		func(v any) ([]byte, error) {
			e := v.(Event)
			e.BodyHash = [32]byte{1}
			return e.Encode()
		}},
	{"notice", NoticeSchemaFile,
		func(b []byte) (any, error) { return DecodeNotice(b) },
		func(v any) ([]byte, error) { return v.(Notice).Encode() }},
}

func compile(t testing.TB, file string) *jsonschema.Schema {
	t.Helper()
	text, err := SchemaFS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(file, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// allows reports whether a schema allows a body.
func allows(schema *jsonschema.Schema, body []byte) bool {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	return err == nil && schema.Validate(value) == nil
}

// eachExample runs a test for every example of a message in a folder.
func eachExample(t *testing.T, folder string, test func(t *testing.T, body []byte)) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples in %s: %v, %d files", folder, err, len(files))
	}
	for _, file := range files {
		t.Run(filepath.ToSlash(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			test(t, body)
		})
	}
}

func TestGoodExamples(t *testing.T) {
	for _, m := range messages {
		schema := compile(t, m.file)
		eachExample(t, m.name+"/good", func(t *testing.T, body []byte) {
			first, err := m.decode(body)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if !allows(schema, body) {
				t.Errorf("the schema refuses what Go accepts")
			}
			again, err := m.encode(first)
			if err != nil {
				t.Fatalf("encode: %v", err)
			}
			if !allows(schema, again) {
				t.Errorf("the schema refuses what Go wrote: %s", again)
			}
			if second, err := m.decode(again); err != nil || !reflect.DeepEqual(compacted(second), compacted(first)) {
				t.Errorf("decode again: got %+v, %v; want %+v", second, err, first)
			}
		})
	}
}

// compacted drops the layout of raw JSON, which encoding does not keep.
func compacted(v any) any {
	switch m := v.(type) {
	case Command:
		m.Options = compactJSON(m.Options)
		return m
	case Event:
		m.Baseline = compactJSON(m.Baseline)
		if m.Reversal != nil {
			r := *m.Reversal
			r.RawResult = compactJSON(r.RawResult)
			m.Reversal = &r
		}
		return m
	case Notice:
		if m.Reversal != nil {
			r := *m.Reversal
			r.RawResult = compactJSON(r.RawResult)
			m.Reversal = &r
		}
		return m
	}
	return v
}

func compactJSON(raw []byte) []byte {
	if raw == nil {
		return nil
	}
	p := parser{body: raw}
	return p.value().appendCanonical(nil)
}

func TestBadExamples(t *testing.T) {
	for _, m := range messages {
		schema := compile(t, m.file)
		eachExample(t, m.name+"/bad", func(t *testing.T, body []byte) {
			if allows(schema, body) {
				t.Errorf("the schema accepts it")
			}
			assertRejected(t, m.decode, body)
		})
	}
}

// goOnly says why a schema cannot judge an example.
var goOnly = map[string]string{
	"command/duplicate_key":        "a JSON reader keeps one of two equal keys",
	"command/duplicate_nested":     "a JSON reader keeps one of two equal keys",
	"command/duplicate_by_escape":  "a JSON reader keeps one of two equal keys",
	"command/duplicate_in_options": "a JSON reader keeps one of two equal keys",
	"command/half_surrogate":       "a JSON reader may replace it",
	"command/low_surrogate":        "a JSON reader may replace it",
	"command/too_deep":             "a schema has no measure of depth",
	"command/half_a_cent":          "minor units are a table",
	"command/yen_sen":              "minor units are a table",
	"command/kwd_four_decimals":    "minor units are a table",
	"command/beyond_int64":         "the digits are a string",
	"command/beyond_double":        "minor units are a table",
	"command/gold":                 "currencies are a table",
	"command/no_such_currency":     "currencies are a table",
	"command/exceeds_payment":      "compares two fields",
	"command/other_currency":       "compares two fields",
	"command/not_after_before":     "compares two fields",
	"command/year_zero":            "a matter of the calendar",
	"command/year_zero_by_offset":  "a matter of the calendar",
	"command/leap_second":          "RFC 3339 has leap seconds, Go's clock has none",
	"command/metadata_bytes":       "sums over entries",
	"event/duplicate_key":          "a JSON reader keeps one of two equal keys",
	"event/attempt_one_point_zero": "1.0 is an integer to a schema",
	"event/total_below_amount":     "compares two fields",
	"event/total_above_refund":     "compares two fields",
	"event/reversal_currency":      "compares two fields",
	"event/half_a_cent":            "minor units are a table",
	"notice/duplicate_key":         "a JSON reader keeps one of two equal keys",
	"notice/half_a_cent":           "minor units are a table",
}

func TestBadExamplesOfGoOnly(t *testing.T) {
	for _, m := range messages {
		schema := compile(t, m.file)
		eachExample(t, m.name+"/bad-go-only", func(t *testing.T, body []byte) {
			name := m.name + "/" + strings.TrimSuffix(filepath.Base(t.Name()), ".json")
			if goOnly[name] == "" {
				t.Errorf("%s: no reason given why only Go refuses it", name)
			}
			if !allows(schema, body) {
				t.Errorf("the schema refuses it too: it belongs to bad")
			}
			assertRejected(t, m.decode, body)
		})
	}
}

func assertRejected(t *testing.T, decode func([]byte) (any, error), body []byte) {
	t.Helper()
	_, err := decode(body)
	var rejection *Rejection
	if !errors.As(err, &rejection) {
		t.Fatalf("got %v, want a *Rejection", err)
	}
	if len(rejection.Problems) == 0 {
		t.Errorf("the rejection names no problem")
	}
	if rejection.Reason != ReasonInvalid && rejection.Reason != ReasonMalformed {
		t.Errorf("got reason %q", rejection.Reason)
	}
}

// TestErrorsHoldNoValues puts a secret into every value of a good command and looks for it in the error.
func TestErrorsHoldNoValues(t *testing.T) {
	const secret = "4111-1111-1111-1111 né"
	for _, m := range messages {
		for _, folder := range []string{"good", "bad"} {
			eachExample(t, m.name+"/"+folder, func(t *testing.T, body []byte) {
				for _, spoilt := range spoil(body, secret) {
					if _, err := m.decode(spoilt); err != nil && strings.Contains(err.Error(), "4111") {
						t.Errorf("the error holds the secret: %v", err)
					}
				}
			})
		}
	}
}

// spoil writes a body once for every string in it, keys included, with the secret in its place.
func spoil(body []byte, secret string) [][]byte {
	var all [][]byte
	parts := strings.Split(string(body), `"`)
	for i := 1; i < len(parts); i += 2 {
		spoilt := slices.Clone(parts)
		spoilt[i] = secret
		all = append(all, []byte(strings.Join(spoilt, `"`)))
	}
	return all
}

// oddValues are put in the place of every value of every good example.
var oddValues = []string{`null`, `true`, `0`, `1`, `-1`, `1.0`, `1e2`, `1e400`, `2147483648`, `""`, `" "`, `"0"`, `"-1"`, `"a"`,
	`"1e2"`, `"\u0000"`, `"é"`, `"HKD"`, `"XXX"`, `"failed"`, `"declined"`, `"REFUND"`, `"CANCEL"`, `"call"`, `"result"`, `"reversal"`,
	`"2026-11-21T10:00:00+24:00"`, `"2026-11-21T10:00:60Z"`, `"2026-11-21T24:00:00Z"`, `"2026-11-21T10:00:00.Z"`, `"10000\n"`,
	`[]`, `[null]`, `{}`, `{"":1}`, `{"amountMicros":"10000","currencyCode":"HKD"}`, `{"reference":"x"}`, `{"kind":"failed"}`,
	`"` + strings.Repeat("é", 129) + `"`, `"` + strings.Repeat("x", 2001) + `"`}

// TestOddValues holds, over every value of every good example, that the schema accepts whatever Go accepts.
func TestOddValues(t *testing.T) {
	for _, m := range messages {
		schema, tried, accepted := compile(t, m.file), 0, 0
		eachExample(t, m.name+"/good", func(t *testing.T, body []byte) {
			for _, place := range places(body) {
				for _, odd := range oddValues {
					changed := slices.Concat(body[:place[0]], []byte(odd), body[place[1]:])
					tried++
					if _, err := m.decode(changed); err != nil {
						continue
					}
					accepted++
					if !allows(schema, changed) {
						t.Errorf("the schema refuses what Go accepts: %s", changed)
					}
				}
			}
		})
		if accepted == 0 || accepted == tried {
			t.Errorf("%s: %d of %d changed bodies accepted, want some", m.name, accepted, tried)
		}
	}
}

// places are the bounds of every value inside a body.
func places(body []byte) [][2]int {
	p := parser{body: body}
	var all [][2]int
	var walk func(n *node)
	walk = func(n *node) {
		// raw is a part of body, so the capacities tell where it starts.
		start := cap(body) - cap(n.raw)
		all = append(all, [2]int{start, start + len(n.raw)})
		for _, item := range n.items {
			walk(item)
		}
		for _, m := range n.members {
			walk(m.value)
		}
	}
	walk(p.value())
	return all
}
