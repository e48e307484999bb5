package schemas

import (
	"strconv"
	"strings"
)

// MaxProblems bounds the problems that one refusal lists; a hostile body cannot make it longer.
const MaxProblems = 32

// Problem is one broken rule: where (a JSON pointer) and which. It never holds the value.
type Problem struct {
	Pointer string `json:"pointer"`
	Rule    string `json:"rule"`
}

// Rejection says why a message was not accepted: every problem at once, never a value.
type Rejection struct {
	// Reason is ReasonMalformed (no JSON object could be read without guessing) or ReasonInvalid.
	Reason   Reason
	Problems []Problem

	subject string
}

// Error lists the places and rules, in one line.
func (r *Rejection) Error() string {
	subject := r.subject
	if subject == "" {
		subject = "message"
	}
	var text strings.Builder
	text.WriteString(subject + " is " + string(r.Reason))
	for i, p := range r.Problems {
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		text.WriteString(separator)
		if p.Pointer != "" {
			text.WriteString(p.Pointer + " ")
		}
		text.WriteString(p.Rule)
	}
	return text.String()
}

// NewerVersionError says that a command speaks a newer minor version than this code knows. Such a
// command is not wrong: it waits for a newer worker.
type NewerVersionError struct {
	// Minor is the minor version asked for.
	Minor int
}

// Error names the version asked for and the newest known.
func (e *NewerVersionError) Error() string {
	return "command has schema version 1." + strconv.Itoa(e.Minor) + ", newer than 1." + strconv.Itoa(knownMinor)
}

// addProblem appends a problem, or once the list is full says only that there are more.
func addProblem(problems []Problem, pointer, rule string) []Problem {
	switch {
	case len(problems) < MaxProblems-1:
		return append(problems, Problem{pointer, rule})
	case len(problems) == MaxProblems-1:
		return append(problems, Problem{"", "has more problems than are listed"})
	}
	return problems
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// child is the pointer of a declared field.
func child(parent, key string) string { return parent + "/" + pointerEscape.Replace(key) }

// entry is the pointer of an entry that the publisher named. A key that may hold more than a name
// (free text, a secret) is left out, and the pointer stays with the parent.
func entry(parent, key string) string {
	if !matches(key, 64, isEntryByte) {
		return parent
	}
	return child(parent, key)
}

// stranger is the pointer of a field that nobody declared. Its key shows only when it is a plain word.
func stranger(parent, key string) string {
	if !matches(key, 40, isWordByte) {
		return parent
	}
	return child(parent, key)
}

func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}

func isEntryByte(b byte) bool { return isWordByte(b) || strings.IndexByte("-.:/~", b) >= 0 }
