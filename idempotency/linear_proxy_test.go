package idempotency

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// badLine is a TCP proxy that spoils connections: it holds requests back, cuts a connection before a request has
// gone through, and cuts it after the request has, so that the reply is lost.
//
// A connection is closed towards the client only after the server has done everything that went through. So a
// request never takes effect after its client has seen the cut, and what a client sends again comes second.
type badLine struct {
	listener net.Listener
	target   string
	spoils   atomic.Bool
	running  sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]bool
	// lost is what went through last before each cut, noted before a client can see the cut.
	lost [][]byte
}

func newBadLine(t *testing.T, target string, seed uint64) *badLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &badLine{listener: l, target: target, random: rand.New(rand.NewPCG(seed, 1)), open: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *badLine) addr() string { return p.listener.Addr().String() }

func (p *badLine) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *badLine) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		p.running.Go(func() { p.carry(client, server.(*net.TCPConn)) })
	}
}

func (p *badLine) carry(client net.Conn, server *net.TCPConn) {
	var deaf atomic.Bool
	var back sync.WaitGroup
	back.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if n > 0 && !deaf.Load() {
				_, _ = client.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	})
	p.forth(client, server, &deaf)
	_ = server.CloseWrite() // the server answers what it has, and closes: then all of it is done
	back.Wait()
	p.mu.Lock()
	delete(p.open, client)
	delete(p.open, server)
	p.mu.Unlock()
	client.Close()
	server.Close()
}

// cuts is the number of connections cut so far.
func (p *badLine) cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lost)
}

// lostSince tells in how many cuts, after so many, the reply to something with this token may have been lost.
func (p *badLine) lostSince(cuts int, token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, text := range p.lost[cuts:] {
		if bytes.Contains(text, []byte(token)) {
			n++
		}
	}
	return n
}

// forth carries requests until the connection ends or is cut.
func (p *badLine) forth(client io.Reader, server io.Writer, deaf *atomic.Bool) {
	buf := make([]byte, 64<<10)
	var passed [4][]byte // a batch comes in one piece or two; more than enough is remembered
	for i := 0; ; i++ {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		fault := p.next()
		if fault == holdBack {
			time.Sleep(p.delay())
		}
		if fault != cutBefore {
			passed[i%len(passed)] = bytes.Clone(buf[:n])
		}
		if fault == cutBefore || fault == cutAfter {
			deaf.Store(true)
			p.lose(bytes.Join([][]byte{passed[(i+1)%4], passed[(i+2)%4], passed[(i+3)%4], passed[i%4]}, nil))
		}
		if fault == cutBefore {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil || fault == cutAfter {
			return
		}
	}
}

func (p *badLine) lose(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = append(p.lost, text)
}

type fault int

const (
	none fault = iota
	holdBack
	cutBefore
	cutAfter
)

func (p *badLine) next() fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.spoils.Load() {
		return none
	}
	switch n := p.random.IntN(100); {
	case n < 1:
		return cutBefore
	case n < 5:
		return cutAfter
	case n < 13:
		return holdBack
	}
	return none
}

func (p *badLine) delay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.random.IntN(12000)) * time.Microsecond
}
