package drills

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// link is a connection between a worker and a server that the test can cut, slow down, hold up or lead elsewhere.
type link struct {
	d    *drill
	addr string

	mu    sync.Mutex
	to    string
	conns map[net.Conn]bool
	delay time.Duration
	// down refuses connections. held is closed when replies may pass.
	down bool
	held chan struct{}
	// watch is what a request must hold for seen to be told, once, before it is passed on.
	watch []byte
	seen  func(l *link) (pass bool)
	// torn is how much after the text is passed on all the same of a request that is not.
	torn int
}

// link starts a link to a server.
func (d *drill) link(to string) *link {
	d.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	l := &link{d: d, addr: listener.Addr().String(), to: to, conns: map[net.Conn]bool{}, held: open}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(c)
		}
	})
	d.t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		l.release()
		l.cut()
	})
	return l
}

func (l *link) serve(client net.Conn) {
	defer client.Close()
	l.mu.Lock()
	to, down := l.to, l.down
	l.mu.Unlock()
	if down {
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if !l.add(client, server) {
		return
	}
	defer l.remove(client, server)
	done := make(chan struct{}, 2)
	go func() { l.requests(server, client); done <- struct{}{} }()
	go func() { l.replies(client, server); done <- struct{}{} }()
	<-done
}

func (l *link) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = true
	}
	return !l.down
}

func (l *link) remove(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		delete(l.conns, c)
	}
}

// requests passes on what the worker sends, and tells when it holds what is watched for.
func (l *link) requests(server, client net.Conn) {
	buf, tail := make([]byte, 64<<10), []byte(nil)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		tail = append(tail, buf[:n]...)
		if seen := l.sees(tail); seen != nil && !seen(l) {
			_, _ = server.Write(l.piece(tail, n)) // the server may be gone
			return
		}
		tail = tail[max(0, len(tail)-256):]
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) sees(data []byte) func(*link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || !bytes.Contains(data, l.watch) {
		return nil
	}
	seen := l.seen
	l.seen = nil
	return seen
}

// replies passes on what the server sends, late or held up as the link says.
func (l *link) replies(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		delay, held := l.delay, l.held
		l.mu.Unlock()
		if delay > 0 {
			<-time.After(delay)
		}
		<-held
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut breaks every connection off. New ones are accepted.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

// refuse cuts the link and refuses new connections until mend.
func (l *link) refuse() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.cut()
}

// mend accepts connections again.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// lead sends connections elsewhere from now on, and breaks the others off.
func (l *link) lead(to string) {
	l.mu.Lock()
	l.to = to
	l.mu.Unlock()
	l.cut()
}

// slow delays every reply.
func (l *link) slow(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = by
}

// hold keeps replies back until release.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.held:
	default:
		close(l.held)
	}
}

// when tells, once, that a request holds the text, before it is passed on: not at all unless pass is returned.
func (l *link) when(text string, seen func(l *link) (pass bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch, l.seen = []byte(text), seen
}

// tear breaks the connection off, once, in the middle of a request: so much after the text is passed on, and no more.
func (l *link) tear(text string, after int, seen func(l *link)) {
	l.when(text, func(l *link) bool { seen(l); return false })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.torn = after
}

// piece is what is passed on of a request that is broken off. The last n bytes of data have not been passed on yet.
func (l *link) piece(data []byte, n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn == 0 {
		return nil
	}
	end := bytes.Index(data, l.watch) + len(l.watch) + l.torn
	l.torn = 0
	return data[len(data)-n : min(end, len(data))]
}
