package idempotency

import (
	"context"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// What the machine of the protocol knows of providers and of the server that keeps the journal.
const (
	bankTimeout  = 20 * time.Second // of one call
	bankLease    = bankTimeout + 30*time.Second
	bankMargin   = 2 * time.Second // kept free between a call's latest end and its lease's
	lateMargin   = 5 * time.Second // how long after the lease a request may still be executed
	bankShows    = 30 * time.Second
	bankKeyLife  = time.Hour
	knownIDs     = 10 * time.Minute
	outcomeFresh = 5 * time.Minute
)

// bankKind is what a provider offers to end doubt.
type bankKind string

const (
	looksUp   bankKind = "looks up"
	honoursID bankKind = "honours keys"
	neither   bankKind = "neither"
)

// effect is what becomes of one call.
type effect string

const (
	paid        effect = "paid"
	declined    effect = "declined"
	notNow      effect = "not now"
	unavailable effect = "unavailable"         // surely nothing
	lostPaid    effect = "paid, reply lost"    // the rest is unknown to the caller
	lostLate    effect = "paid late"           // after the caller gave up
	lostNothing effect = "nothing, reply lost" // never executed
)

var effects = []effect{paid, declined, notNow, unavailable, lostPaid, lostLate, lostNothing}

// bank is the provider: a ledger, and how far its answers can be trusted.
type bank struct {
	kind  bankKind
	moves []*movement
	keys  map[string]*movement
}

type movement struct {
	id        schemas.RequestID
	at, shown time.Time
	key       time.Time // until when its key is honoured
}

type bankCall struct {
	id     schemas.RequestID
	key    string
	effect effect
	// late is when an effect that comes late comes, and shows how long the bank takes to find it.
	late  time.Time
	shows time.Duration
}

// ledger counts how often a refund has moved money.
func (b *bank) ledger(id schemas.RequestID) int {
	n := 0
	for _, m := range b.moves {
		if m.id == id && !m.at.After(time.Now()) {
			n++
		}
	}
	return n
}

// owes tells that money has moved or is about to.
func (b *bank) owes(id schemas.RequestID) bool {
	for _, m := range b.moves {
		if m.id == id {
			return true
		}
	}
	return false
}

// call executes a refund, or not. A bank that honours keys makes nothing twice under one that still lives; any other
// call for a refund that it has made, or is about to make, makes it again.
func (b *bank) call(c bankCall) effect {
	now := time.Now()
	if m := b.keys[c.key]; b.kind == honoursID && m != nil && m.key.After(now) {
		if c.effect == paid && m.at.After(now) {
			return lostNothing
		}
		if c.effect == paid || c.effect == unavailable {
			return c.effect
		}
		return lostNothing
	}
	if b.owes(c.id) {
		c.effect = paid
	}
	m := &movement{id: c.id, at: now, key: now.Add(bankKeyLife)}
	switch c.effect {
	case lostLate:
		m.at = c.late
	case paid, lostPaid:
	default:
		return c.effect
	}
	m.shown = m.at.Add(c.shows)
	b.moves, b.keys[c.key] = append(b.moves, m), m
	return c.effect
}

// find looks a refund up; it may not show yet.
func (b *bank) find(id schemas.RequestID) bool {
	for _, m := range b.moves {
		if m.id == id && !m.shown.After(time.Now()) {
			return true
		}
	}
	return false
}

// fencedJournal is the event stream with the server's rule for message ids, and each refund's chain.
type fencedJournal struct {
	*memoryJournal
	stored   map[string]storedID
	previous map[uint64]uint64
}

type storedID struct {
	seq uint64
	at  time.Time
}

// publish stores an event, unless one with its id was stored within the window.
func (j *fencedJournal) publish(e ledger.Entry, previous uint64) (seq uint64, duplicate bool) {
	if s, known := j.stored[e.Event.ID()]; known && time.Since(s.at) < knownIDs {
		return s.seq, true
	}
	seq = j.add(e)
	j.stored[e.Event.ID()], j.previous[seq] = storedID{seq, time.Now()}, previous
	return seq, false
}

// chain is what a refund's events tell, walked back from its last one.
type chain struct {
	leaseUntil, keySince time.Time
	key                  string
	parks                int
}

func (j *fencedJournal) walk(seq uint64) chain {
	var c chain
	for ; seq != 0; seq = j.previous[seq] {
		e := j.entries[seq-1].Event
		switch e.Kind {
		case schemas.KindDispatched:
			if e.LeaseUntil != nil && e.LeaseUntil.After(c.leaseUntil) {
				c.leaseUntil = *e.LeaseUntil
			}
			if c.key == "" {
				c.key = e.IdempotencyKey
			}
			if c.key == e.IdempotencyKey {
				c.keySince = e.OccurredAt
			}
		case schemas.KindParked:
			c.parks = max(c.parks, e.N)
		}
	}
	return c
}

// state is what the whole journal says about a refund, and how many outcomes it holds.
func (j *fencedJournal) state(id schemas.RequestID) (r modelRecord, outcomes int) {
	for _, e := range j.entries {
		if e.Event.RequestID != id {
			continue
		}
		r, _ = r.fold(e)
		if e.Event.Kind.Outcome() {
			outcomes++
		}
	}
	return r, outcomes
}

// project does one of a projector's steps; whoever is refused begins anew.
func (w *protocolWorker) project(events int) {
	ctx := context.Background()
	p := w.projector
	if !w.leading {
		leads, err := p.lead(ctx)
		w.leading = err == nil && leads && p.begin(ctx) == nil
		return
	}
	entries := w.world.journal.entries[p.lowest().Seq:]
	var err error
	switch {
	case len(entries) > 0 && events > 0:
		err = p.project(ctx, entries[:min(events, len(entries))])
	case p.anyRebuilding():
		err = p.promote(ctx)
	default:
		err = p.check(ctx)
	}
	w.leading = err == nil
}
