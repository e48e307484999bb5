package simulator

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	contentJSON = "application/json"
	contentText = "text/plain; charset=utf-8"
)

// trickles is into how many pieces a slow answer is cut.
const trickles = 16

// garbage looks like the page of a proxy on the way.
var garbage = reply{status: http.StatusOK, contentType: "text/html", body: []byte("<html><body>\x00\xff{\"respon")}

// reply is an HTTP answer before it is sent.
type reply struct {
	status      int
	contentType string
	body        []byte
}

func (p reply) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", p.contentType)
	w.WriteHeader(p.status)
	// The caller may be gone; what was executed stays executed.
	_, _ = w.Write(p.body)
}

// serve lets one call run under the faults in force. The protocol's execute does the call and returns the
// answer; given a refusal code it checks the caller as ever, but answers with that code instead of acting.
func (c *core) serve(w http.ResponseWriter, r *http.Request, about call, execute func(refuse string) reply) {
	fault := c.faults.pick(about)
	switch fault.Effect {
	case EffectDropBefore:
		hangUp()
	case EffectReset:
		reset(w)
	case EffectStatus:
		status, _ := strconv.Atoi(fault.Code) // checked when the fault was set
		reply{status: status, contentType: contentText, body: []byte("scripted fault\n")}.write(w)
	case EffectRefuse:
		execute(fault.Code).write(w)
	case EffectDelay:
		if !wait(r.Context(), fault.For) {
			hangUp()
		}
		execute("").write(w)
	case EffectDropAfter:
		execute("")
		hangUp()
	case EffectGarbage:
		execute("")
		garbage.write(w)
	case EffectSlowBody:
		execute("").trickle(w, r, fault.For)
	default:
		execute("").write(w)
	}
}

// hangUp makes the HTTP server close the connection without a further byte; it does not return.
func hangUp() { panic(http.ErrAbortHandler) }

// reset closes the connection so that the peer sees a reset instead of an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		hangUp()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is merely orderly, still a broken call
	}
	_ = conn.Close()
}

// trickle sends the headers at once and the body in pieces spread over the given time.
func (p reply) trickle(w http.ResponseWriter, r *http.Request, over time.Duration) {
	w.Header().Set("Content-Type", p.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	flusher := http.NewResponseController(w)
	size := (len(p.body) + trickles - 1) / trickles
	pieces := slices.Collect(slices.Chunk(p.body, size))
	for _, piece := range pieces {
		if flusher.Flush() != nil || !wait(r.Context(), over/time.Duration(len(pieces))) {
			hangUp()
		}
		if _, err := w.Write(piece); err != nil {
			hangUp()
		}
	}
}

// wait reports whether the time passed before the caller hung up or the server closed.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
