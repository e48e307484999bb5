package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"refundworker/providers"
)

// account is whether the provider takes our credentials. While it does not, every refund would fail alike, so the whole
// instance rests, ever longer, and then asks with one refund before it lets others through. It is safe for concurrent use.
type account struct {
	mu sync.Mutex
	// refusals counts them in a row; 0 means that nothing is wrong.
	refusals int
	rests    time.Time
	probing  time.Time
}

const (
	restFloor = time.Minute
	restMost  = 15 * time.Minute
	// probeLimit is when a probe that was never heard of again no longer keeps others out.
	probeLimit = 2 * time.Minute
)

// resting tells how long nothing should be pulled; 0 when the provider may be asked.
func (a *account) resting(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.refusals == 0:
		return 0
	case now.Before(a.rests):
		return a.rests.Sub(now)
	case now.Before(a.probing):
		return time.Second
	}
	return 0
}

// doubted tells whether the credentials were refused and nothing was heard since.
func (a *account) doubted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusals > 0
}

// enter reports whether a call may be made now. After a rest the first one is the probe.
func (a *account) enter(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refusals == 0 {
		return true
	}
	if now.Before(a.rests) || now.Before(a.probing) {
		return false
	}
	a.probing = now.Add(probeLimit)
	return true
}

// refused notes that the provider did not take our credentials, and tells how long to rest. Calls that were under way at
// once count as one.
func (a *account) refused(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.rests) {
		return a.rests.Sub(now)
	}
	rest := restMost
	if a.refusals < 4 {
		rest = min(restFloor<<a.refusals, restMost)
	}
	a.refusals++
	a.rests, a.probing = now.Add(rest), time.Time{}
	return rest
}

// accepted notes an answer to our credentials, whatever it was, and reports whether they had been refused.
func (a *account) accepted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.refusals > 0
	a.refusals, a.rests, a.probing = 0, time.Time{}, time.Time{}
	return was
}

// heard takes in what a call says about our credentials. A call without an answer says nothing.
func (p *processor) heard(ctx context.Context, err error) {
	kind := providers.KindOf(err)
	switch {
	case err != nil && kind == providers.Unauthorized:
		rest := p.account.refused(time.Now())
		p.obs.log.ErrorContext(ctx, "the provider does not take our credentials: it is left alone for a while",
			"provider", string(p.in.Name), "rest", rest.String(), "error", err.Error())
	case err == nil, kind == providers.Invalid, errors.Is(err, providers.ErrRefused):
		if p.account.accepted() {
			p.obs.log.InfoContext(ctx, "the provider takes our credentials again", "provider", string(p.in.Name))
		}
	}
}
