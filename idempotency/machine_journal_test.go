package idempotency

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// add journals an event. The worker that wrote it, if one did, knows of it.
func (m *claimMachine) add(t *rapid.T, e ledger.Entry) {
	e.ID = "event-" + strconv.Itoa(len(m.journal.entries))
	seq := m.journal.add(e)
	if w := rapid.IntRange(-1, len(m.workers)-1).Draw(t, "written by"); w >= 0 {
		m.workers[w].store.gate.Saw(seq)
		m.workers[w].gate.knows(seq, time.Now())
	}
}

// intend journals the intent of a claim, as its owner does, at any later time.
func (m *claimMachine) intend(t *rapid.T) {
	c := m.drawClaim(t)
	if !c.Held() {
		t.Skip("not held")
	}
	m.add(t, m.about(t, dispatched(c.Claim)))
}

// journalAny journals an event of any kind, legal or not, by the owner of any claim or by nobody. Those that leave a
// refund open come more often, for nothing much follows the others.
func (m *claimMachine) journalAny(t *rapid.T) {
	open := []schemas.Kind{schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked,
		schemas.KindResumed}
	kinds := slices.Concat(open, open, open, []schemas.Kind{schemas.KindSucceeded, schemas.KindCancelled,
		schemas.KindFailed, schemas.KindReversed, schemas.KindRejected})
	id := drawID(t)
	var by Claim
	if len(m.claims) > 0 && rapid.Bool().Draw(t, "owned") {
		by = m.drawClaim(t).Claim
	}
	e := event(id, rapid.SampledFrom(kinds).Draw(t, "kind"), attempt(1), number(1), owner(by))
	e.Event.Reversal = &schemas.Reversal{NoticeID: "n", Amount: *hkd(1), Total: *hkd(2)}
	m.add(t, m.about(t, e))
}

// lead takes the projector's lease, or finds it taken, and begins.
func (m *claimMachine) lead(t *rapid.T) { m.leadBy(t, m.worker(t)) }

func (m *claimMachine) leadBy(t *rapid.T, w *claimWorker) {
	w.spell, w.folded = nil, nil
	if !m.leads(t, w, func() (bool, error) { return w.projector.lead(context.Background()) }) {
		return
	}
	err := w.projector.begin(context.Background())
	w.spell = m.model.begin(w.gate.floor)
	if w.spell == nil && !errors.Is(err, errMoved) || w.spell != nil && err != nil {
		t.Fatalf("begin: %v, want it done: %t", err, w.spell != nil)
	}
}

// leads takes or renews the lease. Where time cannot be set it may have run out by itself.
func (m *claimMachine) leads(t *rapid.T, w *claimWorker, ask func() (bool, error)) bool {
	now := m.g.now(t)
	m.model.expire(now)
	got, err := ask()
	if err != nil && !errors.Is(err, errMoved) {
		t.Fatalf("lead: %v", err)
	}
	free := m.model.leader == "" || m.model.leader == w.projector.token
	if got != free && (m.g.settable || m.model.leaderUntil.After(now.Add(projectorLease/2))) {
		t.Fatalf("leads: %t, want %t", got, free)
	}
	if got {
		m.model.leader, m.model.leaderUntil = w.projector.token, now.Add(projectorLease)
	}
	return got
}

func (m *claimMachine) leading(t *rapid.T) *claimWorker {
	w := m.worker(t)
	if w.spell == nil {
		t.Skip("not leading")
	}
	return w
}

// unread is some of what is journalled behind where the projector stands; maybe none.
func (m *claimMachine) unread(t *rapid.T, w *claimWorker) []ledger.Entry {
	entries := m.journal.entries[w.spell.lowest():]
	if len(entries) == 0 {
		t.Skip("nothing to apply")
	}
	return entries[:rapid.IntRange(1, len(entries)).Draw(t, "events")]
}

// project applies some of what is journalled in one step.
func (m *claimMachine) project(t *rapid.T) {
	w := m.leading(t)
	m.apply(t, w, m.unread(t, w))
}

func (m *claimMachine) apply(t *rapid.T, w *claimWorker, entries []ledger.Entry) {
	stand := w.spell.allStand(m.model)
	w.spell.fold(m.model, entries, m.partition)
	err := w.projector.project(context.Background(), entries)
	if stand {
		m.wrote(t, w, err)
	} else {
		m.refused(t, w, err)
	}
}

// fold reads and folds; what is made of it is stored in a step of its own.
func (m *claimMachine) fold(t *rapid.T) { m.foldBy(t, m.leading(t)) }

func (m *claimMachine) foldBy(t *rapid.T, w *claimWorker) {
	entries := m.unread(t, w)
	b, err := w.projector.fold(context.Background(), entries)
	switch {
	case len(m.model.pos) > 1 && !w.spell.allStand(m.model):
		m.refused(t, w, err)
		return
	case err != nil:
		t.Fatalf("fold: %v", err)
	}
	last := entries[len(entries)-1]
	w.folded, w.to = b, position{Seq: last.Seq, ID: last.ID, Created: m.journal.created.UnixNano()}
	w.spell.fold(m.model, entries, m.partition)
}

func (m *claimMachine) write(t *rapid.T) {
	w := m.leading(t)
	if w.folded == nil {
		t.Skip("nothing folded")
	}
	m.writeBy(t, w)
}

func (m *claimMachine) writeBy(t *rapid.T, w *claimWorker) {
	left, err := w.folded.write(w.projector.where, w.to)
	w.projector.left = left
	m.wrote(t, w, err)
}

// overtake has a claim given back between reading and storing.
func (m *claimMachine) overtake(t *rapid.T) {
	w := m.leading(t)
	c := m.drawClaim(t)
	m.foldBy(t, w)
	m.giveBack(t, m.worker(t), c)
	if w.folded != nil {
		m.writeBy(t, w)
	}
}

// refused compares what becomes of a batch that was made of what is not all there any more: nothing is stored.
func (m *claimMachine) refused(t *rapid.T, w *claimWorker, err error) {
	if !errors.Is(err, errMoved) {
		t.Fatalf("fold: %v, want %v", err, errMoved)
	}
	w.spell, w.folded = nil, nil
}

// wrote compares what became of a batch; a projector that was refused looks again from the start.
func (m *claimMachine) wrote(t *rapid.T, w *claimWorker, err error) {
	m.model.expire(m.g.now(t))
	want := w.spell.write(m.model, modelRetain)
	if want && err != nil || !want && !errors.Is(err, errMoved) {
		t.Fatalf("write: %v, want stored: %t", err, want)
	}
	w.folded = nil
	if !want {
		w.spell = nil
	}
}

func (m *claimMachine) promote(t *rapid.T) { m.promoteBy(t, m.leading(t)) }

func (m *claimMachine) promoteBy(t *rapid.T, w *claimWorker) {
	empty := m.last() == 0
	if !w.projector.anyRebuilding() {
		return
	}
	w.folded = nil
	err := w.projector.promote(context.Background())
	ok := true
	if empty { // the end of an empty stream is a position, too
		w.spell.folded = &modelBatch{}
		ok = w.spell.write(m.model, modelRetain)
	}
	if ok = ok && w.spell.promote(m.model, m.last()); ok != (err == nil) {
		t.Fatalf("promote: %v, want done: %t", err, ok)
	}
	if !ok {
		w.spell = nil
	}
}

// checkProjector is the projector's look of every second.
func (m *claimMachine) checkProjector(t *rapid.T) {
	w := m.leading(t)
	stands := true
	for p := range w.spell.left {
		held := m.model.pos[p]
		if w.spell.rebuilding[p] {
			held = m.model.rebuild[p]
		}
		stands = stands && equal(held, w.spell.left[p])
	}
	var err error
	leads := m.leads(t, w, func() (bool, error) {
		err = w.projector.check(context.Background())
		leader := m.g.rdb.Get(context.Background(), w.store.keys.leader()).Val()
		return leader == w.projector.token, err
	})
	if (err == nil) != (leads && stands) {
		t.Fatalf("check: %v, want leading: %t, positions as left: %t", err, leads, stands)
	}
	if err != nil {
		w.spell, w.folded = nil, nil
	}
}

func (m *claimMachine) resign(t *rapid.T) {
	w := m.leading(t)
	w.projector.resign()
	m.model.expire(m.g.now(t))
	if m.model.leader == w.projector.token {
		m.model.leader = ""
	}
	w.spell, w.folded = nil, nil
}

// catchUp applies everything, and has every worker look.
func (m *claimMachine) catchUp(t *rapid.T) {
	w := m.worker(t)
	for range 2 { // where partitions stand apart, the first time only tells
		if m.leadBy(t, w); w.spell != nil {
			break
		}
	}
	if w.spell == nil {
		return
	}
	if entries := m.journal.entries[w.spell.lowest():]; len(entries) > 0 {
		m.apply(t, w, entries)
	}
	if w.spell != nil {
		m.promoteBy(t, w)
	}
	for _, w := range m.workers {
		m.lookBy(t, w)
	}
}

// copy takes what Redis holds, to come back to it.
func (m *claimMachine) copy(t *rapid.T) {
	m.model.expire(m.g.now(t))
	m.copied = &redisCopy{content: m.g.keys(t, ""), model: m.model.copy()}
}

// goBack is a replica that took over without the last writes, or a restored copy. What was folded before is given up:
// the time between reading and storing is too short to lose Redis and to get it back.
func (m *claimMachine) goBack(t *rapid.T) {
	if m.copied == nil {
		t.Skip("no copy")
	}
	m.g.put(t, m.copied.content)
	m.model = m.copied.model.copy()
	m.model.expire(m.g.now(t))
	for _, w := range m.workers {
		w.folded = nil
	}
	m.seen(t)
}

// lose loses everything, all of one partition, or one position.
func (m *claimMachine) lose(t *rapid.T) {
	p := rapid.IntRange(0, len(m.model.pos)-1).Draw(t, "partition")
	store := m.workers[0].store
	switch rapid.SampledFrom([]string{"everything", "partition", "position"}).Draw(t, "lost") {
	case "everything":
		m.g.put(t, nil)
		m.model = newModelRedis(len(m.model.pos))
	case "partition":
		m.g.lose(t, store.keys.tag(p))
		m.model.pos[p], m.model.rebuild[p] = nil, nil
		for id := range m.model.records {
			if m.partition(id) == p {
				delete(m.model.records, id)
			}
		}
		if p == 0 {
			m.model.leader = ""
		}
	case "position":
		m.g.lose(t, store.keys.position(p))
		m.model.pos[p] = nil
	}
	m.seen(t)
}

// check compares all that Redis holds with the model, and the model with the journal.
func (m *claimMachine) check(t *rapid.T) {
	found := m.g.keys(t, "")
	m.model.expire(m.g.now(t))
	store := m.workers[0].store
	for p := range m.model.pos {
		m.checkPosition(t, found, store.keys.position(p), m.model.pos[p])
		m.checkPosition(t, found, store.keys.rebuild(p), m.model.rebuild[p])
	}
	m.checkPayments(t, found)
	m.checkOpen(t, found)
	for id, want := range m.model.records {
		key, p := store.keys.record(id)
		m.checkRecord(t, id, found[key], want)
		delete(found, key)
		if m.model.pos[p] != nil {
			m.checkFold(t, id, *m.model.pos[p], want)
		}
	}
	if leader := found[store.keys.leader()].text; m.g.settable && leader != m.model.leader {
		t.Fatalf("the projector is %q, want %q", leader, m.model.leader)
	}
	for key := range found {
		if !isText(key) {
			t.Fatalf("redis holds %s, which nobody knows: %v", key, found[key])
		}
	}
}

func (m *claimMachine) checkPosition(t *rapid.T, found map[string]stored, key string, want modelPosition) {
	got, there := found[key]
	delete(found, key)
	switch {
	case there != (want != nil):
		t.Fatalf("%s is there: %t, want %t", key, there, want != nil)
	case there && got.hash[posSeq] != strconv.FormatUint(*want, 10):
		t.Fatalf("%s is %s, want %d", key, got.hash[posSeq], *want)
	}
}

// checkRecord reads what happened as every claim does, and what belongs to claims as the scripts write it.
func (m *claimMachine) checkRecord(t *rapid.T, id schemas.RequestID, got stored, want modelRecord) {
	values := make([]any, len(recordFields))
	for i, field := range recordFields {
		if text, there := got.hash[field]; there {
			values[i] = text
		}
	}
	number := func(field string) int64 { n, _ := strconv.ParseInt(got.hash[field], 10, 64); return n }
	moment := func(field string) (at time.Time) {
		if ms := number(field); ms != 0 {
			at = time.UnixMilli(ms)
		}
		return at
	}
	r := readRecord(values)
	found := modelRecord{fingerprint: r.Fingerprint, state: r.State, intent: r.Intent, clean: r.Clean, begun: r.Begun, since: r.Since,
		last: r.Last, owner: got.hash[fieldOwner], lease: moment(fieldLease), released: got.hash[fieldReleased],
		pause: moment(fieldPause), undone: uint64(number(fieldUndone)), expires: got.expires}
	plain, wanted := found, want
	for _, r := range []*modelRecord{&plain, &wanted} {
		r.begun, r.since, r.lease, r.pause, r.expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	if plain != wanted || !same(found.begun, want.begun) || !same(found.since, want.since) || !m.same(found.lease, want.lease) ||
		!m.same(found.pause, want.pause) || !m.same(found.expires, want.expires) {
		t.Fatalf("record of %s is\n%+v, want\n%+v", id, found, want)
	}
	if amount := m.shares[id].micros; r.Last > 0 && r.Amount.Micros != amount {
		t.Fatalf("the amount of %s is %v, want %d", id, r.Amount, amount)
	}
}

// same compares times to the millisecond, in which they are stored.
func same(a, b time.Time) bool {
	return a.Truncate(time.Millisecond).Equal(b.Truncate(time.Millisecond))
}
