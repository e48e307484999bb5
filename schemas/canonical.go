package schemas

import (
	"slices"
	"strings"
)

// appendCanonical writes a value in one fixed form: members sorted by name, no spaces, numbers as
// written, strings escaped only where JSON demands it.
func (n *node) appendCanonical(out []byte) []byte {
	switch n.shape {
	case shapeString:
		return appendQuoted(out, n.text)
	case shapeArray:
		out = append(out, '[')
		for i, item := range n.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = item.appendCanonical(out)
		}
		return append(out, ']')
	case shapeObject:
		return n.appendMembers(out)
	}
	return append(out, n.text...)
}

func (n *node) appendMembers(out []byte) []byte {
	sorted := slices.Clone(n.members)
	slices.SortFunc(sorted, func(a, b member) int { return strings.Compare(a.key, b.key) })
	out = append(out, '{')
	for i, m := range sorted {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendQuoted(out, m.key)
		out = append(out, ':')
		out = m.value.appendCanonical(out)
	}
	return append(out, '}')
}

// appendQuoted is written here because encoding/json has changed its escapes between releases,
// and fingerprints outlive releases.
func appendQuoted(out []byte, text string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for _, b := range []byte(text) {
		switch {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			out = append(out, b)
		}
	}
	return append(out, '"')
}
