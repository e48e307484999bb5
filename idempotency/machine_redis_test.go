package idempotency

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// The machines of this package draw their actions with rapid. More of them are tried with, for example,
//
//	go test -race -run Machine -rapid.checks=10000 ./idempotency

// fails is what a machine needs of a test.
type fails interface {
	Helper()
	Fatalf(format string, args ...any)
}

// ground is what a machine stands on: one Redis, and time.
type ground struct {
	rdb redis.UniversalClient
	// settable tells that time passes only when the machine says so.
	settable bool
}

// onFakeGround runs machine on the embedded Redis, with workers and Redis in one fake time.
func onFakeGround(t *rapid.T, machine func(t *rapid.T, g *ground)) {
	rapid.SyncTest(t, func(t *rapid.T) {
		g, stop := newFakeGround()
		defer stop()
		machine(t, g)
	})
}

// newFakeGround is for use in a bubble of fake time.
func newFakeGround() (g *ground, stop func()) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	dial := func(context.Context, string, string) (net.Conn, error) {
		conn, err := server.Dial()
		if err != nil {
			return nil, err
		}
		return newQueued(conn), nil
	}
	// The address is never dialled; one that is a number is never looked up either.
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1})
	return &ground{rdb: rdb, settable: true}, func() { _ = rdb.Close(); server.Close() }
}

// queued is a connection in memory whose writes do not wait for the reader: a pipeline is sent whole before its first
// reply is read.
type queued struct {
	net.Conn
	out  chan []byte
	done chan struct{}
	once sync.Once
}

func newQueued(conn net.Conn) *queued {
	q := &queued{Conn: conn, out: make(chan []byte, 64), done: make(chan struct{})}
	go func() {
		for {
			select {
			case b := <-q.out:
				_, _ = conn.Write(b) // an end of the connection is seen by the reader
			case <-q.done:
				return
			}
		}
	}()
	return q
}

func (q *queued) Write(b []byte) (int, error) {
	q.out <- slices.Clone(b)
	return len(b), nil
}

func (q *queued) SetDeadline(t time.Time) error    { return q.SetReadDeadline(t) }
func (q *queued) SetWriteDeadline(time.Time) error { return nil }

func (q *queued) Close() error {
	q.once.Do(func() { close(q.done) })
	return q.Conn.Close()
}

// eachGround runs a machine's checks on the embedded Redis in fake time, and on a real redis-server.
func eachGround(t *testing.T, machine func(t *rapid.T, g *ground)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) { onFakeGround(t, machine) })
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		rdb := realRedis(t)
		rapid.Check(t, func(t *rapid.T) {
			if err := rdb.FlushAll(context.Background()).Err(); err != nil {
				t.Fatalf("flush: %v", err)
			}
			machine(t, &ground{rdb: rdb})
		})
	})
}

// now is Redis's time.
func (g *ground) now(t fails) time.Time {
	t.Helper()
	at, err := g.rdb.Time(context.Background()).Result()
	if err != nil {
		t.Fatalf("time: %v", err)
	}
	return at.Truncate(time.Millisecond).UTC()
}

// reach waits until Redis's clock has passed a moment that is near.
func (g *ground) reach(t fails, at time.Time) {
	t.Helper()
	for !g.now(t).After(at) {
		time.Sleep(time.Millisecond)
	}
}

// stored is one key's content.
type stored struct {
	hash    map[string]string
	scores  map[string]float64
	text    string
	expires time.Time // zero: never
}

// keys reads all that Redis holds under a prefix.
func (g *ground) keys(t fails, prefix string) map[string]stored {
	t.Helper()
	ctx := context.Background()
	names, err := g.rdb.Keys(ctx, prefix+"*").Result()
	if err != nil {
		t.Fatalf("keys: %v", err)
	}
	slices.Sort(names)
	now := g.now(t)
	pipe := g.rdb.Pipeline()
	hashes, texts, ttls := map[string]*redis.MapStringStringCmd{}, map[string]*redis.StringCmd{}, map[string]*redis.DurationCmd{}
	sets := map[string]*redis.ZSliceCmd{}
	for _, name := range names {
		switch {
		case isText(name):
			texts[name] = pipe.Get(ctx, name)
		case isSet(name):
			sets[name] = pipe.ZRangeWithScores(ctx, name, 0, -1)
		default:
			hashes[name] = pipe.HGetAll(ctx, name)
		}
		ttls[name] = pipe.PTTL(ctx, name)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("read keys: %v", err)
	}
	all := map[string]stored{}
	for name, ttl := range ttls {
		s := stored{}
		switch {
		case isText(name):
			s.text = texts[name].Val()
		case isSet(name):
			s.scores = map[string]float64{}
			for _, z := range sets[name].Val() {
				s.scores[z.Member.(string)] = z.Score
			}
		default:
			s.hash = hashes[name].Val()
		}
		switch left := ttl.Val(); {
		case left == -2: // gone since
			continue
		case left > 0:
			s.expires = now.Add(left)
		}
		all[name] = s
	}
	return all
}

func isSet(name string) bool { return strings.HasSuffix(name, ":open") }

func isText(name string) bool {
	return strings.HasSuffix(name, ":projector") || strings.HasSuffix(name, ":beat") || strings.HasSuffix(name, ":oldest")
}

// put gives Redis back an older content: what runs out has gone on doing so.
func (g *ground) put(t fails, content map[string]stored) {
	t.Helper()
	ctx := context.Background()
	pipe := g.rdb.TxPipeline()
	pipe.FlushAll(ctx)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		s := content[name]
		switch {
		case isText(name):
			pipe.Set(ctx, name, s.text, 0)
		case isSet(name):
			for member, score := range s.scores {
				pipe.ZAdd(ctx, name, redis.Z{Score: score, Member: member})
			}
		default:
			pipe.HSet(ctx, name, s.hash)
		}
		if !s.expires.IsZero() {
			pipe.PExpireAt(ctx, name, s.expires)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatalf("put back: %v", err)
	}
}

// lose drops all that Redis holds under a prefix.
func (g *ground) lose(t fails, prefix string) {
	t.Helper()
	ctx := context.Background()
	names, err := g.rdb.Keys(ctx, prefix+"*").Result()
	if err == nil && len(names) > 0 {
		err = g.rdb.Del(ctx, names...).Err()
	}
	if err != nil {
		t.Fatalf("lose %s: %v", prefix, err)
	}
}
