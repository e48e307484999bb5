package schemas

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// Whether a field must be there.
const (
	required = true
	optional = false
)

// A rule judges a value and names what it breaks, or "".
type rule func(string) string

// reader reads typed fields from a tree and collects every problem instead of stopping at the first.
type reader struct {
	problems []Problem
	found    int // counts on when the list is full
	// lenient readers pass over fields that nobody declared.
	lenient bool
}

func (r *reader) add(pointer, broken string) {
	r.found++
	r.problems = addProblem(r.problems, pointer, broken)
}

// object is the view of an object, or of an empty one in its stead when the node is something else,
// so that callers need no checks. A nil node is an absent value, which is the caller's to report.
func (r *reader) object(n *node, pointer string) fields {
	if n == nil || n.shape != shapeObject {
		if n != nil {
			r.add(pointer, "must be an object")
		}
		return fields{r: r, node: &node{}, pointer: pointer}
	}
	return fields{r: r, node: n, pointer: pointer, read: true}
}

// fields reads the members of one object. A value that breaks a rule reads as absent.
type fields struct {
	r       *reader
	node    *node
	pointer string
	read    bool // there was an object
}

func (f fields) at(name string) string { return child(f.pointer, name) }

// get is a member; a missing one is reported when it is required and its object is there at all.
func (f fields) get(name string, must bool) *node {
	n := f.node.get(name)
	if n == nil && must && f.read {
		f.r.add(f.at(name), "required")
	}
	return n
}

func (f fields) object(name string, must bool) fields {
	return f.r.object(f.get(name, must), f.at(name))
}

func (f fields) text(name string, must bool, judge rule) string {
	n := f.get(name, must)
	if n == nil {
		return ""
	}
	if n.shape != shapeString {
		f.r.add(f.at(name), "must be a string")
		return ""
	}
	if broken := judge(n.text); broken != "" {
		f.r.add(f.at(name), broken)
		return ""
	}
	return n.text
}

func (f fields) time(name string, must bool) *time.Time {
	text := f.text(name, must, ruleTime)
	if text == "" {
		return nil
	}
	t, _ := parseTime(text) // ruleTime has parsed it
	return &t
}

// amount reads an amount as messages carry it: positive, whole minor units, in range.
func (f fields) amount(name string, must bool) *Money {
	before := f.r.found
	o := f.object(name, must)
	micros := o.text("amountMicros", required, ruleMicros)
	currency := Currency(o.text("currencyCode", required, ruleCurrency))
	o.refuseUnknown()
	if !o.read || f.r.found > before || micros == "" || currency == "" {
		return nil
	}
	n, _ := strconv.ParseInt(micros, 10, 64) // ruleMicros has parsed it
	m := Money{Micros: n, Currency: currency}
	if broken := m.rule(); broken != "" {
		f.r.add(child(f.at(name), "amountMicros"), broken)
		return nil
	}
	return &m
}

// count reads a whole number from 1 to 2^31-1.
func (f fields) count(name string) int {
	n := f.get(name, optional)
	if n == nil {
		return 0
	}
	value, err := strconv.ParseInt(n.text, 10, 32)
	if n.shape != shapeNumber || err != nil || value < 1 {
		f.r.add(f.at(name), "must be a whole number from 1 to 2147483647")
		return 0
	}
	return int(value)
}

func (f fields) flag(name string) *bool {
	n := f.get(name, optional)
	if n == nil {
		return nil
	}
	if n.shape != shapeBool {
		f.r.add(f.at(name), "must be true or false")
		return nil
	}
	value := n.text == "true"
	return &value
}

// rawObject keeps an object as its own bytes.
func (f fields) rawObject(name string) json.RawMessage {
	if o := f.object(name, optional); o.read {
		return bytes.Clone(o.node.raw)
	}
	return nil
}

// raw keeps any value but null as its own bytes.
func (f fields) raw(name string) json.RawMessage {
	n := f.get(name, optional)
	if n == nil {
		return nil
	}
	if n.shape == shapeNull {
		f.r.add(f.at(name), "must not be null")
		return nil
	}
	return bytes.Clone(n.raw)
}

// metadata reads a map of strings within its limits.
func (f fields) metadata(name string) map[string]string {
	before := f.r.found
	o := f.object(name, optional)
	if !o.read || len(o.node.members) == 0 {
		return nil
	}
	values := make(map[string]string, len(o.node.members))
	for _, m := range o.node.members {
		if m.value.shape != shapeString {
			f.r.add(entry(o.pointer, m.key), "must be a string")
		}
		values[m.key] = m.value.text
	}
	for _, p := range metadataProblems(o.pointer, values) {
		f.r.add(p.Pointer, p.Rule)
	}
	if f.r.found > before {
		return nil
	}
	return values
}

// refuseUnknown reports every member that was not asked for.
func (f fields) refuseUnknown() {
	if f.r.lenient {
		return
	}
	for _, m := range f.node.members {
		if !m.used {
			f.r.add(stranger(f.pointer, m.key), "unknown field")
		}
	}
}
