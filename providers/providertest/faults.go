package providertest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"refundworker/providers"
)

// traffic counts the requests that reach a provider.
type traffic struct {
	mu         sync.Mutex
	all, money int
}

// count wraps a handler. A nil moves counts no request as moving money.
func (c *traffic) count(moves func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			c.all++
			if moves != nil && moves(r) {
				c.money++
			}
			c.mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
}

func (c *traffic) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

func (c *traffic) moving() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.money
}

// fault is one way in which a request that moves money goes wrong.
type fault struct {
	name string
	// applied: the provider executes the request all the same.
	applied bool
	want    providers.Kind
	// stalls: no answer comes, so that the caller's deadline has to end the call.
	stalls bool
	// answer writes the fault; body is the true answer when the request was executed.
	answer func(w http.ResponseWriter, r *http.Request, body []byte)
}

// hugeBody is well above any limit that an adapter should have.
const hugeBody = 10 << 20

var faults = []fault{
	{name: "reset before the effect", answer: hangUp("")},
	{name: "reset after the effect", applied: true, answer: hangUp("")},
	{name: "reset inside the header", applied: true, answer: hangUp("HTTP/1.1 200 OK\r\nContent-Ty")},
	{name: "reset before the body", applied: true, answer: hangUp("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n")},
	{name: "reset inside the body", applied: true, answer: hangUp("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"res")},
	{name: "no http at all", applied: true, answer: hangUp("SSH-2.0-OpenSSH_9.9\r\n")},
	{name: "timeout before the effect", stalls: true, answer: stall(false)},
	{name: "timeout after the effect", applied: true, stalls: true, answer: stall(false)},
	{name: "slow body", applied: true, stalls: true, answer: stall(true)},
	{name: "empty answer", applied: true, answer: plain(200, "application/json", "")},
	{name: "no content", applied: true, answer: plain(204, "", "")},
	{name: "json of another kind", applied: true, answer: plain(200, "application/json", "[]")},
	{name: "page with status 200", applied: true, answer: plain(200, "text/html", "<html><body>welcome</body></html>")},
	{name: "damaged body", applied: true, answer: func(w http.ResponseWriter, _ *http.Request, body []byte) {
		plain(200, "application/json", string(body[:len(body)*2/3]))(w, nil, nil)
	}},
	{name: "body over the limit", applied: true, answer: func(w http.ResponseWriter, _ *http.Request, body []byte) {
		plain(200, "application/json", string(body)+strings.Repeat(" ", hugeBody))(w, nil, nil)
	}},
	{name: "server error before the effect", answer: plain(500, "text/plain", "oops")},
	{name: "server error after the effect", applied: true, answer: plain(500, "text/plain", "oops")},
	{name: "bad gateway", applied: true, answer: plain(502, "text/html", "<html><body>bad gateway</body></html>")},
	{name: "redirect", applied: true, answer: redirect(http.StatusFound)},
	{name: "redirect that keeps the method", answer: redirect(http.StatusTemporaryRedirect)},
	{name: "too many requests", want: providers.RateLimited, answer: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Retry-After", "7")
		plain(http.StatusTooManyRequests, "text/plain", "slow down")(w, nil, nil)
	}},
}

func runFaults(t *testing.T, h Harness) {
	all := append([]fault(nil), faults...)
	for name, a := range h.Odd {
		all = append(all, fault{name: "odd answer: " + name, answer: plain(a.Status, a.ContentType, a.Body)})
	}
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) { runFault(t, h, f) })
	}
}

// runFault checks the whole way out of a doubt: one request left, its error says what may have happened, and
// the lookup then tells what did.
func runFault(t *testing.T, h Harness, f fault) {
	var seen traffic
	w := h.New(t, func(next http.Handler) http.Handler {
		return seen.count(h.Moves)(f.around(h.Moves, next))
	})
	r := ready(t, w, w.Refundable(0))
	limit := patience
	if f.stalls {
		limit = time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	res, err := w.Provider.Refund(ctx, r)
	if err == nil || providers.KindOf(err) != f.want {
		t.Errorf("Refund: got status %v, error %v, want an error of kind %v", res.Status, err, f.want)
	}
	wantClean(t, err)
	if got := seen.moving(); got != 1 {
		t.Errorf("requests that move money: got %d, want 1: nothing may be repeated or followed", got)
	}
	if f.applied {
		wantMovements(t, w, 1)
	} else {
		wantMovements(t, w, 0)
	}
	if !w.Provider.Capabilities().Lookup {
		return
	}
	if f.applied {
		wantFinding(t, w, r, providers.Found)
	} else {
		wantFinding(t, w, r, providers.NotFound)
	}
}

// wantClean looks for text of the answers above in an error.
func wantClean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, leak := range []string{"<html", "SSH-2.0", "oops", "slow down", `{"`} {
		if strings.Contains(err.Error(), leak) {
			t.Errorf("the error quotes the answer: %v", err)
		}
	}
}

// around serves every request that moves money with the fault, and all others truly.
func (f fault) around(moves func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !moves(r) {
			next.ServeHTTP(w, r)
			return
		}
		honest := httptest.NewRecorder()
		if f.applied {
			next.ServeHTTP(honest, r)
		}
		// A server notices a caller that hangs up only after it has read the whole request.
		_, _ = io.Copy(io.Discard, r.Body)
		f.answer(w, r, honest.Body.Bytes())
	})
}

func plain(status int, contentType, body string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func redirect(status int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(status)
	}
}

// hangUp writes bytes as they are and resets the connection.
func hangUp(text string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = buffered.WriteString(text)
		_ = buffered.Flush()
		if tcp, ok := conn.(*net.TCPConn); ok && text == "" {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// stall writes half of the answer, or nothing of it, and then waits until the caller gives up.
func stall(half bool) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if half {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}
