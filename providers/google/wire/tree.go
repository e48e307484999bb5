package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"refundworker/schemas"
)

// shape is the JSON type of a node.
type shape byte

const (
	shapeNull   shape = 'z'
	shapeBool   shape = 'b'
	shapeNumber shape = 'n'
	shapeString shape = 's'
	shapeArray  shape = 'a'
	shapeObject shape = 'o'
)

// node is one JSON value; a number stays the text that it was written as.
type node struct {
	shape   shape
	text    string
	items   []*node
	members map[string]*node
}

var (
	errNotJSON   = errors.New("not one strict JSON document in UTF-8")
	errSurrogate = errors.New("half of a surrogate pair")
	errTwice     = errors.New("a key occurs twice")
	errDeep      = fmt.Errorf("nested deeper than %d levels", schemas.MaxDepth)
	errNoObject  = errors.New("the document is not an object")
)

// parse reads one strict document: an object, with nothing behind it and no key twice at any depth.
func parse(document []byte) (*node, error) {
	switch {
	case !utf8.Valid(document) || !json.Valid(document):
		return nil, errNotJSON
	case loneSurrogate(document):
		// encoding/json would read it as another character, and two documents as the same.
		return nil, errSurrogate
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	root, err := value(d, 0)
	if err == nil && root.shape != shapeObject {
		err = errNoObject
	}
	return root, err
}

// value reads the next value of a document that is known to be valid.
func value(d *json.Decoder, depth int) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch t := token.(type) {
	case json.Delim:
		if depth == schemas.MaxDepth {
			return nil, errDeep
		}
		if t == '[' {
			return array(d, depth+1)
		}
		return object(d, depth+1)
	case string:
		return &node{shape: shapeString, text: t}, nil
	case json.Number:
		return &node{shape: shapeNumber, text: t.String()}, nil
	case bool:
		return &node{shape: shapeBool, text: fmt.Sprint(t)}, nil
	}
	return &node{shape: shapeNull}, nil
}

func array(d *json.Decoder, depth int) (*node, error) {
	n := &node{shape: shapeArray}
	for d.More() {
		item, err := value(d, depth)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := d.Token()
	return n, err
}

func object(d *json.Decoder, depth int) (*node, error) {
	n := &node{shape: shapeObject, members: map[string]*node{}}
	for d.More() {
		key, err := value(d, depth)
		if err != nil {
			return nil, err
		}
		if _, twice := n.members[key.text]; twice {
			return nil, errTwice
		}
		if n.members[key.text], err = value(d, depth); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return n, err
}

// member is a member that is there; null is the same as absent.
func (n *node) member(name string) *node {
	if n == nil || n.members[name] == nil || n.members[name].shape == shapeNull {
		return nil
	}
	return n.members[name]
}

// is reports whether a value is there and of one of the shapes.
func (n *node) is(shapes ...shape) bool { return n != nil && slices.Contains(shapes, n.shape) }

// content is a hash over a request in canonical form without its timestamp, the one field that a repeat may change.
// Members that nobody declared count as well.
func content(root *node) [32]byte {
	bare := *root
	if header := root.member("requestHeader"); header != nil {
		timeless := *header
		timeless.members = maps.Clone(header.members)
		delete(timeless.members, "requestTimestamp")
		bare.members = maps.Clone(root.members)
		bare.members["requestHeader"] = &timeless
	}
	h := sha256.New()
	bare.digest(h)
	return [32]byte(h.Sum(nil))
}

// digest writes a value with lengths instead of quotes: no two values are written alike, and no release of
// encoding/json can change how.
func (n *node) digest(h hash.Hash) {
	fmt.Fprintf(h, "%c%d:%s", n.shape, len(n.text)+len(n.items)+len(n.members), n.text)
	for _, item := range n.items {
		item.digest(h)
	}
	keys := make([]string, 0, len(n.members))
	for key := range n.members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprintf(h, "%d:%s", len(key), key)
		n.members[key].digest(h)
	}
}

// loneSurrogate finds a \u escape of half a surrogate pair in valid JSON, where a backslash occurs in strings only.
func loneSurrogate(document []byte) bool {
	for text := string(document); ; {
		_, after, found := strings.Cut(text, `\`)
		if !found {
			return false
		}
		text = after[1:]
		if after[0] != 'u' {
			continue
		}
		half := strings.ToLower(after[1:5])
		text = after[5:]
		switch {
		case half < "d800" || half > "dfff":
			continue
		case half >= "dc00" || len(text) < 6 || text[:2] != `\u`:
			return true
		}
		if low := strings.ToLower(text[2:6]); low < "dc00" || low > "dfff" {
			return true
		}
		text = text[6:]
	}
}
