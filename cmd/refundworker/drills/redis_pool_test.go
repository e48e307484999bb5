package drills

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Others take every connection that Redis has to give, and the workers lose theirs.
func TestRedisOutOfConnections(t *testing.T) {
	r := newOutage(t, "--maxclients", "120")
	r.begin(nil)
	before := r.load.all()
	var leave func()
	r.breaks(func() { leave = r.redis.crowd() }, "redis_unreachable")
	r.again(before)
	r.silent()
	leave()
	r.over()
	r.end()
}

// More refunds at once than a worker has connections, while Redis answers nothing for some seconds.
func TestRedisAnswersHeldUp(t *testing.T) {
	const refunds = 64
	r := newOutage(t)
	r.begin(nil)
	r.breaks(func() {
		for _, l := range r.links {
			l.hold()
		}
		r.load.publish(r.load.next(refunds), 1)
	}, "redis_unreachable")
	r.silent()
	for _, l := range r.links {
		l.release()
	}
	r.over()
	r.end()
}

// crowd takes every connection, the workers' too, until leave is called. The test's own client keeps its one.
func (r *redisProcess) crowd() (leave func()) {
	r.d.t.Helper()
	var crowd []net.Conn
	leave = func() {
		for _, c := range crowd {
			_ = c.Close()
		}
	}
	r.d.t.Cleanup(leave)
	own := r.rdb.Conn() // one connection that is kept, for a new one would be refused
	r.d.t.Cleanup(func() { _ = own.Close() })
	ctx := context.Background()
	if err := own.ClientSetName(ctx, "own").Err(); err != nil {
		r.d.t.Fatal(err)
	}
	r.d.until("every connection is taken", func() error {
		for {
			c, err := r.enter()
			if err != nil {
				break
			}
			crowd = append(crowd, c)
		}
		list, err := own.ClientList(ctx).Result()
		if err != nil {
			return err
		}
		others := 0
		for line := range strings.Lines(list) {
			if strings.Contains(line, " name=crowd ") || strings.Contains(line, " name=own ") {
				continue
			}
			others++
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			if err := own.Do(ctx, "CLIENT", "KILL", "ID", id).Err(); err != nil && !strings.Contains(err.Error(), "No such client") {
				return err
			}
		}
		if others > 0 {
			return fmt.Errorf("%d connections are others'", others)
		}
		return nil
	})
	return leave
}

// enter takes one connection, unless there is none left.
func (r *redisProcess) enter() (net.Conn, error) {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	if _, err = c.Write([]byte("CLIENT SETNAME crowd\r\n")); err == nil {
		var answer string
		if answer, err = bufio.NewReader(c).ReadString('\n'); err == nil && answer != "+OK\r\n" {
			err = fmt.Errorf("redis says %q", answer)
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}
