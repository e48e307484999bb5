package refund

import (
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// put is what became of an append.
type put int

const (
	// unknown: time ran out. It may be stored.
	unknown put = iota
	stored
	// stale: it was refused, and what is there is not ours.
	stale
)

// put appends until the event is stored, refused, or time is out. A refusal, and silence, prove nothing about who was
// first: the head does, where owner, attempt and kind are the own ones.
func (p *Protocol) put(e ledger.Entry, after uint64, until time.Time) (uint64, put) {
	for wait := appendPause; ; wait = min(2*wait, appendPauseMax) {
		if isOver(p.Clock.Now(), until) {
			return 0, unknown
		}
		done, err := p.Log.Append(e, after)
		if err == nil && !done.Stale {
			return done.Seq, stored
		}
		head, err := p.Log.Head(e.Event.RequestID)
		switch {
		case err != nil:
		case head.Seq > after && isOurs(head, e):
			return head.Seq, stored
		case head.Seq != after:
			return 0, stale
		}
		p.Clock.Sleep(wait)
	}
}

// isOurs reports whether an entry is the very one that was to be appended.
func isOurs(head, e ledger.Entry) bool {
	return head.Owner == e.Owner && head.ID == e.ID && head.Event.Kind == e.Event.Kind && head.Event.Attempt == e.Event.Attempt
}

// finding is what came of journalling what happened.
type finding int

const (
	// unrecorded: time ran out.
	unrecorded finding = iota
	recorded
	// overtaken: somebody stored something first. What was to be said may be wrong by now, and is decided anew.
	overtaken
	// known: an outcome is there, and it says nothing else.
	known
	// contradicted: an outcome is there that cannot be true beside this one.
	contradicted
)

// record journals what happened, behind the head that it was decided from. Money that moved is true whatever was stored
// meanwhile: it is appended behind the new head, also past the lease, while there is no outcome. Everything else is
// dropped. This is the one ending of workers, notices and operators.
func (p *Protocol) record(refund ledger.Refund, e ledger.Entry, until time.Time) finding {
	attempt := refund.Attempts
	if moved(e.Event.Kind) {
		if grace := p.Clock.Now().Add(p.RecordGrace); grace.After(until) {
			until = grace
		}
	}
	for {
		switch _, put := p.put(e, refund.Head, until); put {
		case stored:
			return recorded
		case unknown:
			return unrecorded
		}
		chain, ok := p.chainUntil(e.Event.RequestID, until)
		if !ok {
			return unrecorded
		}
		refund = ledger.Fold(chain, 0)
		switch {
		case refund.Outcome != nil:
			return judge(e.Event, attempt, *refund.Outcome)
		case !moved(e.Event.Kind):
			return overtaken
		}
	}
}

// judge holds what was to be said against the outcome that is there. An older attempt's "no" says nothing about a later
// attempt that succeeded.
func judge(e schemas.Event, attempt int, outcome schemas.Event) finding {
	switch {
	case e.Kind == outcome.Kind:
		return known
	case moved(e.Kind):
		return contradicted
	case e.Kind == schemas.KindFailed && e.FoundBy == schemas.FoundByCall && outcome.Attempt == attempt:
		return contradicted
	}
	return known
}

// chainUntil reads a chain until it is answered or time is out.
func (p *Protocol) chainUntil(id schemas.RequestID, until time.Time) ([]ledger.Entry, bool) {
	for wait := appendPause; ; wait = min(2*wait, appendPauseMax) {
		chain, err := p.Log.Chain(id)
		if err == nil {
			return chain, true
		}
		p.Clock.Sleep(wait)
		if isOver(p.Clock.Now(), until) {
			return nil, false
		}
	}
}

// event builds the decision's event.
func (r disposal) event(d Decision) ledger.Entry {
	e := r.about(d.Kind)
	fill(&e, d, r.refund)
	return ledger.Entry{Event: e, ID: e.ID(), Owner: r.claim.Token}
}

// fill writes what the decision says into its event.
func fill(e *schemas.Event, d Decision, refund ledger.Refund) {
	attempt := max(refund.Attempts, 1)
	switch d.Kind {
	case schemas.KindDeferred:
		e.Attempt, e.Reason, e.NotBefore = attempt, d.Reason, &d.NotBefore
	case schemas.KindAcknowledged:
		e.Attempt, e.ProviderRefundID = attempt, d.Result.ProviderRefundID
	case schemas.KindSucceeded, schemas.KindCancelled:
		e.RefundType = schemas.RefundTypeRefund
		if d.Kind == schemas.KindCancelled {
			e.RefundType = schemas.RefundTypeCancel
		}
		e.ProviderRefundID, e.ProviderResult = d.Result.ProviderRefundID, d.Result.Raw
		e.Attempt, e.FoundBy = attempt, d.FoundBy
	case schemas.KindFailed:
		reissue := d.Reason.ReissueAllowed()
		e.Reason, e.Reissue, e.ProviderResult, e.FoundBy = d.Reason, &reissue, d.Result.Raw, d.FoundBy
	case schemas.KindParked:
		e.Reason, e.N, e.Attempt, e.ProviderResult = d.Reason, refund.Parks+1, refund.Attempts, d.Result.Raw
	case schemas.KindResumed:
		e.N = refund.Parks
	}
}

// about is an event of the refund in hand. What its first event says it is, it is.
func (r *run) about(k schemas.Kind) schemas.Event {
	if r.refund.First != nil {
		return r.refund.First.After(k, r.Clock.Now())
	}
	return schemas.NewEvent(k, r.Command, r.Clock.Now())
}

// rejection says that a command was not accepted, and who owns its requestId where that is why.
func (r disposal) rejection(c schemas.Command, body [32]byte, d Decision) ledger.Entry {
	e := schemas.NewEvent(schemas.KindRejected, c, r.Clock.Now())
	e.BodyHash, e.Reason, e.Problems = body, d.Reason, d.Problems
	if first := r.refund.First; first != nil && d.Reason == schemas.ReasonRequestIDConflict {
		e.Existing = &schemas.Existing{Kind: r.refund.State, Fingerprint: first.Fingerprint}
	}
	return ledger.Entry{Event: e, ID: e.ID()}
}
