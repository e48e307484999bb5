package craftgate

import (
	"maps"
	"sync"
	"time"
)

const (
	// handledFor is how long an event that was acted on is not acted on again. What became of the refund was looked up then.
	handledFor = 30 * time.Second
	// handledMax bounds the memory; when it is full of such events, remembering starts anew.
	handledMax = 4096
)

// handled remembers the events that were acted on a moment ago: one that somebody has caught can be sent again and again,
// and each time would cost a request to Craftgate. The zero value is ready, and safe for concurrent use.
type handled struct {
	mu sync.Mutex
	at map[event]time.Time
}

func (h *handled) has(e event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, known := h.at[e]
	return known && time.Since(at) < handledFor
}

func (h *handled) add(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.at) >= handledMax {
		maps.DeleteFunc(h.at, func(_ event, at time.Time) bool { return time.Since(at) >= handledFor })
	}
	if h.at == nil || len(h.at) >= handledMax {
		h.at = map[event]time.Time{}
	}
	h.at[e] = time.Now()
}
