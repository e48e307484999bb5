package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"refundworker/providers"
)

// rest is a time in which a provider is left alone because it takes no calls of ours, be it for our credentials or for their
// number: every refund would fare alike. It is the longer the more of them follow each other, and after it one call asks
// before others are let through. It is safe for concurrent use.
type rest struct {
	// floor is the first rest and most the longest, whatever the provider asks for.
	floor, most time.Duration
	// firm: an answer that comes during the rest does not end it, since it is to a call from before.
	firm bool

	mu sync.Mutex
	// refusals counts the rests in a row; 0 means that nothing is wrong.
	refusals int
	until    time.Time
	// probing: one call is asking.
	probing bool
}

// room is how many calls may be begun now.
func (r *rest) room(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.refusals == 0:
		return unbounded
	case r.probing, now.Before(r.until):
		return 0
	}
	return 1
}

// doubted tells whether calls were refused and none was taken since.
func (r *rest) doubted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusals > 0
}

// enter reports whether a call may be begun. After a rest the first one is the probe, until its end is told.
func (r *rest) enter(now time.Time) (end func(verdict), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.refusals == 0:
		return func(verdict) {}, true
	case r.probing, now.Before(r.until):
		return nil, false
	}
	r.probing = true
	mine := r.until
	return func(verdict) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.until.Equal(mine) { // or it was heard, and another one may be asking
			r.probing = false
		}
	}, true
}

// refused notes that the provider took no call, and for how long it wants none if it says so. It tells how long to rest, and
// whether the rest begins: calls that were under way at once count as one.
func (r *rest) refused(now time.Time, wish time.Duration) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wish = min(wish, r.most)
	if now.Before(r.until) {
		if asked := now.Add(wish); asked.After(r.until) {
			r.until = asked
		}
		return r.until.Sub(now), false
	}
	if wish <= 0 {
		wish = min(r.floor<<min(r.refusals, 20), r.most)
	}
	r.refusals++
	r.until, r.probing = now.Add(wish), false
	return wish, true
}

// accepted notes an answer to a call, whatever it was, and reports whether calls had been refused.
func (r *rest) accepted(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals == 0 || r.firm && now.Before(r.until) {
		return false
	}
	r.refusals, r.until, r.probing = 0, time.Time{}, false
	return true
}

// heard takes in what a call says about the provider, where an answer says good. A call without an answer says nothing about
// credentials and the number of calls.
func (p *processor) heard(ctx context.Context, asked *pass, good verdict, err error) {
	asked.hears(weigh(good, err))
	now, b := time.Now(), p.brakes
	kind, wish := providers.KindOf(err), time.Duration(0)
	var said *providers.Error
	if errors.As(err, &said) {
		wish = said.RetryAfter
	}
	switch {
	case err == nil, kind == providers.Invalid, errors.Is(err, providers.ErrRefused):
		if b.account.accepted(now) {
			p.obs.log.InfoContext(ctx, "the provider takes our credentials again", "provider", string(p.in.Name))
		}
		if b.quota.accepted(now) {
			p.obs.log.InfoContext(ctx, "the provider takes calls again", "provider", string(p.in.Name))
		}
	case kind == providers.Unauthorized:
		if rest, began := b.account.refused(now, 0); began {
			p.obs.log.ErrorContext(ctx, "the provider does not take our credentials: it is left alone for a while",
				"provider", string(p.in.Name), "rest", rest.String(), "error", err.Error())
		}
	case kind == providers.RateLimited:
		if rest, began := b.quota.refused(now, wish); began {
			p.obs.log.WarnContext(ctx, "the provider wants fewer calls: it is left alone for a while",
				"provider", string(p.in.Name), "rest", rest.String(), "asked", wish.String())
		}
	}
}
