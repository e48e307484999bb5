package consumer

import (
	"fmt"
	"time"

	"refundworker/consumer/refund"
	"refundworker/idempotency"
	"refundworker/schemas"
)

// claims is the lock in Redis, and what Redis remembers of a refund. While it does not remember all that it did before, the
// journal is asked.
type claims struct {
	*delivery
	held idempotency.Claim
}

var claimAnswers = map[idempotency.Answer]refund.Answer{idempotency.Conflict: refund.Conflict, idempotency.Settled: refund.Settled,
	idempotency.Busy: refund.Busy}

// Claim is part of refund.Claims.
func (c *claims) Claim(id schemas.RequestID, fp schemas.Fingerprint, lease time.Duration) (refund.Claim, error) {
	ctx, end := c.obs.span(c.ctx, spanClaim)
	claim, err := c.store.Claim(ctx, id, fp, lease)
	c.obs.claimed(ctx, claim.Answer, err)
	end(err)
	c.answer = claim.Answer
	if err != nil {
		return refund.Claim{}, fmt.Errorf("%w: %w", refund.ErrNoAnswer, err)
	}
	c.held = claim
	out := refund.Claim{Token: claim.Token, Head: claim.Head, Clean: claim.Clean, Until: claim.Until}
	switch claim.Answer {
	case idempotency.NotReady:
		return out, nil
	case idempotency.Conflict, idempotency.Settled, idempotency.Busy:
		out.Answer = claimAnswers[claim.Answer]
		return out, nil
	case idempotency.Behind:
		head, err := c.journal.Head(ctx, id)
		if err != nil {
			_, _ = c.store.Release(ctx, claim, 0, 0) // or it runs out
			return refund.Claim{}, fmt.Errorf("%w: %w", refund.ErrNoAnswer, err)
		}
		out.Head = head.Seq
	}
	out.Answer = refund.Taken
	return out, nil
}

// Release is part of refund.Claims.
func (c *claims) Release(claim refund.Claim, clean uint64, pause time.Duration) error {
	if !c.held.Held() {
		return nil
	}
	_, err := c.store.Release(c.ctx, c.held, clean, pause)
	if err != nil {
		c.obs.log.WarnContext(c.ctx, "lease not given back, it runs out by itself", "requestId", string(c.held.RequestID),
			"error", err.Error())
	}
	return err
}
