package explore

import (
	"slices"

	"refundworker/consumer/refund"
	"refundworker/schemas"
)

type choiceKind int8

const (
	cStart choiceKind = iota // a worker takes a message
	cNotice
	cRuling
	cStep
	cCrash
	cTick
	cLand // a late append arrives
	cRedeliver
	cRival   // another content is published under the requestId
	cForeign // somebody else writes under the refund's subject
)

// Ways in which a port answers, beside the effects of a provider.
const (
	done int8 = iota
	replyLost
	notDone
	onItsWay
	noReply
	forgetful  // Redis knows nothing
	cleanLost  // Redis has forgotten what surely did nothing
	knowsEnd   // Redis knows the outcome
	effectFrom // + effect
)

// choice is one thing that may happen now.
type choice struct {
	kind             choiceKind
	worker, refund   int8
	message, variant int8
}

// choices lists all that may happen now.
func (w *world) choices(out []choice) []choice {
	add := func(c choice) { out = append(out, c) }
	free := int8(-1)
	for i := w.sc.workers - 1; i >= 0; i-- {
		if w.workers[i].node == nil {
			free = i
		}
	}
	for i := range w.sc.workers {
		if w.workers[i].node != nil {
			out = w.replies(i, out)
			if w.left.crashes > 0 {
				add(choice{kind: cCrash, worker: i})
			}
		}
	}
	if free >= 0 {
		out = w.starts(free, out)
	}
	for i := range w.inflight {
		add(choice{kind: cLand, message: int8(i)})
	}
	for r := range w.sc.refunds {
		s := &w.refunds[r]
		if w.left.redeliveries > 0 {
			for m := range s.msgs {
				if s.msgs[m].there && !s.msgs[m].ready {
					add(choice{kind: cRedeliver, refund: r, message: int8(m)})
				}
			}
		}
		if w.left.rivals > 0 && !s.msgs[rival].there {
			add(choice{kind: cRival, refund: r})
		}
		if w.left.foreign > 0 {
			add(choice{kind: cForeign, refund: r})
		}
	}
	if w.left.ticks > 0 {
		if _, ok := w.instant(); ok {
			add(choice{kind: cTick})
		}
	}
	return out
}

// starts lists what a free worker may take in hand.
func (w *world) starts(free int8, out []choice) []choice {
	for r := range w.sc.refunds {
		s := &w.refunds[r]
		for m := range s.msgs {
			msg := &s.msgs[m]
			early := m == schedule && w.left.early > 0
			if w.left.starts > 0 && msg.there && msg.ready && (msg.due <= w.now || early) {
				out = append(out, choice{kind: cStart, worker: free, refund: r, message: int8(m)})
			}
		}
		if w.left.rulings > 0 && s.parked() && !w.known(r) {
			out = append(out, choice{kind: cRuling, worker: free, refund: r})
		}
	}
	if w.left.notices > 0 {
		for i, m := range w.moves {
			if m.at <= w.now {
				out = append(out, choice{kind: cNotice, worker: free, refund: m.refund, message: int8(i)})
			}
		}
		for i := range w.sc.reversals {
			out = append(out, choice{kind: cNotice, worker: free, message: int8(i), variant: 1})
		}
	}
	return out
}

// parked reports whether the refund waits for a person.
func (s *refundState) parked() bool {
	return s.n > 0 && s.log[s.n-1].named() == schemas.KindParked
}

// known reports whether a person who asks the provider hears of the refund: it was made, or taken on. Of a call that is
// still on its way nobody hears.
func (w *world) known(r int8) bool {
	for _, m := range w.moves {
		if m.refund == r && !m.no && (m.at <= w.now && !m.fails || m.taken && m.at > w.now) {
			return true
		}
	}
	return false
}

// replies lists how the port that a worker stands at may answer.
func (w *world) replies(i int8, out []choice) []choice {
	o := w.workers[i].node.op
	s := &w.refunds[o.refund]
	add := func(v int8) { out = append(out, choice{kind: cStep, worker: i, variant: v}) }
	switch o.kind {
	case opClaim:
		if s.outcome().kind != 0 {
			add(knowsEnd)
		} else {
			add(done)
		}
		if w.left.losses > 0 && s.n > 0 {
			add(forgetful)
			if s.clean > 0 {
				add(cleanLost)
			}
		}
	case opRefund:
		if w.now >= o.until-w.sc.skew[i] {
			add(effectFrom + int8(doesNothing))
			break
		}
		for _, e := range w.sc.effects {
			add(effectFrom + int8(e))
		}
	case opAppend:
		add(done)
		if w.left.lost > 0 {
			add(replyLost)
			add(notDone)
		}
		if w.left.late > 0 {
			add(onItsWay)
		}
	case opHead, opChain, opLookup, opAwait, opLook, opPrepare, opStanding:
		add(done)
		if w.left.lost > 0 {
			add(noReply)
		}
	default:
		add(done)
	}
	return out
}

// instant is the next moment at which something may be judged otherwise.
func (w *world) instant() (second, bool) {
	const never = 1 << 30
	next := second(never)
	see := func(ts ...second) {
		for _, t := range ts {
			for _, ahead := range w.sc.skew { // whoever's clock judges it
				if t-ahead > w.now {
					next = min(next, t-ahead)
				}
			}
		}
	}
	for r := range w.sc.refunds {
		s := &w.refunds[r]
		for _, f := range s.log[:s.n] {
			switch f.named() {
			case schemas.KindDispatched:
				see(f.lease, f.lease+arrived)
				if w.sc.rules.Capabilities.Lookup {
					see(f.lease + arrived + lookDelay)
				}
				if w.sc.keyed {
					see(f.at+keyLife-timeout-margin-10, f.at+keyLife)
				}
			case schemas.KindDeferred:
				see(f.due)
			}
		}
		for _, m := range s.msgs {
			if m.there && m.ready {
				see(m.due)
			}
		}
	}
	for _, m := range w.moves {
		see(m.at, m.shown)
	}
	for i := range w.workers {
		if n := w.workers[i].node; n != nil {
			see(n.begun.now+margin-2, n.begun.now+timeout+margin)
			if n.op.kind == opRefund {
				see(n.op.until-1, n.op.until)
			}
		}
	}
	return next, next < never
}

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
		w.append(l.fact, l.after)
	case cRedeliver:
		w.left.redeliveries--
		w.refunds[c.refund].msgs[c.message].ready = true
	case cRival:
		w.left.rivals--
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
		r = w.claim(s, variant)
	case opRelease:
		s.clean = max(s.clean, o.clean)
	case opAppend:
		r = w.appended(o, variant)
	case opRefund:
		r.result = w.bank(o, effect(variant-effectFrom))
		if r.result == paid {
			k.heard = w.now
		}
	case opNote:
		if o.fact.named() == schemas.KindRejected {
			s.rejected[o.fact.content] = true
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
	case opSchedule, opWake, opBury, opBuryStanding, opAck, opNak, opTerm:
		r.err = w.carry(i, o, s)
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

func (w *world) claim(s *refundState, variant int8) reply {
	w.tokens++
	r := reply{answer: refund.Taken, token: w.tokens, head: min(s.head(), 1), clean: s.clean}
	switch variant {
	case knowsEnd:
		r.answer = refund.Settled
	case forgetful:
		w.left.losses--
		r.head, r.clean = 0, 0
	case cleanLost:
		w.left.losses--
		r.clean = 0
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
		w.inflight = append(slices.Clip(w.inflight), late{o.fact, o.after})
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
		r.grant, r.verdict = w.grant(o.refund, o.after)
	case opStanding:
		if m := s.msgs[schedule]; m.there {
			r.carried = carried{seq: m.seq, content: m.content, arrived: m.arrived, due: m.due}
		}
	}
	return r
}

// carry does what a run does with messages; it returns the number of an error.
func (w *world) carry(i int8, o op, s *refundState) int8 {
	var own *message
	if at := w.workers[i].message; at >= 0 && s.msgs[at].seq == w.workers[i].seq {
		own = &s.msgs[at]
	}
	standing := &s.msgs[schedule]
	switch o.kind {
	case opSchedule:
		if w.workers[i].node.begun.what != aCommand { // a notice's own schedule: nothing depends on it
			return 0
		}
		if standing.there && standing.seq != o.replaces || !standing.there && o.replaces != 0 {
			return 4
		}
		w.stored++
		m := message{there: true, ready: true, scheduled: true, content: w.workers[i].node.begun.content, round: o.round,
			due: o.at, arrived: w.workers[i].node.begun.arrived, seq: w.stored}
		if o.keepCopy {
			m.content, m.arrived = standing.content, standing.arrived
		}
		*standing = m
	case opWake:
		if standing.there {
			standing.due = min(standing.due, w.now)
		}
	case opBuryStanding:
		if standing.there && standing.seq == o.replaces {
			return 0 // replaced next
		}
	case opBury:
		if o.words == string(schemas.ReasonContradiction) {
			w.bad = "a run contradicts the outcome"
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
