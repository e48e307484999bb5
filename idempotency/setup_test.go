package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// memoryJournal is an event stream in memory. It keeps what it is given, in order.
type memoryJournal struct {
	mu      sync.Mutex
	created time.Time
	first   uint64
	entries []ledger.Entry // entries[i] has sequence first+i
	grown   chan struct{}
	gone    bool
}

func newMemoryJournal() *memoryJournal {
	return &memoryJournal{created: time.Now(), first: 1, grown: make(chan struct{})}
}

// add stores an event and returns its sequence.
func (j *memoryJournal) add(e ledger.Entry) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Seq = j.first + uint64(len(j.entries))
	if e.ID == "" {
		e.ID = e.Event.ID()
	}
	if e.Stored.IsZero() {
		e.Stored = e.Event.OccurredAt
	}
	j.entries = append(j.entries, e)
	close(j.grown)
	j.grown = make(chan struct{})
	return e.Seq
}

func (j *memoryJournal) State(context.Context) (JournalState, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.gone {
		return JournalState{}, ErrNoJournal
	}
	return JournalState{Created: j.created, First: j.first, Last: j.first + uint64(len(j.entries)) - 1}, nil
}

func (j *memoryJournal) EventID(_ context.Context, seq uint64) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq < j.first || seq >= j.first+uint64(len(j.entries)) {
		return "", ErrNoEvent
	}
	return j.entries[seq-j.first].ID, nil
}

func (j *memoryJournal) Read(_ context.Context, from uint64) (Reader, error) {
	return &memoryReader{journal: j, next: from}, nil
}

type memoryReader struct {
	journal *memoryJournal
	next    uint64
}

func (r *memoryReader) Next(ctx context.Context, limit int, wait time.Duration) ([]ledger.Entry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		r.journal.mu.Lock()
		start := int(max(r.next, r.journal.first) - r.journal.first)
		grown := r.journal.grown
		if start < len(r.journal.entries) {
			out := r.journal.entries[start:min(start+limit, len(r.journal.entries))]
			r.next = out[len(out)-1].Seq + 1
			r.journal.mu.Unlock()
			return out, nil
		}
		r.journal.mu.Unlock()
		select {
		case <-grown:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memoryReader) Stop() {}

// onEachRedis runs a test on a real redis-server and on the embedded one.
func onEachRedis(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Parallel()
	t.Run("redis-server", func(t *testing.T) { t.Parallel(); test(t, realRedis(t)) })
	t.Run("embedded", func(t *testing.T) { t.Parallel(); test(t, dialRedis(t, miniredis.RunT(t).Addr())) })
}

func realRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	return dialRedis(t, servertest.Redis(t))
}

func dialRedis(t *testing.T, addr string) redis.UniversalClient {
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// patience ends a wait for something that never comes.
const patience = 5 * time.Minute

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// system is a store with its watch and projector at work on a journal.
type system struct {
	t       *testing.T
	store   *Store
	journal *memoryJournal
	failed  chan error
	stop    func()
}

func startSystem(t *testing.T, rdb redis.UniversalClient, journal *memoryJournal, cfg Config) *system {
	t.Helper()
	if cfg.Namespace == "" {
		cfg.Namespace = "test"
	}
	cfg.Volatile = rdb.Info(t.Context(), "memory").Err() != nil // the embedded Redis has no memory settings
	store, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, store: store, journal: journal, failed: make(chan error, 2)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.failed <- store.Watch(ctx, journal) })
	running.Go(func() { s.failed <- store.NewProjector(journal, slog.New(slog.DiscardHandler)).Run(ctx) })
	s.stop = sync.OnceFunc(func() { cancel(); running.Wait(); store.Close() })
	t.Cleanup(s.stop)
	return s
}

// ready waits until claims are answered and everything journalled is applied.
func (s *system) ready() *system {
	s.t.Helper()
	eventually(s.t, "the gate opens", func() bool { return s.store.Gate().Reason() == Ready })
	return s
}

// standing reads every partition's position, and Redis's clock.
func (s *Store) standing(ctx context.Context) ([]position, time.Time, error) {
	var l look
	err := s.newWatch(nil).readPositions(ctx, &l)
	return l.positions, l.redisTime, err
}

// applied waits until an event is applied everywhere.
func (s *system) applied(seq uint64) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("event %d is applied", seq), func() bool {
		positions, _, err := s.store.standing(s.t.Context())
		if err != nil {
			return false
		}
		for _, p := range positions {
			if p.missing() || p.Seq < seq {
				return false
			}
		}
		return true
	})
}

// add journals an event and waits until it is applied.
func (s *system) add(e ledger.Entry) uint64 {
	s.t.Helper()
	seq := s.journal.add(e)
	s.applied(seq)
	return seq
}

func (s *system) claim(id schemas.RequestID) Claim {
	s.t.Helper()
	return s.claimFor(id, time.Minute)
}

func (s *system) claimFor(id schemas.RequestID, lease time.Duration) Claim {
	s.t.Helper()
	var c Claim
	eventually(s.t, "a claim is answered", func() (ok bool) {
		var err error
		if c, err = s.store.Claim(s.t.Context(), id, fingerprintOf(id), lease); err != nil {
			s.t.Logf("claim %s: %v", id, err) // not in time; it may hold the lease
		}
		return err == nil
	})
	return c
}

func fingerprintOf(id schemas.RequestID) schemas.Fingerprint {
	fp, err := commandOf(id).Fingerprint()
	if err != nil {
		panic(err)
	}
	return fp
}

func commandOf(id schemas.RequestID) schemas.Command {
	return schemas.Command{RequestID: id, Provider: "bank", Payment: schemas.Payment{Reference: "pay-" + string(id)},
		Amount: schemas.Money{Micros: 5_000_000, Currency: "HKD"}, RequestedAt: time.Now().UTC()}
}

// event is an entry of a kind; set changes it before it is returned.
func event(id schemas.RequestID, k schemas.Kind, set ...func(*ledger.Entry)) ledger.Entry {
	e := ledger.Entry{Event: schemas.NewEvent(k, commandOf(id), time.Now().UTC())}
	for _, s := range set {
		s(&e)
	}
	return e
}

func attempt(n int) func(*ledger.Entry) { return func(e *ledger.Entry) { e.Event.Attempt = n } }
func number(n int) func(*ledger.Entry)  { return func(e *ledger.Entry) { e.Event.N = n } }
func owner(c Claim) func(*ledger.Entry) { return func(e *ledger.Entry) { e.Owner = c.Token } }

// dispatched is the intent of a claim.
func dispatched(c Claim) ledger.Entry {
	return event(c.RequestID, schemas.KindDispatched, attempt(1), owner(c))
}

func requestID(i int) schemas.RequestID { return schemas.RequestID("r" + strconv.Itoa(i)) }
