package explore

import (
	"context"
	"slices"
	"sync"
	"time"

	"pgregory.net/rapid"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
)

// entries is a journal in memory, for a projector to read.
type entries struct {
	mu    sync.Mutex
	born  time.Time
	all   []ledger.Entry
	grown chan struct{}
}

func (j *entries) add(e ledger.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, e)
	close(j.grown)
	j.grown = make(chan struct{})
}

func (j *entries) State(context.Context) (idempotency.JournalState, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return idempotency.JournalState{Created: j.born, First: 1, Last: uint64(len(j.all))}, nil
}

func (j *entries) EventID(_ context.Context, seq uint64) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq < 1 || seq > uint64(len(j.all)) {
		return "", idempotency.ErrNoEvent
	}
	return j.all[seq-1].ID, nil
}

func (j *entries) Read(_ context.Context, from uint64) (idempotency.Reader, error) {
	return &reading{j, from}, nil
}

type reading struct {
	journal *entries
	next    uint64
}

func (r *reading) Next(ctx context.Context, _ int, wait time.Duration) ([]ledger.Entry, error) {
	enough := time.After(wait)
	for {
		r.journal.mu.Lock()
		out, grown := r.journal.all[r.next-1:], r.journal.grown
		r.journal.mu.Unlock()
		if len(out) > 0 {
			r.next += uint64(len(out))
			return out, nil
		}
		select {
		case <-grown:
		case <-enough:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *reading) Stop() {}

// copied is what Redis held: names, contents and times left.
type copied struct {
	keys  []any
	clean [maxRefunds]int16
	memory
}

// lose empties Redis.
func (c *claimed) lose(t *rapid.T) {
	if err := c.rdb.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	c.remembers(t, copied{})
}

// remembers takes in that Redis has lost what was not copied. Most often the worker is started again at once, and builds anew
// what is journalled.
func (c *claimed) remembers(t *rapid.T, only copied) {
	c.lost, c.memory = true, only.memory
	for r := range c.w.refunds {
		c.w.refunds[r].clean = only.clean[r]
	}
	if rapid.IntRange(0, 3).Draw(t, "restart") > 0 {
		c.restart(t)
	}
}

func (c *claimed) restart(t *rapid.T) { c.stop(); c.start(t) }

// copyAll is all that Redis holds at one moment. Whose turn it is to project is left out: nobody who starts should have to
// wait for that.
const copyAll = `local all = {}
for _, k in ipairs(redis.call('KEYS', '*')) do
  if not string.find(k, ':projector$') then
    all[#all + 1] = k
    all[#all + 1] = redis.call('DUMP', k)
    all[#all + 1] = math.max(redis.call('PTTL', k), 0)
  end
end
return all`

func (c *claimed) copy(t *rapid.T) {
	c.copied = &copied{memory: c.memory}
	for r := range c.w.refunds {
		c.copied.clean[r] = c.w.refunds[r].clean
	}
	var err error
	if c.copied.keys, err = c.rdb.Eval(context.Background(), copyAll, nil).Slice(); err != nil {
		t.Fatal(err)
	}
}

// goBack has Redis hold what it held when it was copied.
func (c *claimed) goBack(t *rapid.T) {
	if c.copied == nil {
		t.Skip()
	}
	ctx := context.Background()
	pipe := c.rdb.TxPipeline()
	pipe.FlushAll(ctx)
	for k := range slices.Chunk(c.copied.keys, 3) {
		pipe.Restore(ctx, k[0].(string), time.Duration(k[2].(int64))*time.Millisecond, k[1].(string))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	c.remembers(t, *c.copied)
}
