package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"refundworker/schemas"
)

// DocumentError says what is wrong with a control document and where.
type DocumentError struct {
	// Problems name places and rules, never values.
	Problems []schemas.Problem
}

func (e *DocumentError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.Rule
		if p.Pointer != "" {
			texts[i] = p.Pointer + ": " + p.Rule
		}
	}
	return "document not accepted: " + strings.Join(texts, "; ")
}

// problems collects everything that is wrong with a document, so that it can be mended in one go.
type problems []schemas.Problem

// add keeps the first schemas.MaxProblems; a list of a hundred thousand payments can be all wrong.
func (p *problems) add(pointer, rule string) {
	if len(*p) < schemas.MaxProblems {
		*p = append(*p, schemas.Problem{Pointer: pointer, Rule: rule})
	}
}

// under adds what was found in a part of the document that stands at pointer.
func (p *problems) under(pointer string, part problems) {
	for _, one := range part {
		p.add(pointer+one.Pointer, one.Rule)
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &DocumentError{Problems: p}
}

// object reads the object raw into fields, which are pointers by member name, and returns its members.
func (p *problems) object(at string, raw []byte, fields map[string]any) map[string]json.RawMessage {
	found, err := members(raw)
	if err != nil {
		p.add(at, err.Error())
	}
	for name, value := range sorted(found) {
		field, known := fields[name]
		if !known {
			p.add(at+"/"+escape(name), "unknown member; known are "+strings.Join(names(fields), ", "))
		} else {
			p.under(at+"/"+name, decode(value, field))
		}
	}
	return found
}

// decodeList reads a list, each element by one.
func decodeList[T any](raw []byte, one func([]byte) (T, problems)) (list []T, found problems) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil || elements == nil {
		found.add("", "must be a JSON list")
	}
	for i, element := range elements {
		decoded, wrong := one(element)
		found.under("/"+strconv.Itoa(i), wrong)
		list = append(list, decoded)
	}
	return list, found
}

// decode reads one value and returns the rules that it breaks, without quoting the value.
func decode(value json.RawMessage, into any) (found problems) {
	if string(value) == "null" {
		found.add("", "must not be null; leave the member out")
		return found
	}
	var wrongType *json.UnmarshalTypeError
	var rejection *schemas.Rejection
	switch err := json.Unmarshal(value, into); {
	case errors.As(err, &rejection):
		found = rejection.Problems
	case errors.As(err, &wrongType):
		found.add("", "must be "+jsonType(wrongType.Type.Kind()))
	case err != nil:
		found.add("", err.Error())
	}
	return found
}

// jsonType says what a Go kind is in JSON.
func jsonType(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number that is not negative"
	}
	return "a number"
}

// members splits a JSON object. Unlike encoding/json it takes names literally and refuses a name that
// comes twice, because two readers of such an object may see two different amounts.
func members(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("must be a JSON object")
	}
	found := map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		var value json.RawMessage
		if err != nil || !isName || d.Decode(&value) != nil {
			return nil, fmt.Errorf("is not JSON from byte %d on", d.InputOffset())
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("has a member twice, at byte %d", d.InputOffset())
		}
		found[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("is not JSON from byte %d on", d.InputOffset())
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("goes on after its end, at byte %d", d.InputOffset())
	}
	return found, nil
}

// literal is the text of a JSON string, or a JSON number as it was written.
type literal string

// UnmarshalJSON reads a string or a number.
func (l *literal) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		return json.Unmarshal(raw, (*string)(l))
	}
	var number json.Number
	if json.Unmarshal(raw, &number) != nil {
		return errors.New("must be a string or a number")
	}
	*l = literal(number)
	return nil
}

// sorted yields a map in the order of its keys, so that reports do not change from run to run.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range names(m) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// escape writes a member name as a token of a JSON pointer.
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
