package consumer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"refundworker/idempotency"
	"refundworker/providers"
	"refundworker/schemas"
)

// processor takes one delivery of one provider instance from receive to its end.
type processor struct {
	cfg     Config
	in      Instance
	caps    providers.Capabilities
	store   *idempotency.Store
	journal *journal
	obs     *observer
	inHand  *inHand
	// limit spaces out calls of the provider.
	limit *rate.Limiter
	// queued is how many deliveries in hand have not had their turn at the provider's rates yet.
	queued atomic.Int64
	// fleetTaken is until when the fleet's turns are taken, but for the next few seconds' after it, in Unix nanoseconds.
	fleetTaken atomic.Int64
	// brakes tell whether the provider may be asked at all.
	brakes *brakes
	// velocity is whether the provider is stopped.
	velocity *velocityWatch
	// fatal stops the worker: going on could move money twice.
	fatal func(error)
}

// delivery is one message in hand and what has become known about it.
type delivery struct {
	msg    jetstream.Msg
	stream string
	seq    uint64
	round  int
	// scheduled is set when a schedule brought the command.
	scheduled bool
	command   schemas.Command
	// stated is, for a notice, the refund's last event: the command itself is not at hand then.
	stated *schemas.Event
	claim  idempotency.Claim
	// payment is what was seen of the refund's payment when it was claimed.
	payment idempotency.PaymentLook
	// arrived is when the command came into its stream, by the server's clock.
	arrived time.Time
	// unsettledAt is when the refund was last known to be unsettled, on the monotonic clock.
	unsettledAt time.Time
	// previous is the sequence of the refund's last event known.
	previous uint64
	// attempts is how many attempts are journalled as far as known, this delivery's own among them.
	attempts int
	history  history
	walked   bool
	// trace is what events of this delivery carry on.
	trace nats.Header
	// hadTurn is told once the delivery has had its turn, or got none.
	hadTurn func()
	// pass is the right to ask the provider; nil while there is none.
	pass *pass
	// cleared is set when doubt about every earlier attempt was ended under this claim; untouched when no
	// earlier attempt can have left at all.
	cleared, untouched bool
}

// errJournalBackwards stops a worker: an event was stored at a sequence that others already had.
var errJournalBackwards = errors.New("the event stream gave a sequence that was already taken")

// process works on one message until it is acknowledged, rescheduled, given back or terminated.
func (p *processor) process(ctx context.Context, msg jetstream.Msg) {
	hadTurn := sync.OnceFunc(func() { p.queued.Add(-1) })
	defer hadTurn()
	meta, err := msg.Metadata()
	if err != nil { // not a JetStream delivery: nothing can be acknowledged
		p.obs.log.ErrorContext(ctx, "message without metadata", "subject", msg.Subject())
		return
	}
	d := &delivery{msg: msg, stream: meta.Stream, seq: meta.Sequence.Stream,
		scheduled: meta.Stream == schemas.StreamRetries, hadTurn: hadTurn}
	d.round, _ = strconv.Atoi(msg.Headers().Get(schemas.HeaderRound))
	d.arrived = meta.Timestamp
	if since, err := time.Parse(time.RFC3339Nano, msg.Headers().Get(schemas.HeaderSince)); err == nil && d.scheduled {
		d.arrived = since
	}
	ctx, done := p.obs.begin(ctx, d, p.in.Name)
	mine := holding{body: sha256.Sum256(msg.Data()), stream: d.stream, seq: d.seq}
	decision, goesOn := decideMeeting(p.inHand.meets(mine))
	if goesOn {
		decision, goesOn = p.decode(d)
	}
	if goesOn {
		decision, goesOn = decideMeeting(p.inHand.enter(mine))
	}
	if goesOn {
		defer p.inHand.leave(mine)
		decision = p.work(ctx, d)
	}
	done(decision, p.finish(ctx, d, decision))
}

// decideMeeting settles deliveries whose bytes are in hand; it reports true when work goes on.
func decideMeeting(m meeting) (Decision, bool) {
	switch m {
	case twin:
		return Decision{Then: Ack, Detail: "an identical command is in hand"}, false
	case itself:
		return Decision{Then: Nak, Delay: scheduleFloor, Detail: "the refund is in hand already"}, false
	}
	return Decision{}, true
}

// decode reads the command; it reports false, with what to do, for one that is not accepted.
func (p *processor) decode(d *delivery) (Decision, bool) {
	arrival := schemas.Arrival{Provider: p.in.Name}
	if !d.scheduled { // one that a schedule brings back was accepted before
		arrival.Now = time.Now()
	}
	command, err := schemas.DecodeCommand(d.msg.Data(), arrival)
	d.command = command
	var refused *schemas.Rejection
	var newer *schemas.NewerVersionError
	switch {
	case errors.As(err, &newer):
		return Decision{Then: Nak, Delay: newerVersionNak, Detail: err.Error()}, false
	case errors.As(err, &refused):
		return Decision{Kind: schemas.KindRejected, Reason: refused.Reason, Problems: refused.Problems, Then: Terminate,
			Detail: refused.Error()}, false
	case err != nil:
		return unreadable(err), false
	}
	return Decision{}, true
}

func unreadable(err error) Decision {
	return Decision{Kind: schemas.KindRejected, Reason: schemas.ReasonMalformed, Then: Terminate, Detail: err.Error(),
		Problems: []schemas.Problem{{Rule: "must be readable as a command"}}}
}

// newerVersionNak is how long a command of a newer schema version waits before it is looked at again.
const newerVersionNak = 30 * time.Second

// work claims the refund and goes on as the claim says.
func (p *processor) work(ctx context.Context, d *delivery) Decision {
	fingerprint, err := d.command.Fingerprint()
	if err != nil {
		return unreadable(err)
	}
	defer func() { d.pass.end() }()
	d.unsettledAt = time.Now()
	looked := p.lookAhead(ctx, d)
	d.claim, err = p.claim(ctx, d.command.RequestID, fingerprint)
	if lookErr := looked(); err == nil && lookErr != nil && d.claim.Held() {
		return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Round: d.round, Detail: lookErr.Error()}
	}
	if err != nil {
		return Decision{Then: Nak, Delay: notReadyNak, Detail: err.Error()}
	}
	d.previous, d.attempts = d.claim.Record.Last, d.claim.Record.Attempts
	p.obs.resume(ctx, d.claim.Record.Trace)
	s := p.situation(d)
	if decision, done := decideClaim(s); done {
		return p.explain(ctx, d, decision)
	}
	switch d.claim.Answer {
	case idempotency.Doubt:
		return p.resolve(ctx, d)
	case idempotency.Pending:
		return p.followUp(ctx, d)
	case idempotency.Fresh:
		if !d.scheduled && s.now.Sub(d.command.RequestedAt) > p.cfg.Accept {
			return refuse(schemas.ReasonTooOld, []schemas.Problem{{Pointer: "/requestedAt",
				Rule: "must not be older than " + p.cfg.Accept.String()}})
		}
	}
	return p.attempt(ctx, d)
}

func (p *processor) claim(ctx context.Context, id schemas.RequestID, fp schemas.Fingerprint) (idempotency.Claim, error) {
	ctx, end := p.obs.span(ctx, "claim")
	claim, err := p.store.Claim(ctx, id, fp, p.cfg.lease(p.in))
	if err == nil && claim.Told > claim.Record.Last {
		claim, err = p.checkTold(ctx, claim)
	}
	p.obs.claimed(ctx, claim.Answer, err)
	end(err)
	return claim, err
}

// checkTold has the claim go on from the event that the last owner told of, if it is in the stream.
func (p *processor) checkTold(ctx context.Context, claim idempotency.Claim) (idempotency.Claim, error) {
	e, _, err := p.journal.at(ctx, claim.Told)
	switch {
	case err == nil && e.Event.RequestID == claim.RequestID:
		claim.Record.Last = claim.Told
	case err != nil && !errors.Is(err, idempotency.ErrNoEvent) && !errors.Is(err, errUnreadable):
		if claim.Held() {
			_, _ = p.store.Abandon(ctx, claim) // or it runs out
		}
		return claim, err
	}
	return claim, nil
}

// explain adds what a claim's answer needs from the refund's events.
func (p *processor) explain(ctx context.Context, d *delivery, decision Decision) Decision {
	if decision.Kind != schemas.KindParked {
		return decision
	}
	if err := p.readHistory(ctx, d); err != nil {
		return Decision{Then: Later, Delay: time.Minute, Detail: err.Error()}
	}
	decision.Reason = d.history.ParkedReason
	return decision
}

// readHistory walks the refund's events, once a delivery.
func (p *processor) readHistory(ctx context.Context, d *delivery) error {
	if d.walked {
		return nil
	}
	h, err := p.journal.history(ctx, d.claim.Record)
	if err != nil {
		return err
	}
	d.history, d.walked = h, true
	return nil
}

// resolve ends doubt where it can: the payment's hold was never granted, a lookup is conclusive, or the key
// of the attempt in doubt still makes repeating it harmless.
func (p *processor) resolve(ctx context.Context, d *delivery) Decision {
	if err := p.readHistory(ctx, d); err != nil {
		return Decision{Release: Abandon, Then: Later, Delay: time.Minute, Detail: err.Error()}
	}
	if d.history.Guarded {
		granted, err := p.wasGranted(ctx, d)
		if err != nil {
			return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Detail: err.Error()}
		}
		if !granted { // no attempt got past the guard: none was made
			d.cleared, d.untouched = true, true
			return p.attempt(ctx, d)
		}
	}
	s := p.situation(d)
	switch {
	case p.caps.Lookup:
		if s.now.Before(s.conclusive) && !d.scheduled {
			return decideUnasked(s)
		}
		finding, err := p.lookup(ctx, d, p.request(d))
		if errors.Is(err, errNoCall) {
			return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Detail: err.Error()}
		}
		decision, done := decideFound(s, finding, err)
		if done {
			return p.fenced(ctx, d, decision)
		}
		d.cleared = true
	case p.caps.KeyLife == 0 || s.now.After(d.history.KeySince.Add(p.caps.KeyLife-p.cfg.lease(p.in))):
		return park(schemas.ReasonOutcomeUnknown, providers.Result{}, "nothing can tell whether the refund was made")
	}
	return p.attempt(ctx, d)
}

// followUp asks for the result of an acknowledged refund, when its schedule says so.
func (p *processor) followUp(ctx context.Context, d *delivery) Decision {
	if err := p.readHistory(ctx, d); err != nil {
		return Decision{Release: Abandon, Then: Later, Delay: time.Minute, Detail: err.Error()}
	}
	s := p.situation(d)
	if !d.scheduled {
		return decideUnasked(s)
	}
	if !p.caps.Lookup {
		return decideUnfound(s, "the provider reports by notice")
	}
	finding, err := p.lookup(ctx, d, p.request(d))
	if errors.Is(err, errNoCall) {
		return Decision{Release: Abandon, Then: Later, Delay: scheduleFloor, Detail: err.Error()}
	}
	decision, _ := decideFound(s, finding, err)
	if decision.Kind == schemas.KindDeferred {
		return p.fenced(ctx, d, decision) // attempts follow, so its number is taken
	}
	// Not behind the fence, as attempts are: while the provider owes a result nobody makes one.
	return decision
}

func (p *processor) lookup(ctx context.Context, d *delivery, r providers.Request) (providers.Finding, error) {
	if err := p.permit(ctx, d, 1); err != nil {
		return providers.Finding{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.in.Timeout)
	defer cancel()
	if d.claim.Answer == idempotency.Pending {
		r.ProviderRefundID = d.history.ProviderRefundID
	}
	finding, err := p.in.Provider.Lookup(ctx, r)
	p.heard(ctx, d, reads, err)
	return finding, err
}

// situation gathers what decisions may depend on.
func (p *processor) situation(d *delivery) situation {
	s := situation{claim: d.claim, cleared: d.cleared, round: d.round, since: d.history.Since, scheduled: d.scheduled,
		requestedAt: d.command.RequestedAt,
		// Counted from the answer, never from before: "not found" must not count too early.
		now:      d.claim.RedisTime.Add(time.Since(d.claim.Answered)),
		notAfter: d.command.NotAfter, spread: rand.Float64(),
		caps: p.caps, backoff: p.in.Backoff, maxAttempts: p.in.MaxAttempts, retryAfterMax: p.in.RetryAfterMax,
		pendingTimeout: p.cfg.PendingTimeout}
	if d.claim.RedisTime.IsZero() {
		s.now = time.Now()
	}
	if !d.history.LeaseUntil.IsZero() {
		s.conclusive = d.history.LeaseUntil.Add(conclusiveMargin + p.caps.LookupDelay)
	}
	return s
}

// request is the refund as the adapter sees it. Attempts that surely did nothing do not count.
func (p *processor) request(d *delivery) providers.Request {
	r := providers.Request{RequestID: d.command.RequestID, Payment: d.command.Payment, Amount: d.command.Amount,
		Options: d.command.Options, RequestedAt: d.command.RequestedAt, IdempotencyKey: idempotencyKey(d)}
	switch {
	case d.untouched:
	case d.claim.Answer == idempotency.Doubt, d.claim.Answer == idempotency.Pending:
		r.Attempt, r.Baseline = max(1, d.claim.Record.Attempts-d.claim.Record.Clean), d.history.Baseline
	}
	return r
}

// idempotencyKey is the requestId, and another one after each "not now": a provider may replay an old refusal
// under an old key. While an attempt is in doubt its own key stays, whatever was journalled since.
func idempotencyKey(d *delivery) string {
	if !d.cleared && d.history.Key != "" && d.claim.Answer == idempotency.Doubt {
		return d.history.Key
	}
	if d.claim.Record.Deferrals == 0 {
		return string(d.command.RequestID)
	}
	return fmt.Sprintf("%s:r%d", d.command.RequestID, d.claim.Record.Deferrals)
}
