package idempotency

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refundworker/schemas"
)

// Three workers take commands of two refunds, each of their steps between any steps of the others, against a provider
// that loses replies and executes late; they crash anywhere, and Redis is lost, or falls back, at any time. Money moves
// at most once, and once everything runs to quiet, no refund is forgotten.
func TestMachineOfTheProtocolMovesMoneyOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []bankKind{looksUp, honoursID, neither} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				onFakeGround(t, func(t *rapid.T, g *ground) {
					p := newProtocol(t, g, kind, allRules)
					defer p.close()
					t.Repeat(p.actions())
					p.quiet(t)
				})
			})
		})
	}
}

// protocol is the world of a few workers: one journal, one Redis, one provider, one time.
type protocol struct {
	g       *ground
	rules   rules
	journal *fencedJournal
	bank    *bank
	workers []*protocolWorker
	copied  map[string]stored
	// acked holds the refunds whose message was acknowledged as settled.
	acked map[schemas.RequestID]bool
}

var protocolRefunds = []schemas.RequestID{"r0", "r1"}

func newProtocol(t fails, g *ground, kind bankKind, r rules) *protocol {
	p := &protocol{g: g, rules: r, bank: &bank{kind: kind, keys: map[string]*movement{}},
		acked:   map[schemas.RequestID]bool{},
		journal: &fencedJournal{newMemoryJournal(), map[string]storedID{}, map[uint64]uint64{}}}
	for range 3 {
		p.workers = append(p.workers, p.newWorker(t))
	}
	p.up(t)
	return p
}

func (p *protocol) close() {
	for _, w := range p.workers {
		w.store.Close()
	}
}

func (p *protocol) actions() map[string]func(*rapid.T) {
	worker := func(t *rapid.T) *protocolWorker {
		return p.workers[rapid.IntRange(0, len(p.workers)-1).Draw(t, "worker")]
	}
	act := func(t *rapid.T) {
		w := worker(t)
		w.take(rapid.SampledFrom(protocolRefunds).Draw(t, "refund"))
		w.act(t, drawChoice(t))
	}
	return map[string]func(*rapid.T){
		"":            func(t *rapid.T) { p.holds(t) },
		"act":         act,
		"act again":   act,
		"act further": act,
		"act on":      act,
		"run":         func(t *rapid.T) { worker(t).run(t, end, func() choice { return drawChoice(t) }) },
		"crash":       func(t *rapid.T) { worker(t).crash() },
		"restart": func(t *rapid.T) {
			i := rapid.IntRange(0, len(p.workers)-1).Draw(t, "worker")
			p.workers[i].store.Close()
			p.workers[i] = p.newWorker(t)
		},
		"project": func(t *rapid.T) { worker(t).project(rapid.IntRange(0, 3).Draw(t, "events")) },
		"look":    func(t *rapid.T) { p.look(t, worker(t)) },
		"up":      func(t *rapid.T) { p.up(t) },
		"up soon": func(t *rapid.T) { p.pass(t, 6*time.Second); p.up(t) },
		"pass": func(t *rapid.T) {
			p.pass(t, rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, 31 * time.Second, 51 * time.Second,
				90 * time.Second, 11 * time.Minute, 2 * time.Hour}).Draw(t, "time"))
		},
		"operator": func(t *rapid.T) {
			p.decide(rapid.SampledFrom(protocolRefunds).Draw(t, "refund"), rapid.Bool().Draw(t, "resume"))
		},
		"copy":    func(t *rapid.T) { p.copied = p.g.keys(t, "") },
		"go back": func(t *rapid.T) { p.back(t) },
		"flush":   func(t *rapid.T) { p.g.put(t, nil) },
		"lose": func(t *rapid.T) {
			p.g.lose(t, p.workers[0].store.tag(rapid.IntRange(0, 1).Draw(t, "partition")))
		},
	}
}

func drawChoice(t *rapid.T) choice {
	return choice{lost: rapid.IntRange(0, 4).Draw(t, "lost") == 0, effect: rapid.SampledFrom(effects).Draw(t, "effect"),
		late:  rapid.SampledFrom([]time.Duration{-20 * time.Second, 0, lateMargin}).Draw(t, "late"),
		shows: rapid.SampledFrom([]time.Duration{0, bankShows}).Draw(t, "shows")}
}

// pass lets time go by; every worker looks on as it does every second, at its end only.
func (p *protocol) pass(t fails, d time.Duration) {
	time.Sleep(d)
	for _, w := range p.workers {
		p.look(t, w)
	}
}

func (p *protocol) look(t fails, w *protocolWorker) {
	if err := w.store.watchOnce(context.Background(), p.journal); err != nil {
		t.Fatalf("look: %v", err)
	}
}

// up has one of the workers apply everything, and all of them look.
func (p *protocol) up(t fails) {
	for _, w := range p.workers {
		for range 4 { // lead, apply, promote, check
			if w.project(len(p.journal.entries)); !w.leading {
				break
			}
		}
	}
	for _, w := range p.workers {
		p.look(t, w)
	}
}

func (p *protocol) back(t fails) {
	if p.copied != nil {
		p.g.put(t, p.copied)
	}
}

// decide is an operator's decision on a parked refund that no worker has in hand: how it ended, or that it may be tried
// again, for nothing has moved and nothing will.
func (p *protocol) decide(id schemas.RequestID, resume bool) {
	r, _ := p.journal.state(id)
	inHand := slices.ContainsFunc(p.workers, func(w *protocolWorker) bool { return w.job != nil && w.job.id == id })
	if r.state != schemas.KindParked || inHand || p.bank.owes(id) && p.bank.ledger(id) == 0 {
		return
	}
	e := event(id, schemas.KindFailed)
	switch {
	case p.bank.ledger(id) > 0:
		e = event(id, schemas.KindSucceeded, attempt(r.attempts))
	case resume:
		e = event(id, schemas.KindResumed, number(p.journal.walk(r.last).parks))
	}
	p.journal.publish(e, r.last)
}

// holds are the promises.
func (p *protocol) holds(t fails) {
	for _, id := range protocolRefunds {
		r, outcomes := p.journal.state(id)
		switch moved := p.bank.ledger(id); {
		case moved > 1:
			t.Fatalf("%s moved money %d times", id, moved)
		case outcomes > 1:
			t.Fatalf("%s has %d outcomes", id, outcomes)
		case r.state == schemas.KindFailed && p.bank.owes(id):
			t.Fatalf("%s failed, and money moved", id)
		case r.state == schemas.KindSucceeded && moved == 0:
			t.Fatalf("%s succeeded, and no money moved", id)
		case p.acked[id] && outcomes == 0:
			t.Fatalf("the message of %s is acknowledged, and nothing is settled", id)
		}
	}
}

// finish goes on with what a worker has in hand; what cannot go on now is given back.
func (p *protocol) finish(t fails, w *protocolWorker) {
	w.run(t, end, func() choice { p.holds(t); return choice{effect: paid} })
	w.crash()
	p.holds(t)
}

// quiet lets everything go well from here on, until every refund is settled.
func (p *protocol) quiet(t fails) {
	for _, w := range p.workers {
		p.finish(t, w)
	}
	open := func(id schemas.RequestID) bool { _, outcomes := p.journal.state(id); return outcomes == 0 }
	for range 100 {
		if !slices.ContainsFunc(protocolRefunds, open) {
			break
		}
		p.pass(t, 61*time.Second)
		p.up(t)
		for i, id := range protocolRefunds {
			w := p.workers[i]
			w.take(id)
			p.finish(t, w)
			p.decide(id, false)
		}
	}
	for _, id := range protocolRefunds {
		if r, _ := p.journal.state(id); !r.settled() {
			t.Fatalf("%s is forgotten: %+v", id, r)
		}
	}
	p.pass(t, time.Hour)
	p.holds(t)
}
