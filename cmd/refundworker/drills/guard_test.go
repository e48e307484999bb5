package drills

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/idempotency/ledger"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

var outcomes = []schemas.Kind{schemas.KindSucceeded, schemas.KindCancelled, schemas.KindFailed}

// contest is refunds of payments that have no room for all of them.
type contest struct {
	*fleet
	instance schemas.ProviderName
	currency schemas.Currency
	random   *rand.Rand
	// captured is what each payment has, in micros; optionsOf the options of its refunds.
	captured  map[string]int64
	optionsOf func(payment string) json.RawMessage
	// once is set where a payment takes one refund ever, so that most are refused.
	once bool
	// parts bound a refund: it is at most that part of its payment.
	parts    int64
	commands []schemas.Command
}

// cent is the millionths of the smallest amount.
const cent = micros / 100

// newContest draws payments of 50 to 150 units.
func newContest(f *fleet, in schemas.ProviderName, currency schemas.Currency, payments int) *contest {
	f.t.Helper()
	seed := uint64(time.Now().UnixNano())
	f.t.Logf("%s: seed %d", in, seed)
	c := &contest{fleet: f, instance: in, currency: currency, random: rand.New(rand.NewPCG(seed, 0)),
		captured: map[string]int64{}, optionsOf: func(string) json.RawMessage { return nil }, parts: 2}
	for i := range payments {
		c.captured[fmt.Sprint(7_000+i)] = (5_000 + c.random.Int64N(10_000)) * cent
	}
	return c
}

// references are the payments, in order.
func (c *contest) references() (list []string) {
	for i := range len(c.captured) {
		list = append(list, fmt.Sprint(7_000+i))
	}
	return list
}

// asks makes a new refund, and names what was captured if it is to.
func (c *contest) asks(payment string, amount int64, names bool) schemas.Command {
	id := schemas.RequestID(fmt.Sprintf("%s-%s-%d:r1", c.instance, payment, len(c.commands)))
	r := schemas.Command{RequestID: id, Provider: c.instance,
		Payment: schemas.Payment{Reference: payment}, RequestedAt: time.Now().UTC().Truncate(time.Second),
		Amount: schemas.Money{Micros: amount, Currency: c.currency}, Options: c.optionsOf(payment)}
	if names {
		r.Payment.Amount = &schemas.Money{Micros: c.captured[payment], Currency: c.currency}
	}
	c.commands = append(c.commands, r)
	return r
}

// open has a first small refund of every other payment made, which names what was captured. It binds all that come later,
// whether they name it or not.
func (c *contest) open() {
	c.t.Helper()
	var first []schemas.Command
	for i, payment := range c.references() {
		if i%2 == 0 {
			first = append(first, c.asks(payment, cent*(1+c.random.Int64N(100)), true))
		}
	}
	c.load.publish(first, 1)
	c.counts("the first refunds are made", len(first), c.instance, schemas.KindSucceeded)
}

// wave publishes each of so many refunds of every payment twice. Where no refund came first, all name what was captured; elsewhere some do.
func (c *contest) wave(each int) {
	c.t.Helper()
	var wave []schemas.Command
	for i, payment := range c.references() {
		for range each {
			amount := cent * (1 + c.random.Int64N(c.captured[payment]/cent/c.parts))
			wave = append(wave, c.asks(payment, amount, i%2 == 1 || c.random.IntN(2) == 0))
		}
	}
	before := c.written()
	c.load.publish(wave, 2)
	c.until("the refunds are in hand", func() error { // their intents are written, and outcomes of others
		if n := c.written() - before; n < uint64(len(wave)/2) {
			return fmt.Errorf("%d events", n)
		}
		return nil
	})
}

// written is how far the journal is.
func (c *contest) written() uint64 {
	c.t.Helper()
	state, err := stateOf(c.load.js, schemas.StreamJournal)
	if err != nil {
		c.t.Fatal(err)
	}
	return state.LastSeq
}

// end waits until every refund has its outcome. Until then order services ask again for all of them, every now and then.
func end(contests ...*contest) {
	began, asked := time.Now(), time.Time{}
	for _, c := range contests {
		c.until("every refund has its outcome", func() error {
			c.neverStopped()
			if time.Since(asked) > askedAgainEvery {
				for _, all := range contests {
					all.load.publish(all.commands, 1)
				}
				asked = time.Now()
			}
			n, err := c.counted(c.instance, outcomes...)
			if err == nil && n < len(c.commands) {
				err = fmt.Errorf("%d of %d", n, len(c.commands))
			}
			return err
		})
		c.t.Logf("%s: every refund has its outcome %s after the last came new", c.instance, time.Since(began).Round(time.Millisecond))
	}
}

// askedAgainEvery is how patient order services are.
const askedAgainEvery = 10 * time.Second

// judge holds the journal, read in its order, against what a cashier would have written: a captured amount, and what went
// back of it. Every refund ended once. What succeeded had room, what was refused had none, by the worker's own word. What
// the journal tells to have gone back is what the provider moved, to the cent.
func (c *contest) judge() {
	c.t.Helper()
	var a audit
	c.each(c.load.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		if e := c.readEvent(msg); e.Event.Provider == c.instance {
			a.journal = append(a.journal, e)
		}
	})
	a.journal = withoutStragglers(a.journal)
	stories := a.stories(func(format string, args ...any) { c.t.Errorf(format, args...) })
	for _, r := range c.commands {
		if s := stories[r.RequestID]; s == nil || len(s.outcomes) != 1 || !s.outcomes[0].Amount.Equal(r.Amount) {
			c.t.Errorf("%s of %s has the story %+v, want one outcome", r.RequestID, r.Amount, s)
		}
		delete(stories, r.RequestID)
	}
	if len(stories) > 0 {
		c.t.Errorf("%d refunds that nobody asked for", len(stories))
	}
	told, refused := c.cashier(a.journal)
	moved := map[string][]int64{}
	for _, m := range c.bank.Ledger() {
		if c.captured[m.Reference] > 0 && m.Amount.Currency == c.currency {
			moved[m.Reference] = append(moved[m.Reference], m.Amount.Micros)
		}
	}
	for payment, captured := range c.captured {
		slices.Sort(told[payment])
		slices.Sort(moved[payment])
		if !slices.Equal(told[payment], moved[payment]) {
			c.t.Errorf("payment %s: %d moved, want what the journal tells, %d", payment, moved[payment], told[payment])
		}
		if total := sum(moved[payment]); total > captured {
			c.t.Errorf("payment %s: %d went back of %d", payment, total, captured)
		}
	}
	if n := len(c.commands); !c.once && (refused < n/5 || refused > n*4/5) {
		c.t.Errorf("%d of %d refunds were refused, want about half", refused, n)
	}
	c.t.Logf("%s: %d refunds of %d payments, %d refused, %d events", c.instance, len(c.commands), len(c.captured), refused,
		len(a.journal))
}

// cashier reads the journal in its order, and returns what went back of each payment and how many refunds were refused.
func (c *contest) cashier(journal []journalled) (back map[string][]int64, refused int) {
	c.t.Helper()
	back = map[string][]int64{}
	foreseen := map[string]ledger.Entry{}
	for _, e := range journal {
		if !e.Event.Kind.Outcome() {
			continue
		}
		payment, amount := e.Event.Payment.Reference, e.Event.Amount.Micros
		rest, reason := c.captured[payment]-sum(back[payment]), schemas.ReasonExceedsRemaining
		if c.once {
			reason = schemas.ReasonAlreadyRefunded
			if len(back[payment]) > 0 {
				rest = 0
			}
		}
		fits := amount <= rest
		if e.Event.Kind != schemas.KindFailed {
			back[payment] = append(back[payment], amount)
			if !fits {
				c.t.Errorf("event %d: %s gives back %d where %d is left", e.Seq, e.Event.RequestID, amount, rest)
			}
			continue
		}
		refused++
		if said := e.Event.ProviderResult; c.once && said != nil && e.Event.Reason == reason {
			// The provider showed, when it was asked about the order, what this refund's worker did not know when it looked.
			foreseen[payment] = e.Entry
			continue
		}
		if fits {
			c.t.Errorf("event %d: %s of %d was refused, and %d was left", e.Seq, e.Event.RequestID, amount, rest)
		}
		if e.Event.Reason != reason || e.Event.ProviderResult != nil {
			c.t.Errorf("event %d: %s failed as %s, by the provider's word %+v; want %s by the worker's", e.Seq, e.Event.RequestID,
				e.Event.Reason, e.Event.ProviderResult, reason)
		}
	}
	for payment, e := range foreseen {
		if len(back[payment]) == 0 {
			c.t.Errorf("event %d: %s failed as %s, and no refund of the payment ever succeeded", e.Seq, e.Event.RequestID, e.Event.Reason)
		}
	}
	return back, refused
}

func sum(amounts []int64) (total int64) {
	for _, amount := range amounts {
		total += amount
	}
	return total
}

// site is the address of the simulated providers.
func (b *bank) site() string { return strings.TrimSuffix(b.baseURL, "/bbmsl") }

const cardAccount = "NorthQuayCard_CAD"

// cards is an instance that takes several refunds of one payment at once, and reports what became of them.
func (d *drill) cards(name schemas.ProviderName) document {
	return document{"name": string(name), "type": "cardfop", "timeout": callTimeout.String(), "concurrency": 64,
		"cardfop": document{"baseURL": d.bank.site() + "/google", "account": cardAccount, "seal": document{"mode": "plain"}}}
}

// cardContest is refunds of card payments at three workers. Calls take a moment, and of some the answer is lost.
func cardContest(t *testing.T, payments int) *contest {
	t.Helper()
	d := newDrill(t)
	c := newContest(newFleet(d, fleetSize, d.cards("card-na")), "card-na", "CAD", payments)
	google := d.bank.Google
	var listed []simulator.GooglePayment
	for payment, captured := range c.captured {
		listed = append(listed, simulator.GooglePayment{Reference: payment, Account: cardAccount,
			Amount: schemas.Money{Micros: captured, Currency: c.currency}})
	}
	c.must(google.SetKeys([]simulator.GoogleKeys{{Account: cardAccount, Mode: simulator.GooglePlain}}))
	c.must(google.SetPayments(listed))
	c.must(d.bank.SetNotices([]simulator.Notice{{Type: simulator.TypeGoogle, API: simulator.GoogleCardFOP,
		Target: "http://" + c.edge, Delay: 300 * time.Millisecond}}))
	c.must(d.bank.SetFaults([]simulator.Fault{
		{Type: simulator.TypeGoogle, Operation: "refund", Effect: simulator.EffectDropAfter, Every: 20},
		{Type: simulator.TypeGoogle, Operation: "refund", Effect: simulator.EffectDelay, For: callLatency}}))
	return c
}

// Order services want to give back about twice what was captured of 50 payments, at three workers at once and everything
// in several copies, while workers are killed and Redis forgets all it knows. No payment gives back more than it had, and
// no refund is refused that had room. The provider would have refused what is too much: it is never asked for.
func TestRefundsInContestNeverExceedTheirPayments(t *testing.T) {
	t.Parallel()
	c := cardContest(t, 50)
	c.open()
	for _, trouble := range []func(){
		func() { c.killed(1) },
		c.emptied,
		func() { c.killed(2); c.emptied() },
		func() { c.killed(0) },
	} {
		c.wave(2)
		trouble()
	}
	end(c)
	c.judge()
	c.neverStopped()
}

// orderContest is refunds of a provider that takes one of an order ever, itemContest of one that takes the next one when the
// bank is done with the last. Both lose answers.
func orderContest(f *fleet, payments int) *contest {
	f.t.Helper()
	c := newContest(f, instance, "HKD", payments)
	c.once = true
	var listed []simulator.BBMSLPayment
	for payment, captured := range c.captured {
		listed = append(listed, simulator.BBMSLPayment{Reference: payment,
			Amount: schemas.Money{Micros: captured, Currency: c.currency}})
	}
	c.must(f.bank.BBMSL.SetPayments(listed))
	return c
}

func itemContest(f *fleet, payments int) *contest {
	f.t.Helper()
	c := newContest(f, merchant, "TRY", payments)
	c.parts = 1 // they are few
	c.optionsOf = func(payment string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"paymentTransactionId":%q}`, payment))
	}
	var listed []simulator.CraftgatePayment
	for payment, captured := range c.captured {
		listed = append(listed, simulator.CraftgatePayment{Reference: payment, Takes: 3 * callLatency,
			Amount: schemas.Money{Micros: captured, Currency: c.currency}})
	}
	c.must(f.bank.Craftgate.SetKeys([]simulator.CraftgateKey{{APIKey: "api", SecretKey: "secret"}}))
	c.must(f.bank.Craftgate.SetPayments(listed))
	return c
}

// items is an instance that takes one refund of a payment at a time.
func (d *drill) items(name schemas.ProviderName) document {
	return document{"name": string(name), "type": "craftgate", "timeout": callTimeout.String(), "concurrency": 64,
		"craftgate": document{"baseURL": d.bank.site() + "/craftgate", "apiKey": d.secretFile("api.key", "api"),
			"secretKey": d.secretFile("secret.key", "secret")}}
}

// orders is an instance that takes one refund of a payment ever.
func (d *drill) orders(name schemas.ProviderName) document {
	return document{"name": string(name), "type": "bbmsl", "timeout": callTimeout.String(), "concurrency": 64,
		"bbmsl": document{"baseURL": d.bank.baseURL, "merchantId": "700123", "privateKey": "${MERCHANT_KEY}", "model": "hosted"}}
}

// Many refunds of the same payments come at once, of a provider that takes one ever and of one that refuses a second while
// the first runs. Workers are killed in the middle of calls. The refunds take turns by themselves: neither provider's rule
// ever has to stop one.
func TestRefundsInContestTakeTurns(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	f := newFleet(d, fleetSize, d.orders(instance), d.items(merchant))
	orders, items := orderContest(f, 12), itemContest(f, 12)
	var faults []simulator.Fault
	for kind, operation := range map[string]string{simulator.TypeBBMSL: "refund", simulator.TypeCraftgate: "refund-transaction"} {
		faults = append(faults, simulator.Fault{Type: kind, Operation: operation, Effect: simulator.EffectDropAfter, Every: 5},
			simulator.Fault{Type: kind, Operation: operation, Effect: simulator.EffectDelay, For: callLatency})
	}
	d.must(d.bank.SetFaults(faults))
	items.open()
	for i := range fleetSize {
		orders.wave(2)
		items.wave(2)
		f.killed(i)
	}
	end(orders, items)
	orders.judge()
	items.judge()
	f.neverStopped()
}
