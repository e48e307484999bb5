package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// evidence is all that the demo is judged by: what the streams say and what the provider really did.
type evidence struct {
	events []schemas.Event
	dead   []deadLetter
	ledger []simulator.Movement
	// left counts the messages in streams that have to be empty at the end.
	left map[string]uint64
}

// deadLetter is a message that was not accepted, and why.
type deadLetter struct {
	reason, detail string
	body           []byte
}

// check lists every broken promise.
func check(cases []demoCase, found evidence) []string {
	var broken []string
	for _, c := range cases {
		for _, b := range c.broken(found) {
			broken = append(broken, c.title+": "+b)
		}
	}
	broken = append(broken, compareLedger(found)...)
	broken = append(broken, strayed(cases, found)...)
	for _, stream := range slices.Sorted(maps.Keys(found.left)) {
		if n := found.left[stream]; n > 0 {
			broken = append(broken, fmt.Sprintf("%d messages are left in %s", n, stream))
		}
	}
	return broken
}

// compareLedger pairs each success with the one movement that it is about. A movement without an event is money
// that nobody knows of; an event without a movement is a promise without money.
func compareLedger(found evidence) []string {
	var broken []string
	unexplained := slices.Clone(found.ledger)
	moved := map[schemas.RequestID]int{}
	for _, e := range distinct(found.events) {
		kind, moves := movementOf(e.Kind)
		if !moves {
			continue
		}
		moved[e.RequestID]++
		at := slices.IndexFunc(unexplained, func(m simulator.Movement) bool {
			return m.Kind == kind && m.Reference == e.Payment.Reference && m.Amount.Equal(*e.Amount) &&
				(e.ProviderRefundID == "" || e.ProviderRefundID == m.ProviderRefundID)
		})
		if at < 0 {
			broken = append(broken, fmt.Sprintf("%s is %s, and no such movement is in the ledger", e.RequestID, e.Kind))
			continue
		}
		unexplained = slices.Delete(unexplained, at, at+1)
	}
	for _, m := range unexplained {
		broken = append(broken, fmt.Sprintf("%s of %s on payment %s has no event", m.Kind, m.Amount, m.Reference))
	}
	for _, id := range slices.Sorted(maps.Keys(moved)) {
		if moved[id] > 1 {
			broken = append(broken, fmt.Sprintf("%s moved money %d times", id, moved[id]))
		}
	}
	return broken
}

func movementOf(k schemas.Kind) (simulator.MovementKind, bool) {
	switch k {
	case schemas.KindSucceeded:
		return simulator.MovementRefund, true
	case schemas.KindCancelled:
		return simulator.MovementCancel, true
	}
	return "", false
}

// strayed finds what belongs to no case.
func strayed(cases []demoCase, found evidence) []string {
	var broken []string
	for _, e := range found.events {
		if !slices.ContainsFunc(cases, func(c demoCase) bool { return slices.Contains(c.ids, e.RequestID) }) {
			broken = append(broken, fmt.Sprintf("a %s event belongs to no case", e.Kind))
		}
	}
	for _, l := range found.dead {
		if !slices.ContainsFunc(cases, func(c demoCase) bool { return c.published(l.body) }) {
			broken = append(broken, "a dead letter belongs to no case")
		}
	}
	return broken
}

// broken lists what of a case is not as it has to be.
func (c demoCase) broken(found evidence) []string {
	var broken []string
	want := slices.Sorted(slices.Values(c.want))
	if got := slices.Sorted(slices.Values(c.endings(found))); !slices.Equal(got, want) {
		broken = append(broken, fmt.Sprintf("ended as %q, want %q", got, want))
	}
	for _, l := range found.dead {
		if c.published(l.body) && l.detail == "" {
			broken = append(broken, "a dead letter does not say what is wrong")
		}
	}
	if c.payment.Reference == "" {
		return broken
	}
	if left := c.left(found); left != c.wantLeft.String() {
		broken = append(broken, fmt.Sprintf("%s are left of the payment, want %s", left, c.wantLeft))
	}
	return broken
}

// endings are the outcomes, rejections and dead letters of a case. One fact counts once, however often it is
// stated.
func (c demoCase) endings(found evidence) []string {
	var out []string
	for _, e := range distinct(found.events) {
		if slices.Contains(c.ids, e.RequestID) && (e.Kind.Outcome() || e.Kind == schemas.KindRejected || e.Kind == schemas.KindParked) {
			out = append(out, strings.TrimSpace(string(e.Kind)+" "+string(e.Reason)))
		}
	}
	for _, l := range found.dead {
		if c.published(l.body) {
			out = append(out, "dead letter "+l.reason)
		}
	}
	return out
}

func (c demoCase) published(body []byte) bool {
	return slices.ContainsFunc(c.bodies, func(b []byte) bool { return bytes.Equal(b, body) })
}

// moved tells what the ledger says about the case's payment.
func (c demoCase) moved(found evidence) string {
	var out []string
	for _, m := range c.movements(found) {
		out = append(out, string(m.Kind)+" "+m.Amount.String())
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ", ")
}

// left is what the ledger leaves of the case's payment.
func (c demoCase) left(found evidence) string {
	if c.payment.Reference == "" {
		return "-"
	}
	left := c.payment.Amount
	for _, m := range c.movements(found) {
		rest, err := left.Sub(m.Amount)
		if err != nil {
			return "unknown"
		}
		left = rest
	}
	return left.String()
}

func (c demoCase) movements(found evidence) []simulator.Movement {
	return slices.DeleteFunc(slices.Clone(found.ledger), func(m simulator.Movement) bool {
		return m.Reference != c.payment.Reference
	})
}

// distinct drops events whose id came before, as any reader of the stream may do. A rejected event has no id of its
// own once it is read, because the hash in it is the body's.
func distinct(events []schemas.Event) []schemas.Event {
	seen := map[string]bool{}
	var out []schemas.Event
	for _, e := range events {
		if id := e.ID(); e.Kind == schemas.KindRejected || !seen[id] {
			seen[id] = true
			out = append(out, e)
		}
	}
	return out
}
