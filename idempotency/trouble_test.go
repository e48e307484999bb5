package idempotency

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// lateRedis is an embedded Redis whose replies come late, by what late says of the request before. It is for use in a
// bubble of fake time.
func lateRedis(t *testing.T, late func(request []byte) time.Duration) redis.UniversalClient {
	server := miniredis.NewMiniRedis()
	dial := func(context.Context, string, string) (net.Conn, error) {
		own, err := server.Dial()
		if err != nil {
			return nil, err
		}
		theirs, client := net.Pipe()
		delays := make(chan time.Duration, 64)
		go func() {
			defer own.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := theirs.Read(buf)
				if err != nil {
					return
				}
				delays <- late(buf[:n])
				if _, err := own.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		go func() {
			defer theirs.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := own.Read(buf)
				if err != nil {
					return
				}
				select {
				case d := <-delays:
					time.Sleep(d)
				default: // the rest of a reply
				}
				if _, err := theirs.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		return client, nil
	}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() {
		_ = rdb.Close()
		server.Close()
		time.Sleep(time.Minute) // replies that are late still end
	})
	return rdb
}

// A Redis that answers late is relied on as long as it answers; one that does not is unreachable, whatever it was asked.
func TestLateRedis(t *testing.T) {
	for _, row := range []struct {
		name string
		late func(request []byte) time.Duration
		want Reason
	}{
		{"at once", func([]byte) time.Duration { return 0 }, Ready},
		{"300 ms late", func([]byte) time.Duration { return 300 * time.Millisecond }, Ready},
		{"3 s late", func([]byte) time.Duration { return 3 * time.Second }, RedisUnreachable},
		{"3 s late with writes only", func(request []byte) time.Duration {
			if bytes.Contains(request, []byte(":beat")) {
				return 3 * time.Second
			}
			return 0
		}, RedisUnreachable},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := New(lateRedis(t, row.late), Config{Namespace: "test", Volatile: true})
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				for i := range 3 { // the first one connects
					if l := store.newWatch(nil).look(t.Context()); l.trouble() != row.want || (l.words() == "") != (row.want == Ready) {
						t.Errorf("look %d: %q, %q; want %q", i, l.trouble(), l.words(), row.want)
					}
				}
			})
		})
	}
}

// What a real Redis says against being written or read, and what becomes of it.
func TestRedisThatSaysNo(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   [][]any
		want Reason
		says string
	}{
		{"a replica", [][]any{{"REPLICAOF", "127.0.0.1", "1"}}, RedisReadOnly, "READONLY"},
		{"no replicas", [][]any{{"CONFIG", "SET", "min-replicas-to-write", 1}}, RedisReadOnly, "NOREPLICAS"},
		{"no memory", [][]any{{"CONFIG", "SET", "maxmemory", 1}}, RedisReadOnly, "OOM"},
		{"not saved", [][]any{{"CONFIG", "SET", "save", "3600 1"}, {"BGSAVE"}}, RedisReadOnly, "MISCONF"},
		{"may not write", [][]any{{"ACL", "SETUSER", "default", "-set"}}, RedisReadOnly, "NOPERM"},
		{"may not read", [][]any{{"ACL", "SETUSER", "default", "-hmget"}}, RedisRefuses, "NOPERM"},
		{"may not ask for the settings", [][]any{{"ACL", "SETUSER", "default", "-info"}}, RedisRefuses, "NOPERM"},
		{"something else under our name", [][]any{{"SET", Config{Namespace: "test"}.WithDefaults().keys().position(0), "x"}}, RedisRefuses, "WRONGTYPE"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rdb := realRedis(t)
			store, err := New(rdb, Config{Namespace: "test"})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if l := store.newWatch(nil).look(t.Context()); l.trouble() != Ready {
				t.Fatalf("before: %q, %q", l.trouble(), l.words())
			}
			if dir := rdb.ConfigGet(t.Context(), "dir").Val()["dir"]; row.says == "MISCONF" && os.Remove(dir) != nil {
				t.Fatalf("cannot take %s away", dir)
			}
			for _, args := range row.do {
				_ = rdb.Do(t.Context(), args...).Err() // what is refused is the point
			}
			eventually(t, "it is noticed", func() bool { return store.newWatch(nil).look(t.Context()).trouble() == row.want })
			if l := store.newWatch(nil).look(t.Context()); !bytes.Contains([]byte(l.words()), []byte(row.says)) {
				t.Errorf("the words are %q, want %q in them", l.words(), row.says)
			}
		})
	}
}

// A client's own error is not taken for the server's word.
func TestTroubleOfTheClient(t *testing.T) {
	for _, err := range []error{io.EOF, context.DeadlineExceeded, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}} {
		if got := (look{unwritten: err}).trouble(); got != RedisUnreachable {
			t.Errorf("%v with a write: %q, want %q", err, got, RedisUnreachable)
		}
		if got := (look{err: err}).trouble(); got != RedisUnreachable {
			t.Errorf("%v with a read: %q, want %q", err, got, RedisUnreachable)
		}
	}
}

// A look that ends with the worker says nothing: Redis was not asked to the end.
func TestLookThatIsBrokenOff(t *testing.T) {
	rdb := realRedis(t)
	s := startSystem(t, rdb, newMemoryJournal(), Config{}).ready()
	s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.store.newWatch(s.journal).once(ctx); err != nil {
		t.Fatal(err)
	}
	if reason, said := s.store.Gate().Why(); reason != Ready {
		t.Errorf("after a look that was broken off: %q, %q; want ready", reason, said)
	}
}
