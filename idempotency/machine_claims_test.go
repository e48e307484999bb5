package idempotency

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refundworker/schemas"
)

// Two workers claim, release, journal and project a few refunds in any order, steps of projection and rebuild mixed
// with everything else, while Redis loses what it may lose. Every answer is the one of a plain model of the design,
// and Redis holds what the model holds, and nothing else.
func TestMachineOfClaimsEqualsItsModel(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 3} {
		t.Run("partitions="+strconv.Itoa(partitions), func(t *testing.T) {
			eachGround(t, func(t *rapid.T, g *ground) {
				m := newClaimMachine(t, g, partitions)
				defer m.close()
				t.Repeat(m.actions())
			})
		})
	}
}

const modelRetain = 90 * 24 * time.Hour

// claimMachine drives real stores and projectors step by step, without their goroutines, beside the model.
type claimMachine struct {
	g       *ground
	journal *memoryJournal
	model   *modelRedis
	shares  map[schemas.RequestID]share
	workers []*claimWorker
	claims  []madeClaim
	copied  *redisCopy
}

type claimWorker struct {
	store     *Store
	gate      *modelGate
	projector *Projector
	spell     *modelSpell // nil: not leading
	folded    *batch
	to        position
}

type madeClaim struct {
	Claim
	fingerprint schemas.Fingerprint
	lease       time.Duration
}

type redisCopy struct {
	content map[string]stored
	model   *modelRedis
}

func newClaimMachine(t *rapid.T, g *ground, partitions int) *claimMachine {
	m := &claimMachine{g: g, journal: newMemoryJournal(), model: newModelRedis(partitions), shares: drawShares(t)}
	for range 2 {
		m.workers = append(m.workers, m.newWorker(t))
	}
	return m
}

func (m *claimMachine) newWorker(t fails) *claimWorker {
	partitions := len(m.model.pos)
	store, err := New(m.g.rdb, Config{Namespace: "machine", Partitions: partitions, Retain: modelRetain, Volatile: true})
	if err != nil {
		t.Fatalf("new store: %v", err)
	}
	return &claimWorker{store: store, gate: &modelGate{floor: make([]uint64, partitions)},
		projector: store.NewProjector(m.journal, slog.New(slog.DiscardHandler))}
}

func (m *claimMachine) close() {
	for _, w := range m.workers {
		w.store.Close()
	}
}

func (m *claimMachine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"":           m.check,
		"claim":      m.claim,
		"claim more": m.claim,
		"send again": m.claimAgain,
		"release":    m.release,
		"try":        m.try,
		"intend":     m.intend,
		"journal":    m.journalAny,
		"settle":     m.settleAny,
		"brake":      m.brake,
		"look":       m.look,
		"lead":       m.lead,
		"project":    m.project,
		"fold":       m.fold,
		"write":      m.write,
		"overtake":   m.overtake,
		"promote":    m.promote,
		"check":      m.checkProjector,
		"resign":     m.resign,
		"catch up":   m.catchUp,
		"stay up":    m.catchUp,
		"copy":       m.copy,
		"go back":    m.goBack,
		"fall back":  m.goBack,
		"lose":       m.lose,
		"restart":    m.restart,
	}
	if m.g.settable {
		actions["pass"] = m.pass
	}
	return actions
}

func (m *claimMachine) worker(t *rapid.T) *claimWorker {
	return m.workers[rapid.IntRange(0, len(m.workers)-1).Draw(t, "worker")]
}

func (m *claimMachine) partition(id schemas.RequestID) int {
	_, p := m.workers[0].store.keys.record(id)
	return p
}

// machineRefunds is how many refunds a machine has.
const machineRefunds = 4

func drawID(t *rapid.T) schemas.RequestID {
	return requestID(rapid.IntRange(0, machineRefunds-1).Draw(t, "refund"))
}

// drawSpan is a time that leases and pauses last. Where time cannot be set, they last for good or are over at once.
func (m *claimMachine) drawSpan(t *rapid.T) time.Duration {
	spans := []time.Duration{5003 * time.Millisecond, 60007 * time.Millisecond, time.Hour}
	if !m.g.settable {
		spans = []time.Duration{time.Millisecond, time.Hour}
	}
	return rapid.SampledFrom(spans).Draw(t, "for")
}

// settle waits, where time cannot be set, until what is over at once is over.
func (m *claimMachine) settle(t *rapid.T, now time.Time, span time.Duration) {
	if !m.g.settable && span <= time.Millisecond {
		m.g.reach(t, now.Add(span))
	}
}

func (m *claimMachine) last() uint64 { return uint64(len(m.journal.entries)) }

func (m *claimMachine) claim(t *rapid.T) {
	w, id, lease := m.worker(t), drawID(t), m.drawSpan(t)
	fp := fingerprintOf(id)
	if rapid.IntRange(0, 5).Draw(t, "content") == 0 {
		fp = fingerprintOf("other")
	}
	started := time.Now()
	if reason := w.store.gate.Reason(); (reason == Ready) != w.gate.relies(started) {
		t.Fatalf("the projection is %q, and is to be relied on: %t", reason, w.gate.relies(started))
	}
	got, err := w.store.Claim(context.Background(), id, fp, lease)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	if !w.gate.lets(started) {
		if got.Answer != NotReady || !got.RedisTime.IsZero() {
			t.Fatalf("claim at a closed gate: %s, want NOT_READY without asking", got.Answer)
		}
		return
	}
	m.claims = append(m.claims, madeClaim{got, fp, lease})
	m.judge(t, w, m.claims[len(m.claims)-1])
}

// judge compares a claim that Redis answered with the model.
func (m *claimMachine) judge(t *rapid.T, w *claimWorker, got madeClaim) {
	m.model.expire(got.RedisTime)
	p := m.partition(got.RequestID)
	want := m.model.claim(got.RequestID, p, modelClaim{token: got.Token, fingerprint: got.fingerprint, lease: got.lease,
		floor: w.gate.floor[p]}, got.RedisTime)
	if got.Answer != want.answer || got.Head != want.head || got.Clean != want.clean || got.Pos != want.pos || !m.same(got.Until, want.until) {
		t.Fatalf("%s is answered %s, head %d, clean to %d, until %s, at %d; want %s, %d, %d, until %s, at %d", got.RequestID,
			got.Answer, got.Head, got.Clean, got.Until, got.Pos, want.answer, want.head, want.clean, want.until, want.pos)
	}
	if want.answer == Behind {
		w.gate.open = false
	}
	if got.Held() {
		m.settle(t, got.RedisTime, got.lease)
	}
}

// same compares times; where time cannot be set, some of them are known only about.
func (m *claimMachine) same(a, b time.Time) bool {
	if m.g.settable || a.IsZero() || b.IsZero() {
		return a.Truncate(time.Millisecond).Equal(b.Truncate(time.Millisecond))
	}
	return a.Sub(b).Abs() < 10*time.Second
}

// drawClaim is any claim that was made, the last one as often as all others.
func (m *claimMachine) drawClaim(t *rapid.T) madeClaim {
	if len(m.claims) == 0 {
		t.Skip("no claim yet")
	}
	if rapid.Bool().Draw(t, "last claim") {
		return m.claims[len(m.claims)-1]
	}
	return m.claims[rapid.IntRange(0, len(m.claims)-1).Draw(t, "claim")]
}

// claimAgain sends a claim's script again with its token, as a client does that got no reply, at any later time.
func (m *claimMachine) claimAgain(t *rapid.T) {
	w, c := m.worker(t), m.drawClaim(t)
	key, p := w.store.keys.record(c.RequestID)
	reply, err := w.store.scripts.do(context.Background(), claimScript, []string{key, w.store.keys.position(p)}, c.Token,
		string(c.fingerprint[:]), c.lease.Milliseconds(), w.store.gate.floorOf(p), unjournalledTTL.Milliseconds(), w.store.mayEvict())
	if err != nil {
		t.Fatalf("claim again: %v", err)
	}
	again := madeClaim{Claim{RequestID: c.RequestID, Token: c.Token}, c.fingerprint, c.lease}
	if err := again.read(reply); err != nil {
		t.Fatalf("claim again: %v", err)
	}
	open := w.gate.open
	m.judge(t, w, again)
	w.gate.open = open // the script was asked past the gate, which learns nothing of it
}

// try is an attempt that surely did nothing, whose intent may be applied later than its lease is given back.
func (m *claimMachine) try(t *rapid.T) {
	before := len(m.claims)
	if m.claim(t); len(m.claims) == before || !m.claims[before].Held() {
		return
	}
	c := m.claims[before]
	m.add(t, m.about(t, dispatched(c.Claim)))
	m.giveBack(t, m.worker(t), c)
}

// release gives back any claim, old ones and foreign ones too, at any time and more than once.
func (m *claimMachine) release(t *rapid.T) {
	w, c := m.worker(t), m.drawClaim(t)
	m.giveBack(t, w, c)
}

func (m *claimMachine) giveBack(t *rapid.T, w *claimWorker, c madeClaim) {
	if rapid.IntRange(0, 5).Draw(t, "foreign") == 0 {
		c.Token = newToken()
	}
	want := modelRelease{token: c.Token}
	if rapid.Bool().Draw(t, "clean") {
		want.clean = uint64(rapid.IntRange(1, 20).Draw(t, "clean to"))
	}
	if rapid.Bool().Draw(t, "pause") {
		want.pause = m.drawSpan(t)
	}
	for range rapid.IntRange(1, 2).Draw(t, "sent") {
		now := m.g.now(t)
		m.model.expire(now)
		given, err := w.store.Release(context.Background(), c.Claim, want.clean, want.pause)
		if err != nil {
			t.Fatalf("release: %v", err)
		}
		if wanted := m.model.release(c.RequestID, want, now); given != wanted {
			t.Fatalf("release of %s: %t, want %t", c.RequestID, given, wanted)
		}
		m.settle(t, m.g.now(t), want.pause)
	}
}

// restart ends a worker and begins another one, which knows nothing yet.
func (m *claimMachine) restart(t *rapid.T) {
	i := rapid.IntRange(0, len(m.workers)-1).Draw(t, "worker")
	m.workers[i].store.Close()
	m.workers[i] = m.newWorker(t)
}

func (m *claimMachine) look(t *rapid.T) { m.lookBy(t, m.worker(t)) }

func (m *claimMachine) lookBy(t *rapid.T, w *claimWorker) {
	if err := w.store.newWatch(m.journal).once(context.Background()); err != nil {
		t.Fatalf("look: %v", err)
	}
	w.gate.look(m.model, m.last(), time.Now())
}

// pass lets time go by: leases, pauses, due times and bounds on either side of their ends.
func (m *claimMachine) pass(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{1013 * time.Millisecond, 4007 * time.Millisecond, 17011 * time.Millisecond,
		31019 * time.Millisecond, 61 * time.Second, 25 * time.Hour}).Draw(t, "time"))
	m.seen(t)
}

// seen has every worker look at what just happened, or not.
func (m *claimMachine) seen(t *rapid.T) {
	if !rapid.Bool().Draw(t, "seen") {
		return
	}
	for _, w := range m.workers {
		m.lookBy(t, w)
	}
}
