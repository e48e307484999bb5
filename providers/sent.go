package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"
)

// gatedConn counts writes and can be shut for good. Counting alone would not do: after a cancelled call,
// net/http may still write the request from another goroutine.
type gatedConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
	shut   bool
}

// Write counts before it writes, so that a write in progress is never mistaken for none.
func (c *gatedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *gatedConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// shutUnless shuts the connection if nothing was written since the count, and reports whether it did.
func (c *gatedConn) shutUnless(count int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes == count {
		c.shut = true
	}
	return c.shut
}

// watch follows one request to the connection that it is given. net/http calls gotConn on the goroutine of
// the call, before it starts to write.
type watch struct {
	given bool
	sent  bool
	conn  *gatedConn
	count int
}

func (w *watch) gotConn(info httptrace.GotConnInfo) {
	// A second connection means that net/http repeats a bodiless request; the first may have been sent.
	w.sent = w.sent || !w.stopUnsent()
	w.given = true
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if w.conn, _ = conn.(*gatedConn); w.conn != nil {
		w.count = w.conn.count()
	}
}

// stopUnsent reports whether no byte of the request was sent, and makes sure that none will be.
func (w *watch) stopUnsent() bool {
	if w.sent || !w.given {
		return !w.sent
	}
	return w.conn != nil && w.conn.shutUnless(w.count)
}

var errTooLong = errors.New("answer longer than the limit")

// cleanError is the cause in our own words: net/http quotes what a server sent in some of its errors.
type cleanError struct {
	text  string
	cause error
}

func (e *cleanError) Error() string { return e.text }

// Unwrap returns the cause for errors.Is; its text is not for printing.
func (e *cleanError) Unwrap() error { return e.cause }

func clean(err error) error { return &cleanError{text: describe(err), cause: err} }

func describe(err error) string {
	var (
		timeout net.Error
		name    *net.DNSError
		errno   syscall.Errno
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.As(err, &name):
		return "host name not resolved"
	case isTLS(err):
		return "tls handshake refused"
	case errors.As(err, &op) && errors.As(err, &errno):
		return op.Op + ": " + errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed before the answer was complete"
	}
	return "no readable answer"
}

func isTLS(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &hostname)
}
