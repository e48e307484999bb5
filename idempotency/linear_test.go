package idempotency

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	linearRefunds = 40
	linearAtOnce  = 8
	linearClients = 4
	linearSteps   = 9
	linearWorkers = 3
)

// Many clients of three workers claim, release and journal at once, over connections that are held up and cut, with
// deadlines that end before the answer. Whatever they were told, some order of one operation after another explains
// it: no lease has two owners, none is given back by a stranger or after its end, and every answer shows each event
// that was seen applied before it was asked for.
func TestClaimsAreLinearizable(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		x := newExchange(t, rdb, seed)
		// What is answered depends on who comes when: it goes on until every answer was given.
		for missing := []string{"all"}; len(missing) > 0; {
			missing = x.round(t)
			if time.Since(x.start) > patience {
				t.Fatalf("nothing was ever answered %v: the test does not test it", missing)
			}
		}
	})
}

// round works on some more refunds, holds what all clients were told so far against a model, and returns what nobody was
// told yet.
func (x *exchange) round(t *testing.T) (missing []string) {
	for _, line := range x.lines {
		line.spoils.Store(true)
	}
	atOnce := make(chan struct{}, linearAtOnce)
	var refunds sync.WaitGroup
	first := len(x.histories)
	for i := range linearRefunds {
		atOnce <- struct{}{}
		refunds.Go(func() { defer func() { <-atOnce }(); x.refund(first + i) })
	}
	refunds.Wait()
	state, err := x.journal.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range x.lines {
		line.spoils.Store(false)
	}
	eventually(t, "every event is seen applied", func() bool { return x.sawAll(state.Last) })
	for _, h := range x.histories[first:] {
		operations := h.complete(t, x.seen)
		for _, op := range operations {
			count(op.Input, op.Output, x.answers)
		}
		x.answers["lost"] += len(h.pending)
		if !explainable(t, operations) {
			t.Fatalf("what clients were told about %s cannot be explained", h.id)
		}
	}
	cut := 0
	for _, line := range x.lines {
		cut += line.cuts()
	}
	t.Logf("%d events, %d connections cut, answers %v", state.Last, cut, x.answers)
	for _, want := range []string{"CONFLICT", "SETTLED", "BUSY", "PARKED", "PENDING", "WAIT", "DOUBT", "RETRY", "FRESH",
		"released", "not released", "lost"} {
		if x.answers[want] == 0 {
			missing = append(missing, want)
		}
	}
	if cut == 0 {
		missing = append(missing, "a cut")
	}
	return missing
}

func count(input, output any, answers map[string]int) {
	switch out := output.(type) {
	case Claim:
		answers[string(out.Answer)]++
	case bool:
		if _, releases := input.(releasing); releases && out {
			answers["released"]++
		} else if releases {
			answers["not released"]++
		}
	}
}

// exchange is a few workers on one Redis and one journal, each over a bad line of its own.
type exchange struct {
	t       *testing.T
	journal *memoryJournal
	start   time.Time
	seed    uint64
	systems []*system
	lines   []*badLine

	mu        sync.Mutex
	histories []*history
	answers   map[string]int
	seen      map[uint64]int64 // by event, when it was first seen applied
	upTo      uint64
}

func newExchange(t *testing.T, rdb redis.UniversalClient, seed uint64) *exchange {
	x := &exchange{t: t, journal: newMemoryJournal(), start: time.Now(), seed: seed, seen: map[uint64]int64{}, answers: map[string]int{}}
	addr := rdb.(*redis.Client).Options().Addr
	for i := range linearWorkers {
		line := newBadLine(t, addr, seed+uint64(i))
		// One repetition at most, so that the model knows how often a script may have run.
		client := redis.NewClient(&redis.Options{Addr: line.addr(), ContextTimeoutEnabled: true, MaxRetries: 1})
		t.Cleanup(func() { client.Close() })
		x.lines = append(x.lines, line)
		x.systems = append(x.systems, startSystem(t, client, x.journal, Config{}).ready())
	}
	for _, line := range x.lines {
		line.spoils.Store(true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { x.watch(ctx, rdb) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	return x
}

// watch notes when the projection was seen past each event, over a line of its own.
func (x *exchange) watch(ctx context.Context, rdb redis.UniversalClient) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	key := x.systems[0].store.keys.position(0)
	for {
		pos, err := rdb.HGet(ctx, key, posSeq).Uint64()
		x.mu.Lock()
		for err == nil && x.upTo < pos {
			x.upTo++
			x.seen[x.upTo] = time.Since(x.start).Nanoseconds()
		}
		x.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (x *exchange) sawAll(last uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.upTo >= last
}

// refund lets several clients work on one requestId, and settles it in the end.
func (x *exchange) refund(i int) {
	h := &history{id: schemas.RequestID(fmt.Sprintf("ord-%d:r1", i)), journal: x.journal, start: x.start}
	x.mu.Lock()
	x.histories = append(x.histories, h)
	x.mu.Unlock()
	switch i % 4 { // what is known from before
	case 0:
		h.publish(event(h.id, schemas.KindAcknowledged, attempt(1)))
	case 1:
		h.publish(event(h.id, schemas.KindParked))
	case 2:
		h.publish(elsewhere(Claim{RequestID: h.id}))
	}
	var clients sync.WaitGroup
	for k := range linearClients {
		clients.Go(func() {
			c := x.client(h, i*linearClients+k)
			for range linearSteps {
				c.round()
			}
			if k == 0 {
				h.publish(event(h.id, schemas.KindFailed))
			}
			c.claim()
		})
	}
	clients.Wait()
}

// elsewhere is the intent of a claim that this Redis knows nothing of any more.
func elsewhere(c Claim) ledger.Entry {
	c.Token = newToken()
	return dispatched(c)
}

func (x *exchange) client(h *history, n int) *leaseClient {
	worker := n % linearWorkers
	return &leaseClient{t: x.t, history: h, store: x.systems[worker].store, line: x.lines[worker], n: n,
		random: rand.New(rand.NewPCG(x.seed, uint64(n+100)))}
}

// leaseClient is one client of one worker, doing whatever a worker may do in whatever order, and more.
type leaseClient struct {
	t       *testing.T
	history *history
	store   *Store
	line    *badLine
	n       int
	random  *rand.Rand
	before  []Claim // what it was told earlier
}

func (c *leaseClient) chance(percent int) bool { return c.random.IntN(100) < percent }

func (c *leaseClient) millis(from, to int) time.Duration {
	return time.Duration(from+c.random.IntN(to-from)) * time.Millisecond
}

// deadline is usually generous, and sometimes over before the answer comes.
func (c *leaseClient) deadline() (context.Context, context.CancelFunc) {
	if c.chance(3) {
		return context.WithTimeout(context.Background(), c.millis(1, 8))
	}
	return context.WithTimeout(context.Background(), 30*time.Second)
}

func (c *leaseClient) round() {
	claim, answered := c.claim()
	if answered {
		c.use(claim)
		c.before = append(c.before, claim)
	}
	if len(c.before) > 0 && c.chance(30) { // also what is over, never was, or is another's by now
		old := c.before[c.random.IntN(len(c.before))]
		if old.Held() && c.chance(40) {
			c.publish(old, schemas.KindDeferred)
		} else {
			c.release(old, old.Head*uint64(c.random.IntN(2)), 0)
		}
	}
	if c.chance(15) {
		c.read()
	}
}

func (c *leaseClient) use(claim Claim) {
	switch {
	case claim.Answer == Parked && c.chance(60):
		c.history.publish(event(claim.RequestID, schemas.KindResumed))
	case claim.Held():
		c.work(claim)
	case claim.Answer == Busy && c.chance(20): // a stranger
		c.release(claim, claim.Head, 0)
	case claim.Answer == Busy:
		if c.chance(60) { // comes again when it may be time
			time.Sleep(time.Until(claim.Until) + time.Duration(c.random.IntN(4000)-2000)*time.Microsecond)
		}
	}
}

// work goes on from a lease in one of the ways that the rules know, a crash at any point among them.
func (c *leaseClient) work(claim Claim) {
	if c.chance(25) {
		for range 1 + c.random.IntN(2) {
			c.release(claim, 0, 0)
		}
		return
	}
	if c.chance(10) { // too late, unless somebody else was quicker still
		time.Sleep(time.Until(claim.Until) + c.millis(clockSlack+1, clockSlack+4))
		c.release(claim, claim.Head, 0)
		return
	}
	if c.chance(10) {
		c.history.publish(elsewhere(claim))
		return
	}
	seq := c.history.publish(dispatched(claim))
	pause := time.Duration(0)
	if c.chance(50) {
		pause = c.millis(2, 40)
	}
	switch n := c.random.IntN(100); {
	case n < 45: // surely nothing moved, or what was in doubt was looked up
		c.release(claim, seq, pause)
	case n < 60:
		c.release(claim, 0, pause)
	case n < 75:
		c.publish(claim, schemas.KindDeferred)
	case n < 80:
		c.publish(claim, schemas.KindAcknowledged)
	case n < 88:
		c.publish(claim, schemas.KindParked)
	}
}

func (c *leaseClient) publish(claim Claim, k schemas.Kind) {
	c.history.publish(event(claim.RequestID, k, owner(claim)))
}

func (c *leaseClient) claim() (claim Claim, answered bool) {
	c.awaitGate()
	in := claiming{fingerprint: fingerprintOf(c.history.id), lease: int64(10 + c.random.IntN(60))}
	c.history.mu.Lock()
	other := c.history.owned && c.chance(4)
	c.history.mu.Unlock()
	if other {
		in.fingerprint = fingerprintOf("other:" + c.history.id)
	}
	ctx, cancel := c.deadline()
	defer cancel()
	c.history.perform(c.n, c.line, func() (any, any) {
		var err error
		claim, err = c.store.Claim(ctx, c.history.id, in.fingerprint, time.Duration(in.lease)*time.Millisecond)
		in.token, answered = claim.Token, err == nil // the token is minted on the way
		if !answered {
			return in, nil
		}
		return in, claim
	})
	if answered && claim.Answer != NotReady && !other {
		c.history.mu.Lock()
		c.history.owned = true
		c.history.mu.Unlock()
	}
	return claim, answered
}

// awaitGate waits out the time after a look at Redis that failed.
func (c *leaseClient) awaitGate() {
	changed := c.store.Gate().Changed()
	if c.store.Gate().Reason() == Ready {
		return
	}
	select {
	case <-changed:
	case <-time.After(patience):
	}
}

func (c *leaseClient) release(claim Claim, clean uint64, pause time.Duration) {
	in := releasing{token: claim.Token, clean: clean, pause: pause.Milliseconds()}
	ctx, cancel := c.deadline()
	defer cancel()
	c.history.perform(c.n, c.line, func() (any, any) {
		given, err := c.store.Release(ctx, claim, clean, pause)
		if err != nil {
			return in, nil
		}
		return in, given
	})
}

func (c *leaseClient) read() {
	c.history.perform(c.n, c.line, func() (any, any) {
		record, _, err := c.store.Read(context.Background(), c.history.id)
		if err != nil {
			return nil, nil
		}
		return reading{}, record
	})
}
