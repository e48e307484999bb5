package schemas

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest in a message.
const MaxDepth = 32

// A shape is the JSON type of a node.
type shape byte

const (
	shapeNull shape = iota
	shapeBool
	shapeNumber
	shapeString
	shapeArray
	shapeObject
)

// node is one JSON value as it was written: nothing is rounded, replaced, merged or lost.
type node struct {
	shape   shape
	text    string // a string's content, or a number or literal as written
	raw     []byte // the value's bytes in the body
	items   []*node
	members []member
}

type member struct {
	key   string
	value *node
	used  bool
}

// get is the member of a name. A name that occurs twice has no value: guessing which one was meant
// could move the wrong amount.
func (n *node) get(key string) *node {
	var found *node
	for i := range n.members {
		if n.members[i].key != key {
			continue
		}
		if found != nil {
			return nil
		}
		n.members[i].used = true
		found = n.members[i].value
	}
	return found
}

// parse reads a body into a tree. Problems mean that the body is malformed; the tree is nil when
// nothing of it can be trusted.
func parse(body []byte) (*node, []Problem) {
	switch {
	case !utf8.Valid(body):
		return nil, []Problem{{"", "must be UTF-8"}}
	case !json.Valid(body):
		return nil, []Problem{{"", "must be JSON"}}
	case hasLoneSurrogate(body):
		// encoding/json would replace it silently: two different bodies would read the same.
		return nil, []Problem{{"", "must not escape half of a surrogate pair"}}
	}
	p := parser{body: body}
	root := p.value()
	if root.shape != shapeObject {
		return nil, []Problem{{"", "must be an object"}}
	}
	if p.tooDeep {
		p.problems = addProblem(p.problems, "", "must not nest deeper than "+strconv.Itoa(MaxDepth)+" levels")
	}
	return root, p.problems
}

// parser builds a tree from a body that json.Valid has passed, so it need not expect errors.
type parser struct {
	body     []byte
	at       int
	path     []string
	problems []Problem
	tooDeep  bool
}

func (p *parser) value() *node {
	p.skip(" \t\r\n")
	start := p.at
	n := &node{}
	switch p.body[p.at] {
	case '{':
		p.object(n)
	case '[':
		p.array(n)
	case '"':
		n.shape, n.text = shapeString, p.text()
	default:
		n.shape, n.text = p.literal()
	}
	n.raw = p.body[start:p.at]
	return n
}

func (p *parser) object(n *node) {
	n.shape = shapeObject
	seen := make(map[string]bool)
	for p.open(); p.more(); p.shut() {
		key := p.text()
		p.path = append(p.path, key)
		if seen[key] {
			p.problems = addProblem(p.problems, p.pointer(), "duplicate key")
		}
		seen[key] = true
		p.skip(" \t\r\n:")
		n.members = append(n.members, member{key: key, value: p.value()})
	}
}

func (p *parser) array(n *node) {
	n.shape = shapeArray
	for p.open(); p.more(); p.shut() {
		p.path = append(p.path, strconv.Itoa(len(n.items)))
		n.items = append(n.items, p.value())
	}
}

// open steps into an object or array.
func (p *parser) open() {
	p.at++
	p.tooDeep = p.tooDeep || len(p.path) >= MaxDepth
}

// more steps to the next element, or past the end of the object or array.
func (p *parser) more() bool {
	p.skip(" \t\r\n,")
	if c := p.body[p.at]; c == '}' || c == ']' {
		p.at++
		return false
	}
	return true
}

// shut ends an element.
func (p *parser) shut() { p.path = p.path[:len(p.path)-1] }

func (p *parser) skip(set string) {
	for p.at < len(p.body) && strings.IndexByte(set, p.body[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) text() string {
	start, escaped := p.at, false
	for p.at++; p.body[p.at] != '"'; p.at++ {
		if p.body[p.at] == '\\' {
			escaped = true
			p.at++
		}
	}
	p.at++
	raw := p.body[start:p.at]
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	_ = json.Unmarshal(raw, &text) // the body is valid
	return text
}

func (p *parser) literal() (shape, string) {
	start := p.at
	for p.at < len(p.body) && strings.IndexByte(" \t\r\n,]}", p.body[p.at]) < 0 {
		p.at++
	}
	text := string(p.body[start:p.at])
	switch text[0] {
	case 't', 'f':
		return shapeBool, text
	case 'n':
		return shapeNull, text
	}
	return shapeNumber, text
}

// pointer is where the parser is, as far as the keys on the way are plain words.
func (p *parser) pointer() string {
	pointer := ""
	for _, key := range p.path {
		next := stranger(pointer, key)
		if next == pointer {
			break
		}
		pointer = next
	}
	return pointer
}

// hasLoneSurrogate finds a \u escape of half a surrogate pair in valid JSON. A backslash occurs
// only inside strings there, so no other structure has to be followed.
func hasLoneSurrogate(body []byte) bool {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 {
			return false
		}
		body = body[i:]
		if body[1] != 'u' {
			body = body[2:]
			continue
		}
		first := escaped(body)
		body = body[6:]
		if first < 0xD800 || first > 0xDFFF {
			continue
		}
		if first >= 0xDC00 || len(body) < 6 || body[0] != '\\' || body[1] != 'u' {
			return true
		}
		if second := escaped(body); second < 0xDC00 || second > 0xDFFF {
			return true
		}
		body = body[6:]
	}
}

func escaped(sequence []byte) uint64 {
	code, _ := strconv.ParseUint(string(sequence[2:6]), 16, 16)
	return code
}
