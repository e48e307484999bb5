package explore

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"refundworker/consumer/refund"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// claimed is the store of claims in a real Redis beside the model's, and what the real one has reason to answer.
type claimed struct {
	rdb     *redis.Client
	name    string
	store   *idempotency.Store
	stop    func()
	journal *entries
	w       world
	late    []ledger.Entry // journalled, and not shown to the projector yet
	made    []made
	copied  *copied
	memory
	// lost: Redis has been empty, or what it was before, since the worker started. shut is closed when claims are not
	// answered any more.
	lost bool
	shut <-chan struct{}
	met  map[refund.Answer]int
}

// memory is what Redis may hold beside what is journalled.
type memory struct {
	by     [maxRefunds][2]bool // whose content has claimed
	owner  [maxRefunds]string  // whose lease runs
	paused [maxRefunds]bool
}

// made is a claim that took a lease, and the attempt that was journalled under it.
type made struct {
	idempotency.Claim
	refund int8
	intent int16
}

// start starts a worker that knows nothing yet, and waits until its claims are answered.
func (c *claimed) start(t *rapid.T) {
	store, err := idempotency.New(c.rdb, idempotency.Config{Namespace: c.name})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = store.Watch(ctx, c.journal) })
	running.Go(func() { _ = store.NewProjector(c.journal, slog.New(slog.DiscardHandler)).Run(ctx) })
	c.store, c.lost, c.stop = store, false, func() { cancel(); running.Wait(); store.Close() }
	enough := time.After(patience)
	for {
		c.shut = store.Gate().Changed()
		if store.Gate().Reason() == idempotency.Ready {
			return
		}
		select {
		case <-c.shut:
		case <-enough:
			t.Fatalf("claims are not answered: %s", store.Gate().Reason())
		}
	}
}

// patience ends a wait for something that never comes.
const patience = 5 * time.Minute

func (c *claimed) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"claim":     func(t *rapid.T) { c.claim(t) },
		"claim too": func(t *rapid.T) { c.claim(t) },
		"try":       c.try,
		"try too":   c.try,
		"release":   c.release,
		"journal":   c.append,
		"foreign":   c.foreign,
		"project":   c.project,
		"restart":   c.restart,
		"lose":      c.lose,
		"copy":      c.copy,
		"go back":   c.goBack,
	}
}

func (c *claimed) draw(t *rapid.T) int8 {
	return int8(rapid.IntRange(0, maxRefunds-1).Draw(t, "refund"))
}

// claim claims on both, and holds the answer against those that the model could give.
func (c *claimed) claim(t *rapid.T) (made, bool) {
	r, content := c.draw(t), int8(min(rapid.IntRange(0, 3).Draw(t, "content"), 1))
	lease := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Hour}).Draw(t, "lease")
	got, err := c.store.Claim(context.Background(), idOf(r), fingerprintOf(r, content), lease)
	if err != nil { // the lease may be taken
		c.by[r][content], c.owner[r] = true, "nobody's"
		return made{}, false
	}
	s := &c.w.refunds[r]
	said := translate(got, s, content)
	c.judge(t, r, content, said)
	c.met[said.answer]++
	if got.Answer == idempotency.NotReady {
		return made{}, false
	}
	c.by[r][content] = true
	if !got.Held() {
		return made{}, false
	}
	c.owner[r] = got.Token
	if lease == time.Millisecond {
		c.past(t, got.Until)
		c.owner[r] = ""
	}
	c.made = append(c.made, made{Claim: got, refund: r})
	return c.made[len(c.made)-1], true
}

// translate says of a claim what the worker's port does.
func translate(got idempotency.Claim, s *refundState, content int8) reply {
	r := reply{answer: refund.Taken, head: int16(got.Head), clean: int16(got.Clean)}
	switch got.Answer {
	case idempotency.NotReady:
		r.answer = refund.NotReady
	case idempotency.Conflict:
		r.answer = refund.Conflict
	case idempotency.Settled:
		r.answer = refund.Settled
	case idempotency.Busy:
		r.answer = refund.Busy
	case idempotency.Behind: // the journal is asked
		r.head = s.head()
	}
	if r.head = min(r.head, 1); r.answer != refund.Taken { // nobody looks at what else it says
		r.head = 0
		if r.answer != refund.Conflict || s.told(content) == knowsOther {
			r.clean = 0
		}
	}
	return r
}

// judge finds the answer among those of the model: the one of a Redis that knows all, unless there is a reason.
func (c *claimed) judge(t *rapid.T, r, content int8, got reply) {
	s := &c.w.refunds[r]
	var could []int8
	c.w.left = budget{losses: 1, lies: 1}
	c.w.answers(s, content, func(v int8) { could = append(could, v) })
	told, less := s.told(content), c.lost || c.lags(r)
	for _, v := range could {
		q := c.w
		want := q.claim(&q.refunds[r], content, v)
		if want.token, want.err = 0, 0; want.answer == refund.Settled {
			want.head, want.clean = 0, 0
		}
		if want != got {
			continue
		}
		switch {
		case v == told,
			v == saysBusy && (c.owner[r] != "" || c.paused[r]),
			v == saysNotReady && (c.lost || c.isShut()),
			v == knowsOther && c.by[r][1-content] && (s.owner() < 0 || less),
			v != saysBusy && v != saysNotReady && v != knowsOther && less:
			return
		}
	}
	t.Fatalf("content %d of r%d is answered %q, head %d, clean up to %d; it is known to be owned by content %d, with %d events, clean up to %d, less %t, owner %q, paused %t",
		content, r, got.answer, got.head, got.clean, s.owner(), s.n, s.clean, less, c.owner[r], c.paused[r])
}

func (c *claimed) isShut() bool {
	select {
	case <-c.shut:
		return true
	default:
		return false
	}
}

// lags reports whether not all that is journalled of a refund was shown to the projector.
func (c *claimed) lags(r int8) bool {
	return slices.ContainsFunc(c.late, func(e ledger.Entry) bool { return e.Event.RequestID == idOf(r) })
}

// past waits until a moment that is near has passed by Redis's clock.
func (c *claimed) past(t *rapid.T, moment time.Time) {
	for {
		now, err := c.rdb.Time(context.Background()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if now.Truncate(time.Millisecond).After(moment) {
			return
		}
	}
}

// try is a claim whose attempt surely does nothing, and is given back or not.
func (c *claimed) try(t *rapid.T) {
	m, ok := c.claim(t)
	s := &c.w.refunds[m.refund]
	if !ok || s.n == maxLog || s.outcome().kind != 0 {
		return
	}
	c.journalled(t, s.factOfKind(m.refund, schemas.KindDispatched), m.Token)
	at := len(c.made) - 1
	c.made[at].intent = s.head()
	if rapid.Bool().Draw(t, "give back") {
		c.giveBack(t, at)
	}
}

// release gives back any claim, again and at any time.
func (c *claimed) release(t *rapid.T) {
	if len(c.made) == 0 {
		t.Skip()
	}
	c.giveBack(t, rapid.IntRange(0, len(c.made)-1).Draw(t, "claim"))
}

func (c *claimed) giveBack(t *rapid.T, at int) {
	m := c.made[at]
	var pause time.Duration
	if rapid.Bool().Draw(t, "pause") {
		pause = time.Hour
	}
	give := func() (bool, error) { return c.store.Release(context.Background(), m.Claim, uint64(m.intent), pause) }
	given, err := give()
	for tries := 1; err != nil; tries++ { // not in time: what is said twice is done once
		if tries == 100 {
			t.Fatalf("release: %v", err)
		}
		given, err = give()
	}
	if !given || c.owner[m.refund] != m.Token {
		return // as one that is not done, or was done before
	}
	c.owner[m.refund], c.paused[m.refund] = "", c.paused[m.refund] || pause > 0
	c.w.carry(0, op{kind: opRelease, clean: m.intent}, &c.w.refunds[m.refund])
}

// append journals what may come next in a chain.
func (c *claimed) append(t *rapid.T) {
	r := c.draw(t)
	s := &c.w.refunds[r]
	kinds := []schemas.Kind{schemas.KindDispatched, schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked,
		schemas.KindSucceeded, schemas.KindFailed}
	if s.parked() {
		kinds = append(kinds, schemas.KindResumed)
	}
	f := s.factOfKind(r, rapid.SampledFrom(kinds).Draw(t, "kind"))
	if s.n == maxLog || s.outcome().kind != 0 {
		t.Skip()
	}
	if f.content = max(s.owner(), 0); s.owner() < 0 {
		f.content = int8(rapid.IntRange(0, 1).Draw(t, "content"))
	}
	c.journalled(t, f, "somebody's")
}

func (c *claimed) foreign(t *rapid.T) {
	if r := c.draw(t); c.w.refunds[r].n < maxLog {
		c.journalled(t, fact{refund: r}, "")
	}
}

// journalled appends to the model's chain now, and is to be shown to the projector later.
func (c *claimed) journalled(t *rapid.T, f fact, owner string) {
	f.at, f.lease = secondOf(time.Now()), min(f.lease, 1) // what is long settled is not kept in Redis
	seq, ok := c.w.append(f, c.w.refunds[f.refund].head())
	if !ok {
		t.Fatalf("%s is refused behind the head", f)
	}
	f.seq = seq
	e := f.entry()
	e.Owner, e.Foreign = owner, f.kind == 0
	c.late = append(c.late, e)
}

// project shows some of what is journalled to the projector, and waits until it is applied.
func (c *claimed) project(t *rapid.T) {
	if len(c.late) == 0 {
		t.Skip()
	}
	n := rapid.IntRange(1, len(c.late)).Draw(t, "events")
	last := c.late[n-1].Seq
	for _, e := range c.late[:n] {
		c.journal.add(e)
	}
	c.late = c.late[n:]
	if c.lost { // it is built anew once a worker starts
		return
	}
	tick, enough := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		_, pos, err := c.store.Read(context.Background(), idOf(0))
		if err == nil && pos >= last {
			return
		}
		select {
		case <-tick.C:
		case <-enough:
			t.Fatalf("event %d is not applied: at %d, %v", last, pos, err)
		}
	}
}

// The search's claims and those in a real Redis are given the same claims, releases and events, in any order, while the
// projection lags and Redis loses what it may lose. What Redis says, the model could say: what it says that knows all, unless
// there is a reason for less, for busy, or for no answer.
func TestModelOfClaimsAllowsWhatRedisSays(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: servertest.Redis(t), ContextTimeoutEnabled: true, ReadTimeout: patience,
		WriteTimeout: patience})
	t.Cleanup(func() { rdb.Close() })
	met, checks := map[refund.Answer]int{}, 0
	run := func(t *rapid.T) {
		checks++
		c := &claimed{rdb: rdb, name: fmt.Sprintf("conform%d", checks), met: met,
			journal: &entries{born: time.Now(), grown: make(chan struct{})}, w: newWorld(&scenario{refunds: maxRefunds})}
		c.w.workers[0] = worker{node: &node{}, message: -1}
		c.start(t)
		defer func() { c.stop() }()
		t.Repeat(c.actions())
	}
	answers := []refund.Answer{refund.Taken, refund.Busy, refund.Settled, refund.Conflict}
	for range 50 { // chance may leave one out for long
		rapid.Check(t, run)
		if !slices.ContainsFunc(answers, func(a refund.Answer) bool { return met[a] == 0 }) || t.Failed() {
			t.Logf("%v", met)
			return
		}
	}
	t.Errorf("Redis never gave one of the answers: %v", met)
}
