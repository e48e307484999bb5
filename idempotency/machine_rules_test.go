package idempotency

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"refundworker/schemas"
)

// answer claims. While all rules hold, that is the store's own claim; with one dropped, the same script is asked past it.
func (w *protocolWorker) answer(id schemas.RequestID) (Claim, error) {
	r := w.world.rules
	if r.tokenPerClaim && r.missingPos && r.floor {
		return w.store.Claim(context.Background(), id, fingerprintOf(id), bankLease)
	}
	claim := Claim{RequestID: id, Answer: NotReady, Token: newToken(), Deadline: time.Now().Add(bankLease)}
	if !w.lets() {
		return claim, nil
	}
	if !r.tokenPerClaim {
		claim.Token = "the worker's"
	}
	key, partition := w.store.recordKey(id)
	pos, floor := w.store.posKey(partition), w.store.gate.floorOf(partition)
	if !r.floor {
		floor = 0
	}
	ctx := context.Background()
	if at, err := w.store.positionAt(ctx, pos); err == nil && at.missing() && !r.missingPos {
		pos = w.store.tag(partition) + ":nowhere"
		w.world.g.rdb.HSet(ctx, pos, posSeq, 1<<40)
		defer w.world.g.rdb.Del(ctx, pos)
	}
	fp := fingerprintOf(id)
	reply, err := w.store.scripts.do(ctx, claimScript, []string{key, pos}, claim.Token, string(fp[:]),
		bankLease.Milliseconds(), floor, unjournalledTTL.Milliseconds(), w.store.mayEvict())
	if err != nil {
		return claim, err
	}
	claim.Answered = time.Now()
	return claim, claim.read(reply)
}

// lets is the gate, without what a dropped rule would tell.
func (w *protocolWorker) lets() bool {
	switch w.store.gate.Reason() {
	case Ready:
		return true
	case ProjectionMissing:
		return !w.world.rules.missingPos
	case ProjectionBehind:
		return !w.world.rules.floor
	}
	return false
}

// releaseAnyTime does what the release script does, whenever it is.
func (w *protocolWorker) releaseAnyTime(t fails, j *job, clean bool) {
	ctx, rdb := context.Background(), w.world.g.rdb
	key, _ := w.store.recordKey(j.id)
	if rdb.HGet(ctx, key, "o").Val() != j.claim.Token {
		return
	}
	rdb.HDel(ctx, key, "o", "l")
	rdb.HSet(ctx, key, "x", j.claim.Token)
	if clean {
		if err := rdb.HSet(ctx, key, fieldClean, j.claim.Attempt).Err(); err != nil {
			t.Fatalf("release: %v", err)
		}
	}
}

// do takes the first refund, where nothing is in hand, and goes on to before a step, or until nothing is left to do.
func (w *protocolWorker) do(t fails, until step, c choice) {
	w.take(protocolRefunds[0])
	w.run(t, until, func() choice { return c })
}

// Each rule is needed: there is a schedule in which money moves twice as soon as that one rule is dropped, and once
// while it holds.
func TestEachRuleIsLoadBearing(t *testing.T) {
	t.Parallel()
	for _, test := range ruleTests {
		t.Run(test.name, func(t *testing.T) {
			for _, want := range []int{1, 2} {
				synctest.Test(t, func(t *testing.T) {
					g, stop := newFakeGround()
					defer stop()
					kept := allRules
					if want == 2 {
						test.drop(&kept)
					}
					p := newProtocol(t, g, test.bank, kept)
					defer p.close()
					test.schedule(t, p, p.workers)
					p.pass(t, 2*time.Minute)
					if got := p.bank.ledger(protocolRefunds[0]); got != want {
						t.Errorf("rules %+v: money moved %d times, want %d", kept, got, want)
					}
				})
			}
		})
	}
}

var ruleTests = []struct {
	name     string
	bank     bankKind
	drop     func(r *rules)
	schedule func(t *testing.T, p *protocol, w []*protocolWorker)
}{
	{"the fence", looksUp, func(r *rules) { r.fence = false }, func(t *testing.T, p *protocol, w []*protocolWorker) {
		p.copied = p.g.keys(t, "")
		w[0].do(t, toIntend, choice{})
		p.back(t) // the lease is lost
		w[1].do(t, end, choice{effect: lostPaid})
		w[0].do(t, end, choice{effect: paid})
	}},
	{"a token per claim", looksUp, func(r *rules) { r.tokenPerClaim = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			p.copied = p.g.keys(t, "")
			w[0].do(t, end, choice{effect: lostPaid})
			p.back(t)
			w[0].do(t, end, choice{effect: paid}) // its own intent is read back, that of another claim
		}},
	{"the attempt number from the claim's answer", looksUp, func(r *rules) { r.attemptOfClaim = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			p.copied = p.g.keys(t, "")
			w[0].do(t, toIntend, choice{})
			p.back(t)
			w[1].do(t, end, choice{effect: lostPaid})
			p.up(t)
			w[0].do(t, end, choice{effect: paid})
		}},
	{"no claim without a position", looksUp, func(r *rules) { r.missingPos = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, end, choice{effect: lostPaid})
			p.up(t)
			p.pass(t, knownIDs+time.Minute)
			p.g.put(t, nil)
			w[1].do(t, end, choice{effect: paid})
		}},
	{"the floor", looksUp, func(r *rules) { r.floor = false }, func(t *testing.T, p *protocol, w []*protocolWorker) {
		p.copied = p.g.keys(t, "")
		w[0].do(t, end, choice{effect: lostPaid})
		p.up(t)
		p.pass(t, knownIDs+time.Minute)
		p.back(t)
		w[1].do(t, end, choice{effect: paid})
	}},
	{"the lag bound", looksUp, func(r *rules) { r.lagBound = false }, func(t *testing.T, p *protocol, w []*protocolWorker) {
		w[0].do(t, end, choice{effect: lostPaid})
		p.pass(t, time.Second)
		p.pass(t, knownIDs+time.Minute) // and nobody projects
		w[1].do(t, end, choice{effect: paid})
	}},
	{"the lease carried by the event", looksUp, func(r *rules) { r.leaseInEvent = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, end, choice{effect: lostLate, late: lateMargin})
			p.g.put(t, nil)
			p.up(t)
			w[1].do(t, end, choice{effect: paid})
		}},
	{"the worker's own deadline", looksUp, func(r *rules) { r.ownDeadline = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, toCall, choice{})
			p.up(t)
			p.pass(t, 2*time.Minute) // paused, and the lease ends
			w[1].do(t, end, choice{effect: paid})
			w[0].do(t, end, choice{effect: paid})
		}},
	{"release only inside the lease", looksUp, func(r *rules) { r.releaseInLease = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, toIntend, choice{})
			p.copied = p.g.keys(t, "") // with the first worker's lease
			p.pass(t, 2*time.Minute)
			w[1].do(t, end, choice{effect: lostPaid})
			p.up(t)
			p.pass(t, knownIDs+time.Minute)
			w[0].do(t, toRelease, choice{}) // its intent is stored, its number is the second worker's
			p.back(t)
			w[0].do(t, end, choice{})
			p.pass(t, projectorLease+time.Second)
			p.up(t)
			w[2].do(t, end, choice{effect: paid})
		}},
	{"the lookup in doubt", looksUp, func(r *rules) { r.lookUpInDoubt = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, end, choice{effect: lostPaid})
			p.up(t)
			p.pass(t, 2*time.Minute)
			w[1].do(t, end, choice{effect: paid})
		}},
	{"doubt about every attempt, not the last", honoursID, func(r *rules) { r.doubtAboutEvery = false },
		func(t *testing.T, p *protocol, w []*protocolWorker) {
			w[0].do(t, end, choice{effect: lostPaid})
			p.up(t)
			p.pass(t, 2*time.Minute)
			w[1].do(t, end, choice{effect: unavailable})
			p.up(t)
			p.pass(t, 2*bankKeyLife)
			w[2].do(t, end, choice{effect: paid})
		}},
}
