package providers

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Strangers bounds how often a source may knock without a valid signature, so that guessing and flooding cost the
// worker little. A source that verified lately is never slowed down, whoever else fails behind its address: senders
// share one where a proxy ends TLS. What strangers behind such an address cost is for the handler to bound. The zero
// value is ready, and safe for concurrent use.
type Strangers struct {
	mu sync.Mutex
	// failed are the sources that failed since then, verified those that verified, and when they did last.
	failed   map[string]*rate.Limiter
	since    time.Time
	verified map[string]time.Time
	// clock is nil for time.Now.
	clock func() time.Time
}

const (
	// strangerRate and strangerBurst are what a source that keeps failing may do: a probe every 2 s after the first 30.
	strangerRate  = rate.Limit(0.5)
	strangerBurst = 30
	// strangersMax bounds the memory of each kind. When that of failures is full, or an hour old, counting starts anew.
	strangersMax = 16384
	strangersAge = time.Hour
	// acquaintance is how long a verified source is never barred.
	acquaintance = 10 * time.Minute
)

// Barred reports whether a source has failed too often to be listened to now. A handler asks before it spends time
// on a request and answers 429.
func (s *Strangers) Barred(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, now := source(r), s.now()
	if at, known := s.verified[from]; known && now.Sub(at) < acquaintance {
		return false
	}
	l, known := s.failed[from]
	return known && l.TokensAt(now) < 1
}

// Failed counts a request that was not verified.
func (s *Strangers) Failed(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, now := source(r), s.now()
	l, known := s.failed[from]
	if s.failed == nil || !known && len(s.failed) >= strangersMax || now.Sub(s.since) > strangersAge {
		s.failed, s.since, known = map[string]*rate.Limiter{}, now, false
	}
	if !known {
		l = rate.NewLimiter(strangerRate, strangerBurst)
		s.failed[from] = l
	}
	l.AllowN(now, 1)
}

// Verified remembers the source of a request that was verified and is no replay of an old one.
func (s *Strangers) Verified(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, now := source(r), s.now()
	if _, known := s.verified[from]; !known && len(s.verified) >= strangersMax {
		s.verified = nil // only who holds a key can fill it, and each is back with its next request
	}
	if s.verified == nil {
		s.verified = map[string]time.Time{}
	}
	s.verified[from] = now
}

func (s *Strangers) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

// source is the peer's address without its port; of an IPv6 address the /64, which one sender usually owns whole.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return host
	}
	if ip.To4() != nil {
		return ip.String()
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
