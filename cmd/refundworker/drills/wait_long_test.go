//go:build long

package drills

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// pace is how fast refunds of card payments come to one worker, and for how long.
const (
	pacePerSecond = 500
	paceLasts     = 20 * time.Second
	paceRefunds   = pacePerSecond * int(paceLasts/time.Second)
)

// timing is when things happened to one refund.
type timing struct{ sent, dispatched, called, told time.Time }

// figures are what refunds of one kind took.
type figures struct{ toCall, whole []time.Duration }

// quantiles are p50 and p99.
func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}

// pacing is one worker and the refunds that it is asked for.
type pacing struct {
	*fleet
	times map[schemas.RequestID]*timing
}

// openCards has the provider take refunds of any card payment.
func (p *pacing) openCards() {
	p.t.Helper()
	p.must(p.bank.Google.SetKeys([]simulator.GoogleKeys{{Account: cardAccount, Mode: simulator.GooglePlain}}))
	p.must(p.bank.Google.SetOpen(simulator.GooglePayment{Account: cardAccount,
		Amount: schemas.Money{Micros: paymentUnits * micros, Currency: "CAD"}}))
}

// round publishes refunds at a steady pace, each of a payment of its own, and waits until the provider has taken all of them
// on.
func (p *pacing) round(name string, armed bool) {
	p.t.Helper()
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var futures []jetstream.PubAckFuture
	began := time.Now()
	for len(futures) < paceRefunds {
		<-tick.C
		for due := int(time.Since(began).Seconds() * pacePerSecond); len(futures) < min(due, paceRefunds); {
			c := schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("%s-%d:r1", name, len(futures))), Provider: "card-na",
				Payment: schemas.Payment{Reference: fmt.Sprintf("%s-%d", name, len(futures))}, RequestedAt: time.Now().UTC(),
				Amount: schemas.Money{Micros: refundUnits * micros, Currency: "CAD"}}
			if armed {
				c.Payment.Amount = &schemas.Money{Micros: paymentUnits * micros, Currency: "CAD"}
			}
			body, err := c.Encode()
			p.must(err)
			p.times[c.RequestID] = &timing{sent: time.Now()}
			future, err := p.load.js.PublishAsync(schemas.Subjects{}.Command(c.Provider), body, jetstream.WithStallWait(time.Minute))
			p.must(err)
			futures = append(futures, future)
		}
	}
	p.counts("the refunds are taken on", len(p.times), "card-na", schemas.KindAcknowledged)
	p.t.Logf("round %s: %d refunds in %s", name, len(futures), time.Since(began).Round(time.Millisecond))
}

// read reads when everything happened, from the journal and from the provider's ledger.
func (p *pacing) read() {
	p.t.Helper()
	p.each(p.load.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		p.must(err)
		e := p.readEvent(msg)
		t, ours := p.times[e.Event.RequestID]
		if !ours {
			return
		}
		switch e.Event.Kind {
		case schemas.KindDispatched:
			t.dispatched = meta.Timestamp
		case schemas.KindAcknowledged:
			t.told = meta.Timestamp
		default:
			p.t.Errorf("%s is %s", e.Event.RequestID, e.Event.Kind)
		}
	})
	for _, m := range p.bank.Ledger() {
		p.times[schemas.RequestID(m.Key)].called = m.At
	}
}

// figures are those of one round.
func (p *pacing) figures(name string) (f figures) {
	for id, t := range p.times {
		if strings.HasPrefix(string(id), name+"-") {
			f.toCall = append(f.toCall, t.called.Sub(t.dispatched))
			f.whole = append(f.whole, t.told.Sub(t.sent))
		}
	}
	return f
}

// waits is how many waits for the guard the worker has measured, by the upper end of their class in seconds.
func (p *pacing) waits() (count int, classes []string) {
	p.t.Helper()
	res, err := http.Get("http://" + p.workers[0].admin + "/metrics")
	p.must(err)
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if strings.HasPrefix(name, "refund_guard_wait_seconds_count") {
			_, err := fmt.Sscan(value, &count)
			p.must(err)
		}
		if _, le, ok := strings.Cut(name, `le="`); ok && strings.HasPrefix(name, "refund_guard_wait_seconds_bucket") {
			le, _, _ = strings.Cut(le, `"`)
			classes = append(classes, value+" within "+le+" s")
		}
	}
	return count, classes
}

// Refunds come at a steady pace, in turns with and without the captured amount. Those that name it wait for the projection,
// for as long as is printed; the others do not wait at all.
func TestLongGuardWait(t *testing.T) {
	d := newDrill(t)
	p := &pacing{fleet: newFleet(d, 1, d.cards("card-na")), times: map[schemas.RequestID]*timing{}}
	p.openCards()
	p.round("warm", true)
	waited, _ := p.waits()
	if waited != paceRefunds {
		t.Errorf("%d waits for the guard, want %d", waited, paceRefunds)
	}
	for pair := range 3 {
		for turn := range 2 {
			armed := pair%2 == turn // each kind comes first as often as second
			name, want := fmt.Sprint("unarmed-", pair), 0
			if armed {
				name, want = fmt.Sprint("armed-", pair), paceRefunds
			}
			p.round(name, armed)
			before := waited
			if waited, _ = p.waits(); waited-before != want {
				t.Errorf("round %s: %d waits for the guard, want %d", name, waited-before, want)
			}
		}
	}
	if n := len(d.bank.Ledger()); n != len(p.times) {
		t.Fatalf("%d movements of %d refunds", n, len(p.times))
	}
	p.read()
	for pair := range 3 {
		for _, kind := range []string{"armed", "unarmed"} {
			f := p.figures(fmt.Sprint(kind, "-", pair))
			call50, call99 := quantiles(f.toCall)
			all50, all99 := quantiles(f.whole)
			t.Logf("pair %d, %-7s: intent to call p50 %s p99 %s, command to answer p50 %s p99 %s", pair, kind,
				call50, call99, all50, all99)
		}
	}
	_, classes := p.waits()
	t.Logf("the worker measured: %s", strings.Join(classes, ", "))
	p.neverStopped()
}
