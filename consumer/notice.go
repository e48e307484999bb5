package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/brakes"
	"refundworker/consumer/refund"
	"refundworker/idempotency"
	"refundworker/schemas"
)

// settle works on one notice until it is acknowledged, rescheduled, given back or terminated. It calls no provider.
func (p *processor) settle(ctx context.Context, msg jetstream.Msg, _ *brakes.Permit) {
	d, ok := p.open(ctx, msg)
	if !ok {
		return
	}
	if !d.scheduled { // it may have waited for a worker: that is not the notice's fault
		d.arrived = time.Now()
	}
	done := p.obs.beginNotice(d)
	notice, refused := d.decodeNotice()
	if refused != nil {
		done(notice, d.end(*refused))
		return
	}
	if reason := d.store.Gate().Closed(); reason != idempotency.Ready {
		done(notice, d.end(refund.Decision{Then: refund.Nak, Delay: notReadyNak, Detail: string(reason)}))
		return
	}
	d.requestID = notice.RefundRequestID
	protocol := refund.Protocol{Rules: d.rules(), Ports: refund.Ports{Log: log{d}, Carrier: &reportCarrier{carrier{delivery: d}, notice},
		Clock: clock{}}}
	done(notice, protocol.Settle(refund.Noticed{Notice: notice, Token: newToken(), Since: d.arrived}))
}

// decodeNotice reads the notice; what is not one is told beside it.
func (d *delivery) decodeNotice() (schemas.Notice, *refund.Decision) {
	notice, err := schemas.DecodeNotice(d.msg.Data())
	var refused *schemas.Rejection
	switch {
	case errors.As(err, &refused):
		return notice, &refund.Decision{Reason: refused.Reason, Then: refund.Terminate, Detail: refused.Error()}
	case err != nil:
		return notice, &refund.Decision{Reason: schemas.ReasonMalformed, Then: refund.Terminate, Detail: err.Error()}
	case notice.Provider != d.in.Name:
		return notice, &refund.Decision{Reason: schemas.ReasonInvalid, Then: refund.Terminate,
			Detail: "/provider: must be the provider of the subject that the notice was published to"}
	}
	return notice, nil
}
