package refund

import (
	"errors"
	"time"

	"refundworker/schemas"
)

// Ending says how a delivery ended.
type Ending struct {
	// Decision is what was decided last, and Became what really became of the message.
	Decision Decision
	Became   Disposition
	// Stored is set when the decision's event is in the journal.
	Stored bool
	// Unreadable is set when the refund's events are there and cannot be read: a person has to look.
	Unreadable bool
	// Contradicted is set when the journal says otherwise, for good. Nothing was overwritten.
	Contradicted bool
	// Trouble says what could not be done, in words.
	Trouble string
}

// disposal is how a run ends: what is journalled, and what becomes of the lease, of the message in hand, and of the one that
// carries the refund on.
type disposal struct{ *run }

// finish does what was decided: journal, release, dispose, in this order. Each step is safe to repeat, so whatever fails
// gives the delivery back. It reports false when somebody else stored something first: everything is decided anew.
func (r disposal) finish(d Decision) (Ending, bool) {
	ending := Ending{Decision: d}
	switch d.Kind {
	case "":
	case schemas.KindRejected:
		if !r.known { // what is rejected for good is rejected by the chain, not by the claim's word
			return ending, false
		}
		if err := r.Log.Note(r.rejection(r.Command, r.BodyHash, d)); err != nil {
			return r.giveBack(giveBack, err), true
		}
		ending.Stored = true
		if d.Reason == schemas.ReasonRequestIDConflict {
			break
		}
		if err := r.read(); err != nil {
			return r.giveBack(giveBack, err), true
		}
		if r.refund.First != nil { // somebody has begun it meanwhile: it is open, and needs its message
			return ending, false
		}
	default:
		switch r.record(r.refund, r.event(d), r.deadline) {
		case recorded:
			ending.Stored = true
			if !d.Kind.Outcome() { // an outcome needs no lease to be found
				ending.Decision.Release = Abandon
			}
		case overtaken:
			return ending, false
		case known:
			if r.refund.First == nil { // the requestId may have gone to other content meanwhile
				return ending, false
			}
			ending.Decision = Decision{Release: Abandon, Then: Ack, Detail: "the outcome is journalled"}
		case contradicted:
			ending.Contradicted = true
			ending.Decision = Decision{Then: Terminate, Reason: schemas.ReasonContradiction,
				Detail: "the journal has another outcome than " + string(d.Kind)}
		case unrecorded: // an attempt in doubt, or one more reason to ask
			ending.Decision = later(scheduleFloor, r.Round, string(d.Kind)+" could not be journalled in time")
		}
	}
	return r.dispose(ending), true
}

// unread ends a delivery whose refund's events could not be read, now or at all.
func (r disposal) unread(err error, release Release) Ending {
	d := Decision{Release: release, Then: Later, Delay: unreadable, Round: r.Round, Detail: err.Error()}
	broken := errors.Is(err, ErrUnreadable)
	if broken {
		d.Delay = brokenWait
	}
	return r.dispose(Ending{Decision: d, Unreadable: broken})
}

// end ends a delivery about which there is nothing to journal.
func (r disposal) end(d Decision) Ending { return r.dispose(Ending{Decision: d}) }

// dispose gives the lease back and ends the delivery.
func (r disposal) dispose(e Ending) Ending {
	r.release(e.Decision)
	d := e.Decision
	var err error
	switch e.Became = d.Then; d.Then {
	case Ack:
		err = r.Carrier.Ack()
	case Later:
		if d.Delay < scheduleFloor {
			e.Became, err = Nak, r.Carrier.Nak(d.Delay)
			break
		}
		var instead *Decision
		if instead, err = r.carryOn(d); instead != nil {
			ending, _ := r.finish(*instead)
			return ending
		}
		if err == nil && d.Kind == schemas.KindParked {
			r.wakeResumed()
		}
		if err == nil {
			err = r.Carrier.Ack()
		}
	case Terminate:
		if err = r.Carrier.Bury(d.Reason, d.Detail); err == nil {
			err = r.Carrier.Term(d.Reason)
		}
	case Nak:
		err = r.Carrier.Nak(d.Delay)
	}
	if err != nil {
		back := r.giveBack(giveBack, err)
		e.Became, e.Trouble = back.Became, back.Trouble
	}
	return e
}

// wakeResumed has the schedule of a refund that was just parked fire at once where a person has let it go on already: what
// they woke was the schedule before. A look too many costs nothing.
func (r disposal) wakeResumed() {
	if head, err := r.Log.Head(r.Command.RequestID); err != nil || head.Owner != r.claim.Token {
		_ = r.Carrier.Wake()
	}
}

// giveBack has the message come again. When even that fails, it comes again by itself.
func (r disposal) giveBack(delay time.Duration, cause error) Ending {
	_ = r.Carrier.Nak(delay)
	return Ending{Decision: Decision{Then: Nak, Delay: delay, Detail: cause.Error()}, Became: Nak, Trouble: cause.Error()}
}

// release gives the lease back where the decision says so. Past its deadline a worker does nothing more with a claim. A
// release that fails costs the rest of the lease.
func (r disposal) release(d Decision) {
	if d.Release == Keep || r.claim.Answer != Taken || isOver(r.Clock.Now(), r.deadline) {
		return
	}
	pause := time.Duration(0)
	if d.Release == Undo { // duplicates must not cut a backoff short
		pause = d.Delay
	}
	_ = r.Claims.Release(r.claim, d.Clean, pause)
}

// carryOn stores the message that carries the refund on: one for each refund. Where a duplicate finds one that fires no
// later, that one does: however many come, and when, they put nothing off. It returns what is to be done instead where
// the message that stands carries other content.
func (r disposal) carryOn(d Decision) (*Decision, error) {
	until := r.Clock.Now().Add(r.RecordGrace)
	for !isOver(r.Clock.Now(), until) {
		standing, err := r.Carrier.Standing()
		if err != nil {
			return nil, err
		}
		now := r.Clock.Now()
		s := Schedule{At: now.Add(d.Delay), Round: d.Round, Arrived: r.Arrived}
		switch {
		case standing == nil:
		case standing.Newer:
			return &Decision{Then: Nak, Delay: newerWait, Detail: "a newer version of the worker carries the refund on"}, nil
		case standing.Unreadable:
			if err := r.Carrier.BuryStanding(*standing, schemas.ReasonMalformed, "it stood where a refund's schedule stands"); err != nil {
				return nil, err
			}
			s.Replaces = standing.Seq
		case standing.Fingerprint != r.Fingerprint:
			if instead, err := r.meetRival(*standing, d); instead != nil || err != nil {
				return instead, err
			}
			s.Replaces = standing.Seq
		default:
			first := standing.Arrived.Before(r.Arrived) // a later copy may differ in what the fingerprint leaves out
			sooner := first && !standing.Due.After(s.At)
			told := d.Kind == "" && !standing.Arrived.After(r.Arrived) // a duplicate changes neither round nor time
			if !r.Scheduled && standing.Due.After(now) && (sooner || told) {
				return nil, nil
			}
			s.Replaces, s.KeepCopy = standing.Seq, first
			if first {
				s.Arrived = standing.Arrived
			}
		}
		if err := r.Carrier.Schedule(s); err != ErrStale {
			return nil, err
		}
	}
	return nil, ErrStale
}

// meetRival settles to whom the requestId belongs: to the content of the chain's first event. While there is none, nobody
// is rejected, for whoever is rejected here could still be the first there: both wait, one in the schedule, the own one
// in its stream. It returns nil when what stands may be replaced.
func (r disposal) meetRival(standing Carried, d Decision) (*Decision, error) {
	if err := r.read(); err != nil {
		return nil, err
	}
	switch s := r.situation(); {
	case r.refund.First == nil:
		return &Decision{Then: Nak, Delay: min(d.Delay, rivalWait), Detail: "a command with other content waits"}, nil
	case s.conflict:
		theirs := conflict("the requestId belongs to a command with other content")
		return &theirs, nil
	}
	return nil, r.buryRival(standing)
}

// buryRival rejects the command that waits under a requestId which the chain has given to the own content.
func (r disposal) buryRival(standing Carried) error {
	d := conflict("the requestId belongs to a command with other content")
	if err := r.Log.Note(r.rejection(standing.Command, standing.BodyHash, d)); err != nil {
		return err
	}
	return r.Carrier.BuryStanding(standing, d.Reason, d.Detail)
}
