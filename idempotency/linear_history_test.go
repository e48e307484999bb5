package idempotency

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// clockSlack is how far Redis's clock may be from this process's on one machine, in milliseconds.
const clockSlack = 2

// history is what was asked and answered about one refund, and the events it journalled.
type history struct {
	id      schemas.RequestID
	journal *memoryJournal
	start   time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
	pending    []unanswered
	events     int // how many were journalled
	// owned is set once an answer showed that the requestId belongs to the right content.
	owned bool
}

func (h *history) clock() int64 { return time.Since(h.start).Nanoseconds() }

// unanswered is an operation whose answer never came.
type unanswered struct {
	porcupine.Operation
	line *badLine
	cuts int // at its call
}

// perform runs one operation and records it. Send returns its input, nil when there is nothing to record, and its
// output, nil when no answer came.
func (h *history) perform(client int, line *badLine, send func() (input, output any)) {
	call, from, cuts := h.clock(), time.Now().UnixMilli()-clockSlack, line.cuts()
	input, output := send()
	to, end := time.Now().UnixMilli()+clockSlack, h.clock()
	if input == nil {
		return
	}
	op := porcupine.Operation{ClientId: client, Output: output, Call: call, Return: end}
	h.mu.Lock()
	defer h.mu.Unlock()
	if output == nil {
		op.Input = during(input, window{from, whenever})
		h.pending = append(h.pending, unanswered{op, line, cuts})
		return
	}
	op.Input = during(input, window{from, to})
	h.operations = append(h.operations, op)
	if token := tokenOf(input); token != "" && line.lostSince(cuts, token) > 0 {
		h.operations = append(h.operations, unseen(op))
	}
}

// unseen is the run of a script before the one that was answered: its reply got lost, and it was sent again.
func unseen(op porcupine.Operation) porcupine.Operation {
	op.Output = nil
	return op
}

func tokenOf(input any) string {
	switch in := input.(type) {
	case claiming:
		return in.token
	case releasing:
		return in.token
	}
	return ""
}

func during(input any, w window) any {
	switch in := input.(type) {
	case claiming:
		in.window = w
		return in
	case releasing:
		in.window = w
		return in
	}
	return input
}

// publish journals an event and returns its sequence.
func (h *history) publish(e ledger.Entry) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.ID = fmt.Sprintf("%s:%d", h.id, h.events)
	op := porcupine.Operation{Call: h.clock()}
	e.Seq = h.journal.add(e)
	op.Input = applying{n: h.events, entry: e}
	h.operations = append(h.operations, op)
	h.events++
	return e.Seq
}

// complete gives operations without an end theirs: events when the projection was seen past them, and what never got
// its answer after everything else.
func (h *history) complete(t *testing.T, seen map[uint64]int64) []porcupine.Operation {
	t.Helper()
	operations := slices.Clone(h.operations)
	end := h.clock()
	for i, op := range operations {
		in, ok := op.Input.(applying)
		if !ok {
			continue
		}
		if operations[i].Return, ok = seen[in.entry.Seq]; !ok {
			t.Fatalf("event %d was never seen applied", in.entry.Seq)
		}
	}
	for _, p := range h.pending {
		op := p.Operation
		op.Return = end
		operations = append(operations, op)
		if p.line.lostSince(p.cuts, tokenOf(op.Input)) > 0 {
			operations = append(operations, op)
		}
	}
	return operations
}

var leaseModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(state, input, output any) []any {
		var next []any
		for _, r := range state.(register).step(input, output) {
			next = append(next, r)
		}
		return next
	},
}).ToModel()

// explainable reports whether some order of the operations, within what was seen of their times, obeys the model.
func explainable(t *testing.T, operations []porcupine.Operation) bool {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(leaseModel, operations, time.Minute)
	switch result {
	case porcupine.Ok:
		return true
	case porcupine.Unknown:
		t.Error("the check did not come to an end within a minute")
	}
	var longest []int
	for _, partial := range info.PartialLinearizations()[0] {
		if len(partial) > len(longest) {
			longest = partial
		}
	}
	var explained, rest []porcupine.Operation
	for _, i := range longest {
		explained = append(explained, operations[i])
	}
	for i, op := range operations {
		if !slices.Contains(longest, i) {
			rest = append(rest, op)
		}
	}
	slices.SortStableFunc(rest, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	t.Logf("%d of %d operations can be explained, in this order:\n%sand none of the rest after them:\n%s", len(explained),
		len(operations), story(explained), story(rest))
	return false
}

func story(operations []porcupine.Operation) string {
	var out strings.Builder
	for _, op := range operations {
		fmt.Fprintf(&out, "%9.3f to %9.3f ms, client %2d: %s\n", float64(op.Call)/1e6, float64(op.Return)/1e6, op.ClientId,
			describe(op.Input, op.Output))
	}
	return out.String()
}

func describe(input, output any) string {
	switch in := input.(type) {
	case applying:
		e := in.entry.Event
		return fmt.Sprintf("event %d: %s, owner %q", in.entry.Seq, e.Kind, in.entry.Owner)
	case claiming:
		c, answered := output.(Claim)
		if !answered {
			return fmt.Sprintf("claim %s for %d ms: ?", in.token, in.lease)
		}
		return fmt.Sprintf("claim %s for %d ms: %s at %d until %d, head %d, clean %d", in.token, in.lease, c.Answer,
			c.RedisTime.UnixMilli(), c.Until.UnixMilli(), c.Head, c.Clean)
	}
	return fmt.Sprintf("%+v: %v", input, output)
}
