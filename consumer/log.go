package consumer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"refundworker/consumer/refund"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// log is the journal as a delivery writes to it: its events carry on the trace of the message in hand.
type log struct{ *delivery }

func noted(e schemas.Event) ledger.Entry { return ledger.Entry{Event: e, ID: e.ID()} }

// Append is part of refund.Log.
func (l log) Append(e ledger.Entry, after uint64) (refund.Stored, error) {
	l.carryOn(&e)
	if (!l.begun || e.Event.Kind == schemas.KindParked) && l.command.RequestID == e.Event.RequestID {
		e.Command = inOneLine(l.msg.Data())
	}
	ctx, end := l.obs.sending(l.ctx, e.Event)
	stored, err := l.journal.Append(ctx, e, after)
	end(err)
	if err != nil {
		return refund.Stored{}, l.judge(err)
	}
	if !stored.Stale {
		l.stored(e, stored.Seq)
	}
	return refund.Stored{Seq: stored.Seq, Stale: stored.Stale}, nil
}

// Note is part of refund.Log.
func (l log) Note(e ledger.Entry) error {
	l.carryOn(&e)
	ctx, end := l.obs.sending(l.ctx, e.Event)
	stored, err := l.journal.Note(ctx, e)
	end(err)
	switch {
	case err != nil:
		return l.judge(err)
	case stored.Stale:
		l.obs.log.ErrorContext(ctx, "an event's id is taken by something else in the journal", "id", e.ID)
	default:
		l.stored(e, stored.Seq)
	}
	return nil
}

// Head is part of refund.Log.
func (l log) Head(id schemas.RequestID) (ledger.Entry, error) {
	e, err := l.journal.Head(l.ctx, id)
	return e, noAnswer(err)
}

// Chain is part of refund.Log.
func (l log) Chain(id schemas.RequestID) ([]ledger.Entry, error) {
	chain, err := l.journal.Chain(l.ctx, id)
	if first := ledger.FirstOwn(chain); first != nil && !l.begun {
		l.begun = true
		l.obs.resume(l.ctx, first.Trace)
	}
	return chain, noAnswer(err)
}

func noAnswer(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, stream.ErrUnreadable), errors.Is(err, stream.ErrTooLong):
		return fmt.Errorf("%w: %w", refund.ErrUnreadable, err)
	}
	return fmt.Errorf("%w: %w", refund.ErrNoAnswer, err)
}

// inOneLine is a command as an entry carries it.
func inOneLine(body []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, body) != nil {
		return nil // it was decoded, so it is JSON
	}
	return out.Bytes()
}

// carryOn has the entry carry on the trace of the message in hand.
func (l log) carryOn(e *ledger.Entry) {
	e.Trace = stream.PackTrace(l.trace.Get(schemas.HeaderTraceParent))
	e.TraceState, e.Baggage = l.trace.Get(schemas.HeaderTraceState), l.trace.Get(schemas.HeaderBaggage)
}

func (l log) stored(e ledger.Entry, seq uint64) {
	l.store.Gate().Saw(seq)
	l.begun = l.begun || e.Event.RequestID == l.command.RequestID
	if e.Event.Kind == schemas.KindDispatched {
		l.attempt = e.Event.Attempt
	}
	l.obs.published(l.ctx, e.Event)
}

// judge turns what the journal says into what the protocol knows.
func (l log) judge(err error) error {
	switch {
	case errors.Is(err, stream.ErrBackwards): // it is stored, in a stream that nothing may be decided from
		l.fatal(&idempotency.JournalError{Found: err.Error(), Position: l.store.Gate().Highest()})
		return fmt.Errorf("%w: %w", refund.ErrLost, err)
	case errors.Is(err, stream.ErrFull):
		if l.store.Gate().Refused() {
			l.obs.log.ErrorContext(l.ctx, "the journal refuses events", "error", err.Error())
		}
	case errors.Is(err, stream.ErrInvalid):
		l.obs.log.ErrorContext(l.ctx, "an event cannot be journalled", "requestId", string(l.requestID), "error", err.Error())
	}
	if errors.Is(err, stream.ErrLost) {
		return fmt.Errorf("%w: %w", refund.ErrLost, err)
	}
	return fmt.Errorf("%w: %w", refund.ErrNotDone, err)
}
