package providers

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Strangers bounds how often a source may knock without a valid signature, so that guessing and flooding cost the
// worker little. Sources that are verified are never slowed down. It is safe for concurrent use.
type Strangers struct {
	mu      sync.Mutex
	sources map[string]*rate.Limiter
	since   time.Time
}

const (
	// strangerRate and strangerBurst are what a source that keeps failing may do: a probe every 2 s after the first 30.
	strangerRate  = rate.Limit(0.5)
	strangerBurst = 30
	// strangersMax bounds the memory. When it is full, or an hour old, counting starts anew.
	strangersMax = 16384
	strangersAge = time.Hour
)

// Barred reports whether a source has failed too often to be listened to now. A handler asks before it spends time
// on a request and answers 429.
func (s *Strangers) Barred(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, known := s.sources[source(r)]
	return known && l.Tokens() < 1
}

// Failed counts a request that was not verified.
func (s *Strangers) Failed(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.sources == nil || len(s.sources) >= strangersMax || now.Sub(s.since) > strangersAge {
		s.sources, s.since = map[string]*rate.Limiter{}, now
	}
	l, known := s.sources[source(r)]
	if !known {
		l = rate.NewLimiter(strangerRate, strangerBurst)
		s.sources[source(r)] = l
	}
	l.Allow()
}

// source is the peer's address without its port; of an IPv6 address the /64, which one sender usually owns whole.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
