package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/providers"
)

// problems collects everything that is wrong with the settings, each with its place.
type problems []string

func (p *problems) add(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	*p = append(*p, text)
}

// addAll adds what another package found wrong, one problem a line.
func (p *problems) addAll(path string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p.addAll(path, e)
		}
		return
	}
	p.add(path, "%v", err)
}

// addUnder adds what another package found wrong with a section, whose texts begin with their key. A key that has a
// problem already is not judged twice.
func (p *problems) addUnder(path string, err error) {
	var more problems
	more.addAll("", err)
	for _, text := range more {
		key, _, _ := strings.Cut(text, ":")
		place := path + "." + key + ":"
		if !slices.ContainsFunc(*p, func(known string) bool { return strings.HasPrefix(known, place) }) {
			*p = append(*p, path+"."+text)
		}
	}
}

// object reads one JSON object strictly: what is wrong becomes a problem with its path, what is absent keeps its
// default, and what nobody asked for is refused by finish.
type object struct {
	path    string
	members map[string]json.RawMessage
	used    map[string]bool
	secrets secrets
	found   *problems
}

// newObject reads the members of an object. One that cannot be read has none.
func newObject(path string, raw json.RawMessage, s secrets, found *problems) *object {
	o := &object{path: path, members: map[string]json.RawMessage{}, used: map[string]bool{}, secrets: s, found: found}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		found.add(path, "must be a JSON object")
		return o
	}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			found.add(path, "must be a JSON object")
			return o
		}
		name, _ := key.(string)
		if _, twice := o.members[name]; twice {
			found.add(o.at(name), "is given twice")
		}
		o.members[name] = value
	}
	return o
}

func (o *object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// read decodes a member, if it is there, and tells whether it was.
func read[T any](o *object, key, want string, into *T) bool {
	o.used[key] = true
	raw, ok := o.members[key]
	if !ok {
		return false
	}
	var value *T
	if err := json.Unmarshal(raw, &value); err != nil || value == nil {
		o.found.add(o.at(key), "must be %s", want)
		return false
	}
	*into = *value
	return true
}

func (o *object) text(key string, into *string) bool { return read(o, key, "a string", into) }
func (o *object) flag(key string, into *bool)        { read(o, key, "true or false", into) }
func (o *object) texts(key string, into *[]string)   { read(o, key, "a list of strings", into) }
func (o *object) number(key string, into *float64)   { read(o, key, "a number", into) }

// integer refuses 0, which would mean the default further down.
func (o *object) integer(key string, into *int) {
	var n int
	if !read(o, key, "a whole number", &n) {
		return
	}
	if n < 1 {
		o.found.add(o.at(key), "must be at least 1")
		return
	}
	*into = n
}

// duration refuses 0, which would mean the default further down.
func (o *object) duration(key string, into *time.Duration) {
	var text string
	if !read(o, key, `a duration such as "20s"`, &text) {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		o.found.add(o.at(key), `must be a positive duration such as "20s"`)
		return
	}
	*into = d
}

// choice reads a string that must be one of a few.
func (o *object) choice(key string, of []string, into *string) {
	var text string
	if !o.text(key, &text) {
		return
	}
	if !slices.Contains(of, text) {
		o.found.add(o.at(key), "must be one of %s", strings.Join(of, ", "))
		return
	}
	*into = text
}

// secret reads a reference to a secret and resolves it.
func (o *object) secret(key string, into *providers.Secret) {
	var reference string
	if !o.text(key, &reference) || reference == "" {
		return
	}
	value, err := o.secrets.resolve(reference)
	if err != nil {
		o.found.add(o.at(key), "%v", err)
		return
	}
	*into = value
}

// secretList reads references to secrets and resolves them.
func (o *object) secretList(key string) []providers.Secret {
	var references []string
	o.texts(key, &references)
	var out []providers.Secret
	for i, reference := range references {
		value, err := o.secrets.resolve(reference)
		if err != nil {
			o.found.add(o.at(key)+"["+strconv.Itoa(i)+"]", "%v", err)
			continue
		}
		out = append(out, value)
	}
	return out
}

// object reads a member that is an object; nil when it is absent.
func (o *object) object(key string) *object {
	o.used[key] = true
	raw, ok := o.members[key]
	if !ok {
		return nil
	}
	return newObject(o.at(key), raw, o.secrets, o.found)
}

// objects reads a list of objects.
func (o *object) objects(key string) []*object {
	var list []json.RawMessage
	read(o, key, "a list of objects", &list)
	out := make([]*object, len(list))
	for i, raw := range list {
		out[i] = newObject(o.at(key)+"["+strconv.Itoa(i)+"]", raw, o.secrets, o.found)
	}
	return out
}

// finish refuses every member that was not asked for.
func (o *object) finish() {
	var unknown []string
	for key := range o.members {
		if !o.used[key] {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		o.found.add(o.at(key), "unknown key")
	}
}

var errNotJSON = errors.New("is not JSON")

// checkJSON tells where a settings file stops being JSON.
func checkJSON(raw []byte) error {
	var any json.RawMessage
	err := json.Unmarshal(raw, &any)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(raw[:syntax.Offset], []byte("\n"))
		return fmt.Errorf("%w: line %d: %s", errNotJSON, line, strings.TrimPrefix(syntax.Error(), "json: "))
	}
	if err != nil {
		return errNotJSON
	}
	return nil
}
