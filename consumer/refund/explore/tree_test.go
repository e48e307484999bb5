package explore

import (
	"fmt"
	"iter"

	"refundworker/consumer/refund"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

type opKind uint8

const (
	opEnd opKind = iota
	opClaim
	opRelease
	opAppend
	opHead
	opChain
	opNote
	opLook
	opAwait
	opPrepare
	opRefund
	opLookup
	opStanding
	opSchedule
	opWake
	opBury
	opBuryStanding
	opAck
	opNak
	opTerm
	opEnded
	opPanic
)

// op is one call of a port.
type op struct {
	kind         opKind
	refund       int8
	fact         fact
	after, clean int16
	key, attempt int8
	until, lease second
	at           second
	round        int8
	replaces     int16
	keepCopy     bool
	words        string
}

// reply is what a port answers.
type reply struct {
	now              second
	err              int8 // 0 none, 1 no answer, 2 lost, 3 not done, 4 stale
	answer           refund.Answer
	token            int8
	head, clean, seq int16
	stale            bool
	fact             fact
	chain            int32
	result           result
	grant            int16
	verdict          ledger.Verdict
	carried          carried
}

// carried is a message that carries a refund.
type carried struct {
	seq          int16
	content      int8
	arrived, due second
}

// node is a place in the code: what it does next after a sequence of replies. The code is a function of its replies, so
// what it did once after them it always does; only new sequences are run.
type node struct {
	n      uint32
	parent *node
	reply  reply
	begun  begun
	token  int8 // under which the run appends
	op     op
	kids   map[reply]*node
	live   *live // only where no tree is kept
}

// live is a run that is held at a call.
type live struct {
	get    func() (op, bool)
	stop   func()
	answer reply
}

func (l *live) next(r reply) op {
	l.answer = r
	o, ok := l.get()
	if !ok {
		return op{}
	}
	return o
}

// begun is what a run was started with.
type begun struct {
	what      runKind
	refund    int8
	content   int8
	scheduled bool
	round     int8
	arrived   second
	now       second
	// of a notice or a ruling
	kind        schemas.Kind
	token, part int8
	notice      int8
}

type runKind uint8

const (
	aCommand runKind = iota
	aNotice
	aRuling
)

type tree struct {
	sc    *scenario
	roots map[begun]*node
	count uint32
	runs  int
	// once keeps no tree: each run is held where it is, for schedules that are taken once.
	once bool
}

func (t *tree) start(b begun) *node {
	if t.once {
		t.runs++
		l := &live{}
		l.get, l.stop = iter.Pull(func(yield func(op) bool) { t.play(b, yield, &l.answer) })
		return &node{begun: b, token: b.token, live: l, op: l.next(reply{now: b.now})}
	}
	if n := t.roots[b]; n != nil {
		return n
	}
	n := t.run(&node{begun: b, reply: reply{now: b.now}, token: b.token})
	t.roots[b] = n
	return n
}

func (t *tree) next(n *node, r reply) *node {
	if l := n.live; l != nil {
		k := &node{begun: n.begun, live: l, op: l.next(r), token: n.token}
		if n.op.kind == opClaim {
			k.token = r.token
		}
		return k
	}
	if k := n.kids[r]; k != nil {
		return k
	}
	k := t.run(&node{parent: n, reply: r, begun: n.begun, token: n.token})
	if n.op.kind == opClaim {
		k.token = r.token
	}
	if n.kids == nil {
		n.kids = map[reply]*node{}
	}
	n.kids[r] = k
	return k
}

// run runs a new sequence of replies once.
func (t *tree) run(n *node) *node {
	t.runs++
	t.count++
	n.n = t.count
	var path []*node
	for k := n; k != nil; k = k.parent {
		path = append(path, k)
	}
	var answer reply
	get, stop := iter.Pull(func(yield func(op) bool) { t.play(n.begun, yield, &answer) })
	for i := len(path) - 1; i >= 0; i-- {
		answer = path[i].reply
		o, ok := get()
		if !ok {
			o = op{}
		}
		if i > 0 && path[i].op != o {
			panic(fmt.Sprintf("not deterministic: after the same replies %+v, and before %+v", o, path[i].op))
		}
		n.op = o
	}
	stop()
	return n
}

// play is one run of the code that ships.
func (t *tree) play(b begun, yield func(op) bool, answer *reply) {
	dead := false
	w := &wire{sc: t.sc, refund: b.refund, now: b.now}
	w.send = func(o op) (reply, bool) {
		if dead || !yield(o) {
			dead = true
			return reply{}, false
		}
		return *answer, true
	}
	defer func() {
		r := recover()
		if _, isCut := r.(cut); r != nil && !isCut && !dead {
			yield(op{kind: opPanic, words: fmt.Sprint(r)})
		}
	}()
	p := &refund.Protocol{Rules: t.sc.rules, Ports: refund.Ports{Claims: w, Log: w, Payments: w, Provider: w, Carrier: w, Clock: w}}
	switch b.what {
	case aCommand:
		e := p.Work(refund.Delivery{Command: commandOf(b.refund, b.content), Fingerprint: fingerprintOf(b.refund, b.content),
			Scheduled: b.scheduled, Round: int(b.round), Arrived: b.arrived.time(), BodyHash: [32]byte{1, byte(b.content)}, Spread: 0.5})
		w.ended(e)
	case aNotice:
		w.ended(p.Settle(b.noticed()))
	case aRuling:
		_ = p.Rule(refund.Ruling{RequestID: idOf(b.refund), As: b.kind, Token: ownerName(b.token),
			By: schemas.Operator{Operator: "ann", Note: "looked"}})
	}
}

// ended says what a run takes for stored.
func (w *wire) ended(e refund.Ending) {
	o := op{kind: opEnded}
	if e.Stored && e.Decision.Kind != schemas.KindRejected {
		o.words = string(e.Decision.Kind)
		w.call(o)
	}
}

func (b begun) noticed() refund.Noticed {
	n := schemas.Notice{NoticeID: fmt.Sprintf("n%d", b.notice), Provider: "bank", RefundRequestID: idOf(b.refund),
		Type: schemas.NoticeResultType, Result: &schemas.NoticeResult{Kind: b.kind}}
	switch b.kind {
	case schemas.KindFailed:
		n.Result.Reason = schemas.ReasonDeclined
	case schemas.KindReversed:
		n.Type, n.Result, n.Reversal = schemas.NoticeReversalType, nil, &schemas.NoticeReversal{Amount: money(int(b.part))}
	}
	return refund.Noticed{Notice: n, Token: ownerName(b.token), Since: b.arrived.time()}
}
