package explore

import (
	"slices"

	"refundworker/consumer/refund"
	"refundworker/schemas"
)

// take has one thing happen.
func (w *world) take(c choice) {
	switch c.kind {
	case cStart:
		w.left.starts--
		w.begin(c)
	case cNotice:
		w.left.notices--
		b := begun{what: aNotice, refund: c.refund, kind: schemas.KindSucceeded, notice: c.message, arrived: w.now,
			now: w.now + w.sc.skew[c.worker]}
		switch {
		case c.variant == 1:
			b.kind, b.part = schemas.KindReversed, w.sc.reversals[c.message]
		case w.moves[c.message].fails:
			b.kind = schemas.KindFailed
		}
		w.tokens++
		b.token = w.tokens
		w.workers[c.worker] = worker{node: w.sc.tree.start(b), message: -1}
	case cRuling:
		w.left.rulings--
		w.tokens++
		w.workers[c.worker] = worker{message: -1, node: w.sc.tree.start(begun{what: aRuling, refund: c.refund,
			kind: schemas.KindResumed, token: w.tokens, now: w.now + w.sc.skew[c.worker]})}
	case cStep:
		w.step(c.worker, c.variant)
	case cCrash:
		w.left.crashes--
		w.drop(c.worker, w.now)
		w.workers[c.worker].end()
	case cTick:
		w.left.ticks--
		w.now, _ = w.instant()
	case cLand:
		l := w.inflight[c.message]
		w.inflight = slices.Delete(slices.Clone(w.inflight), int(c.message), int(c.message)+1)
		if l.message.there {
			w.refunds[l.fact.refund].carryOn(w, l.message, l.after, l.keepCopy)
			break
		}
		w.append(l.fact, l.after)
	case cRedeliver:
		w.left.redeliveries--
		w.refunds[c.refund].msgs[c.message].ready = true
	case cRival:
		w.left.rivals--
		w.refunds[c.refund].other = true
		w.refunds[c.refund].msgs[rival] = message{there: true, ready: true, content: 1, due: w.now, arrived: w.now}
	case cForeign:
		w.left.foreign--
		w.append(fact{refund: c.refund, at: w.now}, w.refunds[c.refund].head())
	}
}

// begin has a worker take a message.
func (w *world) begin(c choice) {
	s := &w.refunds[c.refund]
	at, m := c.message, s.msgs[c.message]
	if at == schedule { // it fires: what was scheduled is a message now
		if m.due > w.now {
			w.left.early--
		}
		s.msgs[schedule] = message{}
		for at = fired; s.msgs[at].there; at++ {
		}
		m.scheduled = true
	}
	m.ready = false
	m.holders |= 1 << c.worker
	s.msgs[at] = m
	w.workers[c.worker] = worker{w.sc.tree.start(begun{what: aCommand, refund: c.refund, content: m.content,
		scheduled: m.scheduled, round: m.round, arrived: m.arrived, now: w.now + w.sc.skew[c.worker]}), at, m.seq, 0}
}

// drop lets go of the message that a worker has in hand: it comes again.
func (w *world) drop(i int8, due second) {
	at := w.workers[i].message
	if n := w.workers[i].node; n != nil && at >= 0 {
		m := &w.refunds[n.begun.refund].msgs[at]
		if m.seq != w.workers[i].seq {
			return
		}
		m.holders &^= 1 << i
		if m.there && m.holders == 0 {
			m.ready, m.due = true, due
		}
	}
}

// end frees a worker.
func (k *worker) end() {
	if k.node != nil && k.node.live != nil {
		k.node.live.stop()
	}
	*k = worker{}
}

// step answers the call that a worker stands at, and runs on to the next.
func (w *world) step(i, variant int8) {
	k := &w.workers[i]
	o := k.node.op
	o.until, o.lease, o.at = o.until-w.sc.skew[i], o.lease-w.sc.skew[i], o.at-w.sc.skew[i] // what the worker counts, it counts by its own clock
	s := &w.refunds[o.refund]
	var r reply
	switch o.kind {
	case opClaim:
		r = w.claim(s, k.node.begun.content, variant)
	case opAppend:
		r = w.appended(o, variant)
	case opRefund:
		r.result = w.bank(o, effect(variant-effectFrom))
		if r.result == paid {
			k.heard = w.now
		}
	case opHead, opChain, opLookup, opAwait, opLook, opPrepare, opStanding:
		if variant == noReply {
			w.left.lost--
			r.err = 1
			break
		}
		r = w.read(o, s)
		if r.carried.seq != 0 {
			r.carried.due += w.sc.skew[i]
		}
	case opRelease, opNote, opSchedule, opWake, opBury, opBuryStanding, opAck, opNak, opTerm:
		r.err = w.write(i, o, s, variant)
	case opEnded:
		if o.words != "" && !s.has(schemas.Kind(o.words), k.node.token) {
			w.bad = "taken for stored, and is not: " + o.words
		}
	case opPanic:
		w.bad = "the protocol panicked: " + o.words
	}
	r.now = w.now + w.sc.skew[i]
	next := w.sc.tree.next(k.node, r)
	if next.op.kind == opEnd {
		w.drop(i, w.now)
		if k.heard > 0 && s.outcome().kind == 0 && w.now < k.heard+grace {
			w.bad = "a call said that money moved, and its run dropped that"
		}
		k.node = next
		k.end()
		return
	}
	k.node = next
}

// has reports whether an event of a kind and an owner is in the journal.
func (s *refundState) has(k schemas.Kind, owner int8) bool {
	for _, f := range s.log[:s.n] {
		if f.named() == k && f.owner == owner {
			return true
		}
	}
	return false
}

func (w *world) claim(s *refundState, content, variant int8) reply {
	w.tokens++
	r := reply{answer: refund.Taken, token: w.tokens, head: min(s.head(), 1), clean: s.clean}
	switch {
	case variant == s.told(content):
	case variant == forgetful, variant == cleanLost, variant >= effectFrom:
		w.left.losses--
	default:
		w.left.lies--
	}
	switch variant {
	case done:
	case knowsEnd:
		r.answer = refund.Settled
	case knowsOther:
		r.answer, r.head = refund.Conflict, 0
		if variant == s.told(content) { // nothing is done under it
			r.clean = 0
		}
	case saysBusy:
		r.answer, r.head, r.clean = refund.Busy, 0, 0
	case saysNotReady:
		r.answer, r.head, r.clean = refund.NotReady, 0, 0
	case noReply:
		r.answer, r.head, r.clean, r.err = refund.NotReady, 0, 0, 1
	case forgetful:
		r.head, r.clean = 0, 0
	case cleanLost:
		r.clean = 0
	default:
		r.clean = s.log[variant-effectFrom].seq
	}
	return r
}

func (w *world) appended(o op, variant int8) reply {
	var r reply
	switch variant {
	case replyLost:
		w.left.lost--
		w.append(o.fact, o.after)
		r.err = 2
	case notDone:
		w.left.lost--
		r.err = 3
	case onItsWay:
		w.left.late--
		w.inflight = append(slices.Clip(w.inflight), late{fact: o.fact, after: o.after})
		r.err = 2
	default:
		seq, ok := w.append(o.fact, o.after)
		r.seq, r.stale = seq, !ok
	}
	return r
}

func (w *world) read(o op, s *refundState) reply {
	var r reply
	switch o.kind {
	case opHead:
		if s.n > 0 {
			r.fact = s.log[s.n-1]
		}
	case opChain:
		r.chain = w.sc.chains.of(s)
	case opLookup:
		r.result = w.lookup(o.refund)
	case opPrepare:
		r.result = notFound
		if w.lookup(o.refund) == paid {
			r.result = refunded
		}
	case opAwait, opLook:
		since, verdict := w.grant(o.refund)
		r.grant, r.verdict = int16(since), verdict
	case opStanding:
		if m := s.msgs[schedule]; m.there {
			r.carried = carried{seq: m.seq, content: m.content, arrived: m.arrived, due: m.due}
		}
	}
	return r
}

// write does, unless it fails, what a run does beside appending to a chain; it returns the number of an error.
func (w *world) write(i int8, o op, s *refundState, variant int8) int8 {
	if variant != done {
		w.left.failures--
	}
	switch variant {
	case notDone:
		return 1
	case unnoticed:
		return 0
	case replyLost:
		w.carry(i, o, s)
		return 1
	case onItsWay:
		if b := w.workers[i].node.begun; b.what == aCommand {
			w.inflight = append(slices.Clip(w.inflight), late{fact{refund: o.refund}, o.replaces, b.carriedOn(o), o.keepCopy})
		}
		return 1
	}
	return w.carry(i, o, s)
}

// own is the message that a worker has in hand; nil when another one has ended it.
func (w *world) own(i int8) *message {
	k := &w.workers[i]
	if k.message < 0 || w.refunds[k.node.begun.refund].msgs[k.message].seq != k.seq {
		return nil
	}
	return &w.refunds[k.node.begun.refund].msgs[k.message]
}

// carriedOn is the message that carries on what a run has in hand.
func (b begun) carriedOn(o op) message {
	return message{there: true, ready: true, scheduled: true, content: b.content, round: o.round, due: o.at, arrived: b.arrived}
}

// carryOn stores a schedule in place of the one that stands; it reports false when another one does.
func (s *refundState) carryOn(w *world, m message, replaces int16, keepCopy bool) bool {
	standing := &s.msgs[schedule]
	if standing.there != (replaces != 0) || standing.there && standing.seq != replaces {
		return false
	}
	if keepCopy {
		m.content, m.arrived = standing.content, standing.arrived
	}
	w.stored++
	m.seq = w.stored
	*standing = m
	return true
}

// carry does what a run does beside appending to a chain; it returns the number of an error.
func (w *world) carry(i int8, o op, s *refundState) int8 {
	own, b, standing := w.own(i), w.workers[i].node.begun, &s.msgs[schedule]
	switch o.kind {
	case opRelease:
		s.clean = max(s.clean, o.clean)
	case opNote:
		if o.fact.named() == schemas.KindRejected {
			s.rejected[o.fact.content] = true
		}
	case opSchedule:
		if b.what != aCommand { // a notice's own schedule: nothing depends on it
			return 0
		}
		if own != nil && own.sent&(1<<o.replaces) != 0 { // a repeat, which is answered and not stored
			return 0
		}
		if !s.carryOn(w, b.carriedOn(o), o.replaces, o.keepCopy) {
			return 4
		}
		if own != nil {
			own.sent |= 1 << o.replaces
		}
	case opWake: // another message takes the place of what stands, unless that fires in a moment
		if standing.there && (standing.due <= w.now || standing.due >= w.now+soon) {
			w.stored++
			standing.seq, standing.due = w.stored, min(standing.due, w.now)
		}
	case opBuryStanding:
		s.buried[o.fact.content] = true
	case opBury:
		if o.words == string(schemas.ReasonContradiction) {
			w.bad = "a run contradicts the outcome"
		}
		if b.what == aCommand {
			s.buried[b.content] = true
		}
	case opAck, opTerm:
		if own != nil {
			*own = message{}
		}
	case opNak:
		if own != nil && own.there {
			own.holders &^= 1 << i
			own.ready, own.due = true, o.at
			w.workers[i].message = -1
		}
	}
	return 0
}
