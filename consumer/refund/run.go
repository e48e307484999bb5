package refund

import (
	"fmt"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/providers"
	"refundworker/schemas"
)

// Protocol is the life of a provider instance's refunds.
type Protocol struct {
	Rules
	Ports
}

// Delivery is one delivery of a command that was accepted as such.
type Delivery struct {
	Command     schemas.Command
	Fingerprint schemas.Fingerprint
	// BodyHash is the hash of the command as it was published.
	BodyHash [32]byte
	// Scheduled is set when a schedule brought it, and Round counts the rounds without progress before it.
	Scheduled bool
	Round     int
	// Arrived is when the command first came.
	Arrived time.Time
	// Spread, from 0 to 1, places delays within their jitter.
	Spread float64
}

// run is one delivery in hand. All that it knows of the refund is what the chain said when it was last read.
type run struct {
	*Protocol
	Delivery
	claim Claim
	// deadline is the end of the lease by the own clock, counted from before it was asked for.
	deadline time.Time
	refund   ledger.Refund
	// known is set once the chain was read. Until then it is the claim's word that there is none.
	known bool
	// own is the sequence of the own intent; 0 while there is none.
	own uint64
	// cleared is set once a lookup has shown that no attempt up to the head did anything.
	cleared bool
}

// Work takes a delivery of a command from claim to end.
func (p *Protocol) Work(d Delivery) Ending {
	r := disposal{&run{Protocol: p, Delivery: d, deadline: p.Clock.Now().Add(p.lease())}}
	claim, err := p.Claims.Claim(d.Command.RequestID, d.Fingerprint, p.lease())
	if err != nil {
		return r.giveBack(notReady, err)
	}
	r.claim = claim
	if decision, done := decideClaim(r.situation()); done {
		return r.end(decision)
	}
	if claim.Head > 0 || claim.Answer == Conflict {
		if err := r.read(); err != nil {
			return r.unread(err, Abandon)
		}
	}
	if claim.Answer == Conflict && r.refund.First == nil { // it may be the first all the same, and reject nobody
		return r.end(Decision{Then: Nak, Delay: rivalWait, Detail: "a command with other content was claimed before"})
	}
	for {
		decision, ok := r.next()
		if ok {
			if ending, ok := r.finish(decision); ok {
				return ending
			}
		}
		if isOver(r.Clock.Now(), r.deadline) {
			return r.end(later(scheduleFloor, r.Round, "others were first until the lease ended"))
		}
		if err := r.read(); err != nil {
			return r.unread(err, Keep)
		}
	}
}

// read reads the whole chain. Nothing that was learnt before survives it, least of all that nothing was found.
func (r *run) read() error {
	chain, err := r.Log.Chain(r.Command.RequestID)
	if err != nil {
		return err
	}
	r.refund = ledger.Fold(chain, r.claim.Clean)
	r.known, r.own, r.cleared = true, 0, false
	return nil
}

// next does what the chain asks for. It reports false when somebody else was first.
func (r *run) next() (Decision, bool) {
	s := r.situation()
	if decision, done := decideState(s); done {
		return decision, true
	}
	switch s.stand() {
	case pending:
		return r.followUp(), true
	case doubt:
		return r.resolve()
	}
	return r.attempt()
}

// resolve ends doubt where it can: no attempt got past the guard, a lookup is conclusive, or the key of the attempt in
// doubt still makes repeating it harmless.
func (r *run) resolve() (Decision, bool) {
	if decision, done := r.askGuard(); done {
		return decision, true
	}
	if len(r.refund.Doubt()) == 0 { // nothing ever left
		return r.attempt()
	}
	if decision, done := decideUnasked(r.situation()); done {
		return decision, true
	}
	if !r.Capabilities.Lookup {
		if decision, done := decideRepeat(r.situation()); done {
			return decision, true
		}
		return r.attempt()
	}
	finding, asked, err := r.lookup(r.request())
	if decision, done := decideFound(r.situationAt(asked), finding, err); done {
		return decision, true
	}
	r.cleared = true
	return r.attempt()
}

// askGuard finds out which attempts in doubt got their payment's hold: for those that did not, no call was made, where it is
// sure that they never did.
func (r *run) askGuard() (Decision, bool) {
	last := uint64(0)
	for _, i := range r.refund.Doubt() {
		if isGuarded(i) {
			last = i.Seq
		}
	}
	if last == 0 {
		return Decision{}, false
	}
	grant, err := r.Payments.Await(r.asked(), last, r.lastCall())
	if err != nil {
		return abandon(scheduleFloor, r.Round, err.Error()), true
	}
	for n, i := range r.refund.Intents {
		if grant.Sure && isGuarded(i) && (grant.Since == 0 || i.Seq < grant.Since) {
			r.refund.Intents[n].Clean = true
		}
	}
	return Decision{}, false
}

// isGuarded reports whether an attempt asked for its payment's hold by the rules that are known here.
func isGuarded(i ledger.Intent) bool { return i.Hold != nil && i.Hold.Rules == ledger.GuardRules }

// followUp asks for the result of a refund that the provider took on, when its schedule says so.
func (r *run) followUp() Decision {
	s := r.situation()
	switch {
	case !r.Scheduled:
		return s.wait("it is not time to ask", r.Round)
	case !r.Capabilities.Lookup:
		return decideUnfound(s, "the provider reports by notice")
	}
	if decision, done := r.askGuard(); done { // an attempt that it denied made no call, and its baseline says nothing
		return decision
	}
	request := r.request()
	request.ProviderRefundID = r.refund.ProviderRefundID
	finding, asked, err := r.lookup(request)
	decision, _ := decideFound(r.situationAt(asked), finding, err)
	return decision
}

// lookup returns, beside what was found, when it was asked.
func (r *run) lookup(request providers.Request) (providers.Finding, time.Time, error) {
	if err := r.Provider.Admit(1, r.lastCall()); err != nil {
		return providers.Finding{}, r.Clock.Now(), err
	}
	asked := r.Clock.Now()
	finding, err := r.Provider.Lookup(Call{Request: request, Until: asked.Add(r.Timeout)})
	return finding, asked, err
}

// lastCall is when the last call may start that still ends inside the lease.
func (r *run) lastCall() time.Time { return r.deadline.Add(-r.Timeout - callMargin) }

// fits reports whether a call that starts now ends inside the lease.
func (r *run) fits() bool { return !isOver(r.Clock.Now(), r.lastCall()) }

// asked is the refund as its payment is asked for it.
func (r *run) asked() ledger.Asked {
	return ledger.Asked{ID: r.Command.RequestID, Amount: r.Command.Amount, Captured: r.captured(),
		Sole: r.Capabilities.Concurrent != providers.Unbounded}
}

// captured is what the refund's first event says was captured: a later copy of the command says nothing.
func (r *run) captured() *schemas.Money {
	if first := r.refund.First; first != nil && first.Payment != nil {
		return first.Payment.Amount
	}
	return r.Command.Payment.Amount
}

// request is the refund as the adapter sees it. Attempts that surely did nothing do not count.
func (r *run) request() providers.Request {
	request := providers.Request{RequestID: r.Command.RequestID, Payment: r.Command.Payment, Amount: r.Command.Amount,
		Options: r.Command.Options, RequestedAt: r.Command.RequestedAt, IdempotencyKey: r.key()}
	if open := r.refund.Doubt(); len(open) > 0 {
		request.Attempt, request.Baseline = len(open), open[0].Baseline
	}
	return request
}

// key is the requestId, and another one after each "not now", for a provider may replay an old refusal under an old key; but
// where it knows one key only.
// While an attempt is in doubt its own key stays, whatever was journalled since.
func (r *run) key() string {
	switch {
	case len(r.refund.Doubt()) > 0 && !r.cleared:
		return r.refund.Key
	case r.refund.Deferrals == 0, r.Capabilities.OneKey:
		return string(r.Command.RequestID)
	}
	return fmt.Sprintf("%s:r%d", r.Command.RequestID, r.refund.Deferrals)
}
