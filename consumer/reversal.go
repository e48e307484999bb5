package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency"
	"refundworker/schemas"
)

// Reversals of one refund add up, so each must know all that were before it. They are journalled one at a time for a
// provider: each names the last one in the stream, was decided on a projection that has applied it, and is refused by the
// stream when another one came between.

// errOvertaken says that another reversal was journalled meanwhile.
var errOvertaken = errors.New("another reversal was journalled meanwhile")

// reverse journals a reversal of a refund that succeeded.
func (p *processor) reverse(ctx context.Context, r *report) Decision {
	state := r.claim.Record.State
	switch {
	case state == idempotency.StateFailed:
		return Decision{Reason: schemas.ReasonContradiction, Then: Terminate,
			Detail: "the notice says that money came back, but the refund is journalled as failed"}
	case !state.Settled():
		return decideStrange(time.Since(r.since), "the refund has not succeeded yet")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.RecordGrace)
	defer cancel()
	var decision Decision
	err := untilDone(ctx, func() (bool, error) {
		var err error
		decision, err = p.reverseOnce(ctx, r)
		return err == nil || errors.Is(err, errJournalBackwards), err
	})
	if err != nil {
		return Decision{Then: Nak, Delay: giveBack, Detail: err.Error()}
	}
	return decision
}

// reverseOnce tries once; an error asks for another try.
func (p *processor) reverseOnce(ctx context.Context, r *report) (Decision, error) {
	last, err := p.journal.lastReversal(ctx, p.in.Name)
	if err != nil {
		return Decision{}, err
	}
	if err := p.recall(ctx, r); err != nil {
		return Decision{}, err
	}
	if r.claim.Pos < last {
		return Decision{}, fmt.Errorf("reversal %d is not applied yet", last)
	}
	if r.stated == nil {
		return decideStrange(time.Since(r.since), "the refund's events have aged out"), nil
	}
	before, err := p.journal.reversals(ctx, r.claim.Record.Last)
	if err != nil {
		return Decision{}, err
	}
	reversal, decision := decideReversal(r.notice, r.claim.Record, before)
	if reversal == nil {
		return decision, nil
	}
	e := r.about(schemas.KindReversed)
	e.Reversal = reversal
	out, err := p.outgoing(e, entryHeaders{previous: r.previous, trace: r.trace})
	if err != nil {
		return Decision{Reason: schemas.ReasonInvalid, Then: Terminate, Detail: err.Error()}, nil
	}
	out.after = &last
	w, err := p.send(ctx, r.delivery, out)
	if err == nil && w.Duplicate { // stored a moment ago: the next try finds it
		err = errOvertaken
	}
	return decision, err
}

// decideReversal adds a reversal to those before it, of which the oldest may have aged out; nil when there is nothing to
// journal.
func decideReversal(n schemas.Notice, refund idempotency.Record, before []schemas.Reversal) (*schemas.Reversal, Decision) {
	invalid := func(detail string) (*schemas.Reversal, Decision) {
		return nil, Decision{Reason: schemas.ReasonInvalid, Then: Terminate, Detail: "/reversal/amount: " + detail}
	}
	amount := n.Reversal.Amount
	if amount.Currency != refund.Amount.Currency {
		return invalid("must be in the refund's currency, " + string(refund.Amount.Currency))
	}
	for _, b := range before {
		if b.NoticeID == n.NoticeID {
			if b.Amount.Equal(amount) {
				return nil, Decision{Then: Ack, Detail: "the reversal is journalled"}
			}
			return nil, Decision{Reason: schemas.ReasonContradiction, Then: Terminate,
				Detail: fmt.Sprintf("the notice says that %s came back, but under its id %s are journalled", amount, b.Amount)}
		}
	}
	total, err := amount.Add(schemas.Money{Micros: refund.Reversed, Currency: amount.Currency})
	if err != nil {
		return invalid("is too large")
	}
	if total.Micros > refund.Amount.Micros {
		return invalid(fmt.Sprintf("%s would have come back of a refund of %s", total, refund.Amount))
	}
	raw := json.RawMessage(n.Reversal.RawResult)
	return &schemas.Reversal{NoticeID: n.NoticeID, Amount: amount, Total: total, RawResult: raw},
		Decision{Then: Ack, Detail: "journalled as " + string(schemas.KindReversed)}
}

// lastReversal is the sequence of a provider's last reversal; 0 when there is none.
func (j *journal) lastReversal(ctx context.Context, in schemas.ProviderName) (uint64, error) {
	stream, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, j.subjects.Event(schemas.KindReversed, in))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the last reversal: %w", err)
	}
	return last.Sequence, nil
}

// reversals walks a settled refund's events back to its outcome, or to where they have aged out.
func (j *journal) reversals(ctx context.Context, seq uint64) ([]schemas.Reversal, error) {
	var found []schemas.Reversal
	for range longestChain {
		e, before, err := j.at(ctx, seq)
		if errors.Is(err, idempotency.ErrNoEvent) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("walk the refund's reversals: %w", err)
		}
		if e.Event.Kind != schemas.KindReversed {
			return found, nil
		}
		found = append(found, *e.Event.Reversal)
		seq = before
	}
	return nil, fmt.Errorf("walk the refund's reversals: more than %d: %w", longestChain, errUnreadable)
}

// overtaken turns the server's refusal of an expected sequence into errOvertaken. A replicated stream may say so with
// another code than a single server.
func overtaken(err error) error {
	var said *jetstream.APIError
	if errors.As(err, &said) && (said.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		said.ErrorCode == wrongLastSequenceConstant) {
		return fmt.Errorf("%w: %w", errOvertaken, err)
	}
	return err
}

// wrongLastSequenceConstant is the code of a replicated stream for a sequence that is not the expected one.
const wrongLastSequenceConstant jetstream.ErrorCode = 10164

// publishAfter stores a message if the last one under its subject is still the one named.
func (j *journal) publishAfter(ctx context.Context, msg *nats.Msg, last uint64) (written, error) {
	w, err := j.publish(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
	return w, overtaken(err)
}
