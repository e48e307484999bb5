package consumer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/brakes"
	"refundworker/consumer/refund"
	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// processor takes the deliveries of one provider instance through the protocol.
type processor struct {
	cfg     Config
	in      Instance
	caps    providers.Capabilities
	store   *idempotency.Store
	journal *stream.Journal
	sender  *stream.Sender
	obs     *observer
	inHand  *inHand
	// brakes say when the provider may be called.
	brakes *brakes.Brakes
	// velocity is what was last seen of the provider's velocity; nil before anything was.
	velocity atomic.Pointer[idempotency.VelocityLook]
	// relied is the last look that was made while the projection could be relied on, and bound is set once an intent here
	// names what was captured.
	relied atomic.Pointer[idempotency.VelocityLook]
	bound  atomic.Bool
	// fatal stops the worker: going on could move money twice.
	fatal func(error)
}

// delivery is one message in hand and what is known beside the protocol.
type delivery struct {
	*processor
	// ctx carries the delivery's span. It does not end: what a provider answers is journalled also during a shutdown.
	ctx    context.Context
	msg    jetstream.Msg
	stream string
	seq    uint64
	// scheduled is set when a schedule brought the message, and round counts the rounds without progress before it.
	scheduled bool
	round     int
	// arrived is when a command first came into its stream, by the server's clock, or when a notice was first seen.
	arrived time.Time
	// requestID names the refund once it could be read.
	requestID schemas.RequestID
	command   schemas.Command
	// trace is what events of this delivery carry on.
	trace nats.Header
	// begun is set once the refund has an event. The delivery is linked to the trace of the first, unless that is its own.
	begun bool
	// permit is the right to call the provider; nil where nothing calls it.
	permit *brakes.Permit
	// answer is what the claim said, and attempt the number of the last attempt journalled by this delivery.
	answer  idempotency.Answer
	attempt int
}

// open reads what the message says of itself. It reports false for what is no JetStream delivery: that cannot be ended.
func (p *processor) open(ctx context.Context, msg jetstream.Msg) (*delivery, bool) {
	meta, err := msg.Metadata()
	if err != nil {
		p.obs.log.ErrorContext(ctx, "message without metadata", "subject", msg.Subject())
		return nil, false
	}
	p.store.Gate().Delivered(meta.Timestamp)
	d := &delivery{processor: p, ctx: ctx, msg: msg, stream: meta.Stream, seq: meta.Sequence.Stream,
		scheduled: meta.Stream == schemas.StreamRetries, arrived: meta.Timestamp}
	if !d.scheduled { // what a publisher says of rounds and of the past counts for nothing
		return d, true
	}
	d.round, _ = strconv.Atoi(msg.Headers().Get(schemas.HeaderRound))
	d.round = max(d.round, 0)
	if since, err := time.Parse(time.RFC3339Nano, msg.Headers().Get(schemas.HeaderSince)); err == nil {
		d.arrived = since
	}
	return d, true
}

// process works on one command until it is acknowledged, rescheduled, given back or terminated.
func (p *processor) process(ctx context.Context, msg jetstream.Msg, permit *brakes.Permit) {
	defer permit.Release()
	d, ok := p.open(ctx, msg)
	if !ok {
		return
	}
	d.permit = permit
	done := p.obs.begin(d)
	done(d.work())
}

// work decodes the command and takes it through the protocol.
func (d *delivery) work() refund.Ending {
	mine := holding{body: sha256.Sum256(d.msg.Data()), stream: d.stream, seq: d.seq}
	if decision, ok := decideMeeting(d.inHand.meets(mine)); !ok {
		return d.end(decision)
	}
	fingerprint, decision, ok := d.decode()
	if !ok {
		return d.end(decision)
	}
	if decision, ok := decideMeeting(d.inHand.enter(mine)); !ok {
		return d.end(decision)
	}
	defer d.inHand.leave(mine)
	protocol := refund.Protocol{Rules: d.rules(), Ports: refund.Ports{Claims: &claims{delivery: d}, Log: log{d}, Payments: &payments{delivery: d},
		Provider: &calls{d}, Carrier: &carrier{delivery: d}, Clock: clock{}}}
	return protocol.Work(refund.Delivery{Command: d.command, Fingerprint: fingerprint, BodyHash: mine.body, Scheduled: d.scheduled,
		Round: d.round, Arrived: d.arrived, Spread: mathrand.Float64()})
}

// rules are what the instance's refunds are worked by.
func (p *processor) rules() refund.Rules {
	return refund.Rules{Capabilities: p.caps, Timeout: p.in.Timeout, LeaseMargin: p.cfg.LeaseMargin, RecordGrace: p.cfg.RecordGrace,
		Accept: p.cfg.Accept, MaxAttempts: p.in.MaxAttempts, GiveUpAfter: p.in.GiveUpAfter, PendingTimeout: p.cfg.PendingTimeout,
		RetryAfterMax: p.in.RetryAfterMax, Backoff: refund.Backoff(p.in.Backoff), SameAmount: !p.cfg.IgnoreSameAmount}
}

// judgesAll reports whether each of the instance's refunds needs its payment's verdict. What nobody has looked at while the
// projection could be relied on may be bound.
func (p *processor) judgesAll() bool {
	seen := p.relied.Load()
	return p.caps.Concurrent != providers.Unbounded || len(p.in.Velocity) > 0 || p.bound.Load() || seen == nil || seen.Bound
}

// decideMeeting settles deliveries whose bytes are in hand; it reports true when work goes on.
func decideMeeting(m meeting) (refund.Decision, bool) {
	switch m {
	case twin:
		return refund.Decision{Then: refund.Ack, Detail: "an identical command is in hand"}, false
	case itself:
		return refund.Decision{Then: refund.Nak, Delay: inHandNak, Detail: "the refund is in hand already"}, false
	}
	return refund.Decision{}, true
}

const (
	// inHandNak is how long a delivery waits whose message is in hand.
	inHandNak = 2 * time.Second
	// newerVersionNak is how long a command of a newer schema version waits before it is looked at again.
	newerVersionNak = 30 * time.Second
	// giveBack is the delay of a delivery whose ending could not be stored.
	giveBack = 5 * time.Second
)

// decode reads the command; it reports false, with what to do, for one that is not accepted.
func (d *delivery) decode() (schemas.Fingerprint, refund.Decision, bool) {
	arrival := schemas.Arrival{Provider: d.in.Name}
	if !d.scheduled { // one that a schedule brings back was accepted before
		arrival.Now = time.Now()
	}
	command, err := schemas.DecodeCommand(d.msg.Data(), arrival)
	d.command, d.requestID = command, command.RequestID
	var refused *schemas.Rejection
	var newer *schemas.NewerVersionError
	switch {
	case errors.As(err, &newer):
		return schemas.Fingerprint{}, refund.Decision{Then: refund.Nak, Delay: newerVersionNak, Detail: err.Error()}, false
	case errors.As(err, &refused):
		return schemas.Fingerprint{}, refund.Decision{Kind: schemas.KindRejected, Reason: refused.Reason, Problems: refused.Problems,
			Then: refund.Terminate, Detail: refused.Error()}, false
	case err != nil:
		return schemas.Fingerprint{}, unreadable(err), false
	}
	fingerprint, err := command.Fingerprint()
	if err != nil {
		return fingerprint, unreadable(err), false
	}
	return fingerprint, refund.Decision{}, true
}

func unreadable(err error) refund.Decision {
	return refund.Decision{Kind: schemas.KindRejected, Reason: schemas.ReasonMalformed, Then: refund.Terminate, Detail: err.Error(),
		Problems: []schemas.Problem{{Rule: "must be readable as a command"}}}
}

// end ends a delivery that the protocol has nothing to say about: a duplicate in hand, or what is no command. The rejected
// event of what names a refund says nothing about that refund.
func (d *delivery) end(decision refund.Decision) refund.Ending {
	ending := refund.Ending{Decision: decision, Became: decision.Then}
	messages := &carrier{delivery: d}
	var err error
	if decision.Kind == schemas.KindRejected && d.requestID != "" {
		e := schemas.NewEvent(schemas.KindRejected, d.command, time.Now())
		e.BodyHash, e.Reason, e.Problems = sha256.Sum256(d.msg.Data()), decision.Reason, decision.Problems
		err = d.untilDone(func() error { return log{d}.Note(noted(e)) })
		ending.Stored = err == nil
	}
	if err == nil {
		switch decision.Then {
		case refund.Ack:
			err = messages.Ack()
		case refund.Nak:
			err = messages.Nak(decision.Delay)
		case refund.Terminate:
			if err = messages.Bury(decision.Reason, decision.Detail); err == nil {
				err = messages.Term(decision.Reason)
			}
		}
	}
	if err != nil {
		_ = messages.Nak(giveBack) // or it comes again by itself
		ending.Became, ending.Trouble = refund.Nak, err.Error()
	}
	return ending
}

const (
	tryPause    = 200 * time.Millisecond
	tryPauseMax = 5 * time.Second
)

// untilDone repeats try, ever more slowly, until it is done or it has been tried for long enough. It returns try's last error.
func (d *delivery) untilDone(try func() error) error {
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.RecordGrace)
	defer cancel()
	for wait := tryPause; ; wait = min(2*wait, tryPauseMax) {
		err := try()
		if err == nil || pause(ctx, wait) != nil {
			return err
		}
	}
}

// pause waits, or returns ctx's error when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clock is part of refund.Ports.
type clock struct{}

// Now is part of refund.Clock.
func (clock) Now() time.Time { return time.Now() }

// Sleep is part of refund.Clock.
func (clock) Sleep(d time.Duration) { time.Sleep(d) }

func newToken() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
