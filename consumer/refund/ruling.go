package refund

import (
	"errors"
	"fmt"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Ruling is an operator's decision about a parked refund.
type Ruling struct {
	RequestID schemas.RequestID
	// As is KindSucceeded, KindFailed or KindResumed: try again, for nothing moved.
	As schemas.Kind
	By schemas.Operator
	// Token names the decision, as a claim's names a command's.
	Token string
}

// ErrNotParked occurs when an operator decides about a refund that waits for no person.
var ErrNotParked = errors.New("the refund is not parked")

// TooEarlyError occurs when an operator says that nothing moved while a call may still be on its way.
type TooEarlyError struct{ Until time.Time }

func (e *TooEarlyError) Error() string {
	return "a call may still be on its way: decide after " + e.Until.UTC().Format(time.RFC3339)
}

// Rule journals an operator's decision, and has the refund's schedule fire. It answers ErrNotParked, a *TooEarlyError,
// ErrNoAnswer, or ErrLost when it is not known whether the decision is stored: repeating it is harmless.
func (p *Protocol) Rule(o Ruling) error {
	until := p.Clock.Now().Add(p.RecordGrace)
	for {
		chain, err := p.Log.Chain(o.RequestID)
		if err != nil {
			return fmt.Errorf("read the refund: %w", err)
		}
		refund := ledger.Fold(chain, 0)
		if err := decideRuling(o, refund, p.Clock.Now()); err != nil {
			return err
		}
		e := refund.First.After(o.As, p.Clock.Now())
		fill(&e, Decision{Kind: o.As, Reason: schemas.ReasonOperator, FoundBy: schemas.FoundByOperator}, refund)
		e.By = &o.By
		switch p.record(refund, ledger.Entry{Event: e, ID: e.ID(), Owner: o.Token}, until) {
		case recorded:
			for p.Carrier.Wake() != nil && p.Clock.Now().Before(until) { // its own time may be a week away
				p.Clock.Sleep(appendPause)
			}
			return nil
		case unrecorded:
			return ErrLost
		case known, contradicted:
			return ErrNotParked
		}
	}
}

// decideRuling judges whether the operator may say so. That nothing moved cannot be said of a call that may still arrive.
func decideRuling(o Ruling, refund ledger.Refund, now time.Time) error {
	if refund.State != schemas.KindParked {
		return ErrNotParked
	}
	if until := refund.LeaseUntil.Add(arrived); !moved(o.As) && now.Before(until) {
		return &TooEarlyError{until}
	}
	return nil
}
