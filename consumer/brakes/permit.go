package brakes

import (
	"context"
	"errors"
	"time"

	"refundworker/providers"
)

// Permit is one delivery's right to call the provider. It holds nothing until Admit, and it has to be given back: where a
// probe goes first it is the probe, and keeps others out.
type Permit struct {
	brakes *Brakes
	// queued is set until the rates were waited for.
	queued   bool
	releases []func(health)
	// worst is the worst that was reported.
	worst health
}

// NewPermit returns the permit of a delivery that begins. It holds nothing yet, but Room leaves place for its calls.
func (b *Brakes) NewPermit() *Permit {
	b.rates.queued.Add(1)
	return &Permit{brakes: b, queued: true}
}

// Admit waits until the rates let so many calls through, and then takes the right to make them, in place of what the permit
// held before. Its error says what holds calls back. ctx has to end.
func (p *Permit) Admit(ctx context.Context, calls int) error {
	err := p.brakes.rates.wait(ctx, calls)
	p.dequeue()
	if err != nil {
		return err
	}
	p.giveBack()
	if p.brakes.isStopped() {
		return errStopped
	}
	now := time.Now()
	for _, brake := range p.brakes.all {
		release, err := brake.admit(now)
		if err != nil {
			p.giveBack()
			return err
		}
		p.releases = append(p.releases, release)
	}
	return nil
}

// Repeat waits until the rates let one more call through under the same permit. ctx has to end.
func (p *Permit) Repeat(ctx context.Context) error { return p.brakes.rates.wait(ctx, 1) }

// Release gives the permit back, with the worst that was reported. It is safe to repeat.
func (p *Permit) Release() {
	p.dequeue()
	p.giveBack()
}

func (p *Permit) dequeue() {
	if p.queued {
		p.queued = false
		p.brakes.rates.queued.Add(-1)
	}
}

func (p *Permit) giveBack() {
	for _, release := range p.releases {
		release(p.worst)
	}
	p.releases, p.worst = nil, silent
}

// health is what calls say of the provider's health, the worst last.
type health int

const (
	// silent: nothing. No call was made, or its answer is about us.
	silent health = iota
	// reads: it answers what moves no money. That is enough for a probe and for nothing else.
	reads
	// answers: it answers what it is there for, be it with a no.
	answers
	// fails: there was no answer.
	fails
)

// Report takes in how a call ended that may have moved money.
func (p *Permit) Report(ctx context.Context, err error) { p.report(ctx, answers, err) }

// ReportQuery takes in how a call ended that moves no money.
func (p *Permit) ReportQuery(ctx context.Context, err error) { p.report(ctx, reads, err) }

func (p *Permit) report(ctx context.Context, answered health, err error) {
	p.worst = max(p.worst, healthOf(answered, err))
	p.brakes.cool(ctx, err)
}

// healthOf is what the end of a call says, where an answer says answered. Refused credentials and too many calls have
// cooldowns of their own.
func healthOf(answered health, err error) health {
	if err == nil || errors.Is(err, providers.ErrRefused) {
		return answered
	}
	switch providers.KindOf(err) {
	case providers.RateLimited, providers.Invalid, providers.Unauthorized:
		return silent
	}
	return fails
}

// cool begins and ends cooldowns. A call without an answer says nothing about credentials and the number of calls.
func (b *Brakes) cool(ctx context.Context, err error) {
	now, kind := time.Now(), providers.KindOf(err)
	switch {
	case err == nil, kind == providers.Invalid, errors.Is(err, providers.ErrRefused):
		if b.account.end(now) {
			b.log.InfoContext(ctx, "the provider takes our credentials again")
		}
		if b.quota.end(now) {
			b.log.InfoContext(ctx, "the provider takes calls again")
		}
	case kind == providers.Unauthorized:
		if length, began := b.account.begin(now, 0); began {
			b.log.ErrorContext(ctx, "the provider does not take our credentials: it is left alone for a while",
				"rest", length.String(), "error", err.Error())
		}
	case kind == providers.RateLimited:
		var asked time.Duration
		if e := (*providers.Error)(nil); errors.As(err, &e) {
			asked = e.RetryAfter
		}
		if length, began := b.quota.begin(now, asked); began {
			b.log.WarnContext(ctx, "the provider wants fewer calls: it is left alone for a while",
				"rest", length.String(), "asked", asked.String())
		}
	}
}
