package idempotency

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	batchMax     = 128
	batchTimeout = 3 * time.Second
	batchSenders = 2
)

// errClosed is returned by calls after Close.
var errClosed = errors.New("idempotency store is closed")

// batcher coalesces script calls: each sender takes what is waiting, sends it as one pipeline, and goes on.
// No timer holds anything back, so a lone call pays nothing and a crowd shares round trips.
type batcher struct {
	rdb     redis.UniversalClient
	calls   chan *scriptCall
	closing chan struct{}
	once    sync.Once
	senders sync.WaitGroup
}

type scriptCall struct {
	script *redis.Script
	keys   []string
	args   []any
	reply  any
	err    error
	done   chan struct{}
}

func newBatcher(rdb redis.UniversalClient) *batcher {
	b := &batcher{rdb: rdb, calls: make(chan *scriptCall), closing: make(chan struct{})}
	for range batchSenders {
		b.senders.Go(b.run)
	}
	return b
}

func (b *batcher) close() {
	b.once.Do(func() { close(b.closing) })
	b.senders.Wait()
}

// do runs one script. An error after sending leaves open whether the script ran, so scripts are idempotent.
func (b *batcher) do(ctx context.Context, script *redis.Script, keys []string, args ...any) (any, error) {
	call := &scriptCall{script: script, keys: keys, args: args, done: make(chan struct{})}
	select {
	case b.calls <- call:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.closing:
		return nil, errClosed
	}
	select {
	case <-call.done:
		return call.reply, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *batcher) run() {
	for {
		select {
		case <-b.closing:
			return
		case first := <-b.calls:
			b.send(b.take(first))
		}
	}
}

func (b *batcher) take(first *scriptCall) []*scriptCall {
	batch := []*scriptCall{first}
	for len(batch) < batchMax {
		select {
		case call := <-b.calls:
			batch = append(batch, call)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher) send(batch []*scriptCall) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	unknown := b.pipeline(ctx, batch, func(p redis.Pipeliner, c *scriptCall) *redis.Cmd {
		return c.script.EvalSha(ctx, p, c.keys, c.args...)
	})
	if len(unknown) > 0 { // a restarted Redis knows no scripts: send them in full
		b.pipeline(ctx, unknown, func(p redis.Pipeliner, c *scriptCall) *redis.Cmd {
			return c.script.Eval(ctx, p, c.keys, c.args...)
		})
	}
	for _, call := range batch {
		close(call.done)
	}
}

// pipeline sends a batch, stores replies, and returns the calls whose script Redis does not know.
func (b *batcher) pipeline(ctx context.Context, batch []*scriptCall,
	add func(redis.Pipeliner, *scriptCall) *redis.Cmd) []*scriptCall {
	cmds := make([]*redis.Cmd, len(batch))
	// The pipeline's own error is that of its first failed command; each command has its own.
	_, _ = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, call := range batch {
			cmds[i] = add(p, call)
		}
		return nil
	})
	var unknown []*scriptCall
	for i, call := range batch {
		call.reply, call.err = cmds[i].Result()
		if call.err != nil && strings.HasPrefix(call.err.Error(), "NOSCRIPT") {
			unknown = append(unknown, call)
		}
	}
	return unknown
}
