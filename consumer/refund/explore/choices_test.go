package explore

import "refundworker/schemas"

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
	unnoticed // not done, and the caller takes it for done
	forgetful // Redis knows nothing
	cleanLost // Redis has forgotten what surely did nothing
	knowsEnd  // Redis knows the outcome
	knowsOther
	saysBusy
	saysNotReady
	effectFrom // + effect; of a claim + the place of the last attempt that Redis still knows to have done nothing
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
	for i := range w.sc.workers {
		if w.workers[i].node != nil {
			out = w.replies(i, out)
			if w.left.crashes > 0 {
				add(choice{kind: cCrash, worker: i})
			}
		}
	}
	if free := w.free(); free >= 0 {
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

// free is the first worker with nothing in hand; -1 when there is none.
func (w *world) free() int8 {
	for i := range w.sc.workers {
		if w.workers[i].node == nil {
			return i
		}
	}
	return -1
}

// starts lists what a free worker may take in hand.
func (w *world) starts(free int8, out []choice) []choice {
	for r := range w.sc.refunds {
		s := &w.refunds[r]
		for m := range s.msgs {
			msg := &s.msgs[m]
			early := m == schedule && w.left.early > 0
			if m == schedule && s.msgs[maxMsgs-1].there { // what has fired comes first
				continue
			}
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
		w.answers(s, w.workers[i].node.begun.content, add)
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
	case opRelease, opNote, opSchedule, opWake, opBury, opBuryStanding, opAck, opNak, opTerm:
		add(done)
		if w.left.failures > 0 {
			add(replyLost)
			add(notDone)
			switch o.kind {
			case opSchedule:
				add(onItsWay)
			case opAck, opNak, opTerm: // nobody waits for their answers
				add(unnoticed)
			}
		}
	default:
		add(done)
	}
	return out
}

// answers lists what Redis may say to a claim: all that it knows, less, or something wrong. Two things it never says: that a
// refund is settled which is not, and that an attempt did nothing which may have done something.
func (w *world) answers(s *refundState, content int8, add func(int8)) {
	told := s.told(content)
	add(told)
	if w.left.losses > 0 && s.n > 0 && told != forgetful {
		add(forgetful)
		if s.clean > 0 {
			add(cleanLost)
		}
		for at, f := range s.log[:s.n] {
			if f.named() == schemas.KindDispatched && f.seq < s.clean {
				add(effectFrom + int8(at))
			}
		}
	}
	if w.left.lies > 0 {
		for _, v := range [...]int8{done, knowsOther, saysBusy, saysNotReady, noReply} {
			if v != told {
				add(v)
			}
		}
	}
}

// told is what Redis says that knows all.
func (s *refundState) told(content int8) int8 {
	switch owner := s.owner(); {
	case owner < 0 && s.n > 0: // of an entry that no worker wrote it knows nothing
		return forgetful
	case owner >= 0 && owner != content:
		return knowsOther
	case s.outcome().kind != 0:
		return knowsEnd
	}
	return done
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
