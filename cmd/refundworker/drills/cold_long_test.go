//go:build long

package drills

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	// oldRefunds have ended long ago: the server has to fetch the last event of one from disk.
	oldRefunds = 1_000_000
	// oldProvider is an instance that nobody works for any more.
	oldProvider schemas.ProviderName = "old"
)

// coldHeads is a worker with a long history.
type coldHeads struct {
	*pacing
	journal *stream.Journal
	firsts  []schemas.Event
	heads   []uint64
	// next is the first of the old refunds to which nothing was appended.
	next int
}

// fill journals the old refunds, from intent to outcome, and waits until all of it is projected.
func (c *coldHeads) fill() {
	c.t.Helper()
	c.firsts, c.heads = make([]schemas.Event, oldRefunds), make([]uint64, oldRefunds)
	began := time.Now()
	var taken atomic.Int64
	var filling sync.WaitGroup
	for range 256 {
		filling.Go(func() {
			for i := taken.Add(1) - 1; i < oldRefunds && !c.t.Failed(); i = taken.Add(1) - 1 {
				if err := c.settled(int(i)); err != nil {
					c.t.Error(err)
				}
			}
		})
	}
	filling.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	c.t.Logf("%d refunds are journalled in %s", oldRefunds, time.Since(began).Round(time.Second))
	c.until("all of it is projected", func() error {
		if lag := c.workers[0].measures("refund_projection_lag"); lag != 0 {
			return fmt.Errorf("%v events are not", lag)
		}
		return nil
	})
	c.t.Logf("all of it is projected after %s", time.Since(began).Round(time.Second))
	rand.Shuffle(oldRefunds, func(i, j int) {
		c.heads[i], c.heads[j] = c.heads[j], c.heads[i]
		c.firsts[i], c.firsts[j] = c.firsts[j], c.firsts[i]
	})
}

// settled journals an old refund.
func (c *coldHeads) settled(i int) error {
	amount := schemas.Money{Micros: refundUnits * micros, Currency: "CAD"}
	command := schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("old-%d:r1", i)), Provider: oldProvider,
		Payment: schemas.Payment{Reference: fmt.Sprintf("old-%d", i)}, RequestedAt: time.Now().UTC(), Amount: amount}
	fingerprint, err := command.Fingerprint()
	if err != nil {
		return err
	}
	first := schemas.NewEvent(schemas.KindDispatched, command, time.Now())
	until := time.Now().Add(time.Minute)
	first.Attempt, first.IdempotencyKey, first.LeaseUntil, first.Fingerprint = 1, string(command.RequestID), &until, fingerprint.String()
	body, err := command.Encode()
	if err != nil {
		return err
	}
	at, err := c.append(ledger.Entry{Event: first, Owner: "gone", Command: body}, 0)
	if err != nil {
		return err
	}
	outcome := first.After(schemas.KindSucceeded, time.Now())
	outcome.Attempt, outcome.FoundBy, outcome.RefundType = 1, schemas.FoundByCall, schemas.RefundTypeRefund
	c.firsts[i] = first
	c.heads[i], err = c.append(ledger.Entry{Event: outcome, Owner: "gone"}, at)
	return err
}

// append journals an entry behind a head.
func (c *coldHeads) append(e ledger.Entry, after uint64) (uint64, error) {
	e.ID = e.Event.ID()
	stored, err := c.journal.Append(context.Background(), e, after)
	if err == nil && stored.Stale {
		err = fmt.Errorf("%s: another head than %d", e.ID, after)
	}
	return stored.Seq, err
}

// reversals appends to old refunds at a steady pace until stop is called, which returns how long each took.
func (c *coldHeads) reversals(perSecond int) (stop func() []time.Duration) {
	if perSecond == 0 {
		return func() []time.Duration { return nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	var took []time.Duration
	var appending sync.WaitGroup
	appending.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for ; ctx.Err() == nil; c.next++ {
			e := c.firsts[c.next].After(schemas.KindReversed, time.Now())
			e.Reversal = &schemas.Reversal{NoticeID: fmt.Sprint("back-", c.next), Amount: *e.Amount, Total: *e.Amount}
			began := time.Now()
			if _, err := c.append(ledger.Entry{Event: e}, c.heads[c.next]); err != nil {
				c.t.Error(err)
			}
			took = append(took, time.Since(began))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() []time.Duration { cancel(); appending.Wait(); return took }
}

// resident is how much memory NATS uses, in bytes.
func (c *coldHeads) resident() int {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.nats.servers[0].cmd.Process.Pid))
	c.must(err)
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	c.must(err)
	return kib << 10
}

// Refunds come at a steady pace while, now and then, something is appended to one that ended long ago. How long each takes is
// printed, and how much memory a refund of the past costs NATS.
func TestLongColdHeads(t *testing.T) {
	d := newDrill(t)
	c := &coldHeads{pacing: &pacing{fleet: newFleet(d, 1, d.cards("card-na")), times: map[schemas.RequestID]*timing{}}}
	c.openCards()
	c.journal = stream.NewJournal(c.load.js, schemas.Subjects{})
	before := c.resident()
	c.fill()
	c.nats.end(syscall.SIGTERM) // what it needs for the past is seen once it has let go of what it wrote
	c.nats.start()
	c.workers[0].awaitReady()
	t.Logf("NATS has %d bytes of memory a refund (%d MB before)", (c.resident()-before)/oldRefunds, before>>20)
	c.round("warm", false)

	type round struct {
		name      string
		perSecond int
		took      []time.Duration
	}
	var rounds []round
	for pair := range 2 {
		for _, perSecond := range []int{0, 5, 20} {
			r := round{name: fmt.Sprintf("beside-%d-%d", perSecond, pair), perSecond: perSecond}
			stop := c.reversals(perSecond)
			c.round(r.name, false)
			r.took = stop()
			rounds = append(rounds, r)
		}
	}
	if n := len(d.bank.Ledger()); n != len(c.times) {
		t.Errorf("%d movements of %d refunds", n, len(c.times))
	}
	c.read()
	for _, r := range rounds {
		p50, p99 := quantiles(c.figures(r.name).whole)
		line := fmt.Sprintf("%2d reversals a second: command to answer p50 %s p99 %s", r.perSecond, p50, p99)
		if len(r.took) > 0 {
			p50, p99 = quantiles(r.took)
			line += fmt.Sprintf("; %d reversals p50 %s p99 %s", len(r.took), p50, p99)
		}
		t.Log(line)
	}
}
