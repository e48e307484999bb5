package explore

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"refundworker/consumer/refund"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	maxWorkers = 3
	maxRefunds = 2
	maxLog     = 16
	maxMsgs    = 7
)

// budget is how much of everything may still happen.
type budget struct {
	starts, ticks, crashes, lost, late, losses, notices, rulings, redeliveries, early, rivals, foreign, lies, failures int8
}

// message carries a refund: the command itself, its schedule, or what the schedule fired.
type message struct {
	there, ready, scheduled bool
	holders                 uint8 // the workers that have it in hand
	content, round          int8
	seq                     int16
	due, arrived            second
	sent                    uint64 // what its schedules replaced, a bit for each: one that is sent again is stored once
}

// Places of a refund's messages.
const (
	published = iota
	rival
	schedule
	fired // the first of several
)

// late is an append that is on its way, or a schedule.
type late struct {
	fact     fact
	after    int16
	message  message
	keepCopy bool
}

// refundState is all that the world has of one refund.
type refundState struct {
	n     int8 // how many of log there are
	log   [maxLog]fact
	clean int16
	msgs  [maxMsgs]message
	// by content
	rejected, buried [2]bool
	other            bool // another content was published
}

type worker struct {
	node    *node
	message int8 // where its message is, and which it is
	seq     int16
	heard   second // when a call said that money moved; 0 when none did
}

// world is a value: it is copied whole.
type world struct {
	sc       *scenario
	now      second
	seq      int16 // of the journal
	stored   int16 // of the stream of schedules
	tokens   int8
	refunds  [maxRefunds]refundState
	moves    []move
	inflight []late
	workers  [maxWorkers]worker
	left     budget
	bad      string
}

// scenario is a provider, and what may happen.
type scenario struct {
	name    string
	workers int8
	refunds int8
	rules   refund.Rules
	effects []effect
	// keyed: the provider honours the key. blind: a lookup does not show what it took on. guard: the refunds share a
	// payment that was captured for captured units.
	keyed, blind, guard bool
	// skew is how far each worker's clock is ahead of the world's.
	skew [maxWorkers]second
	// reversals are notices of so many units each that may come, again and again, once the refund has succeeded.
	reversals []int8
	// before is what the journal holds at the start, and movesBefore what the provider has done.
	before      []fact
	movesBefore []move
	captured    int
	budget      budget
	tree        *tree
	chains      *chains
}

// chains are the chains that runs have read, each once.
type chains struct {
	byText  map[[maxLog]fact]int32
	entries [][]ledger.Entry
}

func newChains() *chains {
	return &chains{byText: map[[maxLog]fact]int32{{}: 0}, entries: [][]ledger.Entry{nil}}
}

func (c *chains) of(s *refundState) int32 {
	if id, ok := c.byText[s.log]; ok {
		return id
	}
	var entries []ledger.Entry
	for _, f := range s.log[:s.n] {
		entries = append(entries, f.entry())
	}
	c.entries = append(c.entries, entries)
	c.byText[s.log] = int32(len(c.entries) - 1)
	return c.byText[s.log]
}

func newWorld(sc *scenario) world {
	if sc.tree == nil {
		sc.tree, sc.chains = &tree{sc: sc, roots: map[begun]*node{}}, newChains()
	}
	w := world{sc: sc, left: sc.budget, now: 1, moves: sc.movesBefore, tokens: 10}
	for i := range sc.refunds {
		w.refunds[i].msgs[published] = message{there: true, ready: true, arrived: 1, due: 1}
	}
	for _, f := range sc.before {
		w.append(f, w.refunds[f.refund].head())
	}
	return w
}

// head is the sequence of a refund's last entry.
func (s *refundState) head() int16 {
	if s.n == 0 {
		return 0
	}
	return s.log[s.n-1].seq
}

// owner is the content that the refund's first event names; -1 while there is none.
func (s *refundState) owner() int8 {
	for _, f := range s.log[:s.n] {
		if f.kind != 0 {
			return f.content
		}
	}
	return -1
}

func (s *refundState) outcome() fact {
	for _, f := range s.log[:s.n] {
		if f.named().Outcome() {
			return f
		}
	}
	return fact{}
}

// append is the journal.
func (w *world) append(f fact, after int16) (int16, bool) {
	s := &w.refunds[f.refund]
	if s.head() != after || s.n == maxLog {
		return 0, false
	}
	w.seq++
	f.seq = w.seq
	s.log[s.n] = f
	s.n++
	return f.seq, true
}

// check judges a state.
func (w *world) check() error {
	if w.bad != "" {
		return fmt.Errorf("%s", w.bad)
	}
	back := 0
	for i := range w.sc.refunds {
		s, moved := &w.refunds[i], w.moved(i)
		outcomes := 0
		for _, f := range s.log[:s.n] {
			if f.named().Outcome() {
				outcomes++
			}
		}
		outcome := s.outcome()
		if err := s.cameBack(); err != nil {
			return err
		}
		switch {
		case moved > 1:
			return fmt.Errorf("money moved %d times for r%d", moved, i)
		case outcomes > 1:
			return fmt.Errorf("r%d has %d outcomes", i, outcomes)
		case outcome.named() == schemas.KindFailed && moved > 0:
			return fmt.Errorf("r%d is journalled as failed, and its money moved or will", i)
		case outcome.moves() && moved == 0:
			return fmt.Errorf("r%d is journalled as %s, and no money moved", i, outcome.named())
		}
		if err := s.kept(); err != nil {
			return fmt.Errorf("r%d: %w", i, err)
		}
		back += moved * share
	}
	if w.sc.guard && back > max(w.sc.captured, share*len(w.sc.movesBefore)) {
		return fmt.Errorf("%d of %d are given back", back, w.sc.captured)
	}
	return nil
}

// cameBack judges the reversals: each once, and no more than the refund.
func (s *refundState) cameBack() error {
	total, seen := int8(0), [8]bool{}
	for _, f := range s.log[:s.n] {
		if f.named() != schemas.KindReversed {
			continue
		}
		if seen[f.notice] {
			return fmt.Errorf("reversal n%d is journalled twice", f.notice)
		}
		seen[f.notice] = true
		if total += f.part; total > share {
			return fmt.Errorf("%d units came back of a refund of %d", total, share)
		}
	}
	return nil
}

// kept judges whether each content that was published is answered, or carried by a message: the one that owns the
// requestId by an outcome, another one by a rejection and a dead letter.
func (s *refundState) kept() error {
	owner := s.owner()
	for content := range s.contents() {
		switch {
		case s.rejected[content] && (content == owner || owner < 0):
			return fmt.Errorf("content %d is rejected, and no other has the requestId", content)
		case s.carries(content), content == owner && s.outcome().kind != 0, s.rejected[content] && s.buried[content]:
		case s.rejected[content]:
			return fmt.Errorf("content %d is rejected, and no dead letter keeps it", content)
		default:
			return fmt.Errorf("content %d is forgotten: it is open, and no message carries it", content)
		}
	}
	return nil
}

// contents is how many contents were published under the requestId.
func (s *refundState) contents() int8 {
	if s.other {
		return 2
	}
	return 1
}

func (s *refundState) carries(content int8) bool {
	for _, m := range s.msgs {
		if m.there && m.content == content {
			return true
		}
	}
	return false
}

// grant is what the journal's order gives a refund, and the verdict about it now: by the fold that ships.
func (w *world) grant(refund int8) (uint64, ledger.Verdict) {
	captured := money(w.sc.captured)
	var payment ledger.Payment
	var intents [maxRefunds]ledger.Record
	for seq := int16(1); seq <= w.seq; seq++ {
		for r := range w.sc.refunds {
			i := slices.IndexFunc(w.refunds[r].log[:w.refunds[r].n], func(f fact) bool { return f.seq == seq })
			if i < 0 || w.refunds[r].log[i].kind == 0 {
				continue
			}
			e := w.refunds[r].log[i].entry()
			e.Event.Payment = &schemas.Payment{Reference: e.Event.Payment.Reference, Amount: &captured}
			if ledger.Touches(e) {
				payment, _ = payment.Apply(e, intents[r], retain, func() bool { return true })
			}
			if e.Event.Kind == schemas.KindDispatched {
				intents[r].Intent = e.Seq
			}
		}
	}
	since := uint64(0)
	for _, h := range payment.Holds {
		if h.ID == idOf(refund) {
			since = h.Since
		}
	}
	return since, payment.Judge(ledger.Asked{ID: idOf(refund), Amount: money(share), Captured: &captured})
}

// retain is how long a payment remembers.
const retain = 90 * 24 * time.Hour

// encode is the state, canonical but for the names of tokens.
func (w *world) encode(b []byte) []byte {
	small := func(vs ...int8) {
		for _, v := range vs {
			b = append(b, byte(v))
		}
	}
	flag := func(vs ...bool) {
		n := byte(0)
		for i, v := range vs {
			if v {
				n |= 1 << i
			}
		}
		b = append(b, n)
	}
	wide := func(vs ...second) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
	}
	event := func(f fact) {
		small(f.refund, f.kind, f.attempt, f.owner, f.key, f.n, f.content, f.found, f.hold, f.notice, f.part, f.total, f.reason)
		wide(second(f.seq), second(f.undone), f.lease, f.due, f.at)
	}
	carrier := func(m message) {
		flag(m.there, m.ready, m.scheduled)
		if m.there {
			small(int8(bits.OnesCount8(m.holders)), m.content, m.round)
			wide(m.due, m.arrived, second(m.seq))
			b = binary.LittleEndian.AppendUint64(b, m.sent)
		}
	}
	wide(w.now)
	small(w.tokens, int8(len(w.moves)), int8(len(w.inflight)))
	for i := range w.sc.refunds {
		s := &w.refunds[i]
		small(s.n)
		for _, f := range s.log[:s.n] {
			event(f)
		}
		wide(second(s.clean))
		flag(s.rejected[0], s.rejected[1], s.buried[0], s.buried[1], s.other)
		for _, m := range s.msgs {
			carrier(m)
		}
	}
	for _, m := range w.moves {
		small(m.refund, m.key, m.attempt)
		flag(m.taken, m.fails, m.no)
		wide(m.at, m.shown)
	}
	for _, l := range w.inflight {
		event(l.fact)
		wide(second(l.after))
		carrier(l.message)
		flag(l.keepCopy)
	}
	var places [maxWorkers]uint64 // workers whose clocks agree are alike
	for i := range w.sc.workers {
		if n := w.workers[i].node; n != nil {
			places[i] = uint64(n.n)<<32 | uint64(w.workers[i].message+1)<<28 | uint64(w.workers[i].heard)
			if w.own(i) != nil {
				places[i] |= 1 << 27
			}
		}
		for j := i; j > 0 && places[j] < places[j-1] && w.sc.skew == [maxWorkers]second{}; j-- {
			places[j], places[j-1] = places[j-1], places[j]
		}
	}
	for _, p := range places[:w.sc.workers] {
		b = binary.LittleEndian.AppendUint64(b, p)
	}
	l := w.left
	small(l.starts, l.ticks, l.crashes, l.lost, l.late, l.losses, l.notices, l.rulings, l.redeliveries, l.early, l.rivals, l.foreign, l.lies,
		l.failures)
	return b
}
