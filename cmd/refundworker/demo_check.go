package main

import (
	"fmt"
	"maps"
	"slices"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// evidence is all that the demo is judged by: what the streams say and what the providers really did.
type evidence struct {
	events []schemas.Event
	dead   []deadLetter
	ledger []simulator.Movement
	// sent is what the providers reported by themselves.
	sent []simulator.SentNotice
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
			broken = append(broken, string(c.provider)+", "+c.title+": "+b)
		}
	}
	broken = append(broken, compareLedger(found)...)
	broken = append(broken, checkFacts(found)...)
	broken = append(broken, checkReversals(found)...)
	broken = append(broken, strayed(cases, found)...)
	for _, n := range found.sent {
		if n.State != simulator.NoticeAccepted {
			broken = append(broken, fmt.Sprintf("%s about payment %s was not accepted: http status %d", n.Method, n.Reference, n.Status))
		}
	}
	for _, stream := range slices.Sorted(maps.Keys(found.left)) {
		if n := found.left[stream]; n > 0 {
			broken = append(broken, fmt.Sprintf("%d messages are left in %s", n, stream))
		}
	}
	return broken
}

// compareLedger pairs each event that says that money moved with the one movement that it is about. A movement without
// an event is money that nobody knows of; an event without a movement is a promise without money.
func compareLedger(found evidence) []string {
	var broken []string
	unexplained := slices.Clone(found.ledger)
	for _, e := range distinct(found.events) {
		stated, moves := movementOf(e, found.events)
		if !moves {
			continue
		}
		at := slices.IndexFunc(unexplained, func(m simulator.Movement) bool {
			return m.Type == stated.Type && m.Reference == stated.Reference && m.Kind == stated.Kind && m.Amount.Equal(stated.Amount) &&
				(stated.ProviderRefundID == "" || stated.ProviderRefundID == m.ProviderRefundID)
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
	return broken
}

// movementOf is the movement that an event states, as far as it does. A reversal's is one of the refund that the
// outcome names.
func movementOf(e schemas.Event, all []schemas.Event) (simulator.Movement, bool) {
	m := simulator.Movement{Type: simulatedAs(e.Provider), ProviderRefundID: e.ProviderRefundID}
	if e.Payment != nil && e.Amount != nil {
		m.Reference, m.Amount = e.Payment.Reference, *e.Amount
	}
	switch e.Kind {
	case schemas.KindSucceeded:
		m.Kind = simulator.MovementRefund
	case schemas.KindCancelled:
		m.Kind = simulator.MovementCancel
	case schemas.KindReversed:
		m.Kind, m.Amount = simulator.MovementReversal, e.Reversal.Amount
		if at := slices.IndexFunc(all, func(o schemas.Event) bool { return o.Kind.Outcome() && o.RequestID == e.RequestID }); at >= 0 {
			m.ProviderRefundID = all[at].ProviderRefundID
		}
	}
	return m, m.Kind != ""
}

// checkFacts finds ids that were given to two facts: a second outcome of a refund, above all.
func checkFacts(found evidence) []string {
	var broken []string
	told := map[string]string{}
	for _, e := range found.events {
		fact := fmt.Sprintf("%s %s", e.Kind, e.Amount)
		before, known := told[e.ID()]
		if known && before != fact && e.Kind != schemas.KindRejected {
			broken = append(broken, fmt.Sprintf("%s is %s, and was %s before", e.ID(), fact, before))
		}
		told[e.ID()] = fact
	}
	return broken
}

// checkReversals adds up, for each refund, what came back: each event's total is right, and none is above the refund.
func checkReversals(found evidence) []string {
	var broken []string
	back := map[schemas.RequestID]schemas.Money{}
	for _, e := range distinct(found.events) {
		if e.Kind != schemas.KindReversed {
			continue
		}
		total := schemas.Money{Micros: back[e.RequestID].Micros + e.Reversal.Amount.Micros, Currency: e.Reversal.Amount.Currency}
		back[e.RequestID] = total
		if !e.Reversal.Total.Equal(total) {
			broken = append(broken, fmt.Sprintf("%s came back by %s in all, and its event says %s", e.RequestID, total, e.Reversal.Total))
		}
		if e.Amount.Currency != total.Currency || e.Amount.Micros < total.Micros {
			broken = append(broken, fmt.Sprintf("%s came back by %s in all, and was a refund of %s", e.RequestID, total, e.Amount))
		}
	}
	return broken
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
