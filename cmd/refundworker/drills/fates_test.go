package drills

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// fate is what becomes of a refund that an integrator takes on.
type fate struct {
	// rule is what the simulator is told beside which refund it is about.
	rule document
	// kind and reason are the outcome, and said is what the integrator's processor says of it.
	kind   schemas.Kind
	reason schemas.Reason
	said   schemas.ProviderResult
	// back are the reversals, in units and the smallest first, and refused how many more the worker does not accept.
	back    []int
	refused int
	// contradicted is set when a second result says otherwise; filed, when it comes at the very end, in a bank's file.
	contradicted, filed bool
	// sends is how many notices are sent, repeats among them.
	sends int
}

// party is an integrator account that the worker asks for refunds.
type party struct {
	name     schemas.ProviderName
	api      string
	account  string
	currency string
	keys     keyRing
}

// settings are the provider instance in the worker's settings.
func (p party) settings(d *drill, sim *simulated) document {
	return document{"name": string(p.name), "type": p.api, "timeout": callTimeout.String(), "backoff": document{"max": "5s"},
		p.api: document{"baseURL": "http://" + sim.addr + "/google", "account": p.account, "seal": p.keys.settings(d)}}
}

// refundUnits is the amount of each refund, and paymentUnits what each payment has.
const refundUnits, paymentUnits = 10, 15

// fated are refunds, each of a payment of its own, and what is to become of each.
type fated struct {
	*reported
	party
	commands []schemas.Command
	fates    map[schemas.RequestID]fate
}

// newFated starts a worker for a party and the party's simulator.
func newFated(d *drill, p party) *fated {
	d.t.Helper()
	f := &fated{reported: newReported(d, func(sim *simulated) document { return p.settings(d, sim) }), party: p,
		fates: map[schemas.RequestID]fate{}}
	f.sim.put("keys/google", []any{p.keys.control(p.account)})
	f.sim.put("open/google", document{"amount": amountOf(paymentUnits, p.currency)})
	return f
}

// next makes n refunds, whose fates take turns.
func (f *fated) next(n int, fates []fate) []schemas.Command {
	for range n {
		i := len(f.commands)
		c := schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("ord-%d:r1", i)), Provider: f.name,
			Payment:     schemas.Payment{Reference: fmt.Sprintf("cap-%d", i)},
			RequestedAt: time.Now().UTC().Truncate(time.Second),
			Amount:      schemas.Money{Micros: refundUnits * micros, Currency: schemas.Currency(f.currency)}}
		f.commands, f.fates[c.RequestID] = append(f.commands, c), fates[i%len(fates)]
	}
	return f.commands[len(f.commands)-n:]
}

// tell tells the simulator what is to become of every refund so far.
func (f *fated) tell() {
	f.t.Helper()
	var rules []document
	for _, c := range f.commands {
		rule := document{"type": "google", "api": f.api, "refund": string(c.RequestID), "target": f.target()}
		maps.Copy(rule, f.fates[c.RequestID].rule)
		rules = append(rules, rule)
	}
	f.sim.put("notices", rules)
}

// end waits until everything is sent and dealt with.
func (f *fated) end() {
	f.t.Helper()
	want := 0
	for _, fate := range f.fates {
		want += fate.sends
	}
	f.until("everything is sent", func() error {
		sent := f.sim.notices()
		for _, n := range sent {
			if n.State == simulator.NoticeSending {
				return fmt.Errorf("%s about %s: try %d said %d", n.Method, n.Refund, n.Tries, n.Status)
			}
		}
		if len(sent) != want {
			return fmt.Errorf("%d notices, want %d", len(sent), want)
		}
		return nil
	})
	f.until("nothing is left to do", f.nothingOpen)
}

// nothingOpen waits for no schedule of a refund that has its outcome: one that a killed worker stored just when a notice
// settled the refund sleeps until the refund would have been looked at.
func (f *fated) nothingOpen() error {
	for _, name := range []string{schemas.StreamCommands, schemas.StreamNotices} {
		if state, err := stateOf(f.load.js, name); err != nil || state.Msgs > 0 {
			return fmt.Errorf("%d messages in %s (%v)", state.Msgs, name, err)
		}
	}
	waiting := map[schemas.RequestID]bool{}
	f.peek(f.load.js, schemas.StreamRetries, func(body []byte) {
		if n, err := schemas.DecodeNotice(body); err == nil {
			waiting[n.RefundRequestID] = true
		} else if c, err := schemas.DecodeCommand(body, schemas.Arrival{}); err == nil && !waiting[c.RequestID] {
			waiting[c.RequestID] = false
		}
	})
	if len(waiting) == 0 {
		return nil
	}
	settled := map[schemas.RequestID]bool{}
	f.peek(f.load.js, schemas.StreamJournal, func(body []byte) {
		if e, err := schemas.DecodeEvent(body); err == nil && e.Kind.Outcome() {
			settled[e.RequestID] = true
		}
	})
	for id, notice := range waiting {
		if notice || !settled[id] {
			return fmt.Errorf("%s waits", id)
		}
	}
	return nil
}

// file publishes the results that come in a bank's file, as a job of the back office would, and waits until they are dealt
// with.
func (f *fated) file() {
	f.t.Helper()
	for id, fate := range f.fates {
		if !fate.filed {
			continue
		}
		n := schemas.Notice{NoticeID: "file-1:" + string(id), Provider: f.name, RefundRequestID: id,
			Type: schemas.NoticeResultType, Result: &schemas.NoticeResult{Kind: schemas.KindSucceeded},
			ReceivedAt: time.Now().UTC(), Source: "bank-file-1"}
		body, err := n.Encode()
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := f.load.js.Publish(f.t.Context(), schemas.Subjects{}.Notices(f.name), body); err != nil {
			f.t.Fatal(err)
		}
	}
	f.load.quiet()
}

// agree holds what the worker tells against what the integrator did, and both against the fates.
func (f *fated) agree() {
	f.t.Helper()
	tellings := f.tellings()
	movements := map[string][]simulator.Movement{}
	for _, m := range f.sim.ledger() {
		movements[m.Reference] = append(movements[m.Reference], m)
	}
	for _, c := range f.commands {
		f.refund(c, tellings[c.RequestID], movements[c.Payment.Reference])
		delete(tellings, c.RequestID)
		delete(movements, c.Payment.Reference)
	}
	if len(tellings) > 0 || len(movements) > 0 {
		f.t.Errorf("events of %d refunds and movements of %d payments that nobody asked for", len(tellings), len(movements))
	}
	f.accepted()
	f.deadLetters()
}

// telling is what the journal says about one refund.
type telling struct {
	*story
	reversals []schemas.Reversal
}

// tellings reads the journal.
func (f *fated) tellings() map[schemas.RequestID]telling {
	f.t.Helper()
	var a audit
	f.each(f.load.js, schemas.StreamJournal, func(msg jetstream.Msg) { a.journal = append(a.journal, f.readEvent(msg)) })
	a.journal = withoutStragglers(a.journal)
	tellings := map[schemas.RequestID]telling{}
	for id, s := range a.stories(func(format string, args ...any) { f.t.Errorf(format, args...) }) {
		tellings[id] = telling{story: s}
	}
	kinds := map[schemas.Kind]int{}
	for _, e := range a.journal {
		kinds[e.Event.Kind]++
		if t := tellings[e.Event.RequestID]; e.Event.Kind == schemas.KindReversed {
			t.reversals = append(t.reversals, *e.Event.Reversal)
			tellings[e.Event.RequestID] = t
		}
	}
	f.t.Logf("events %v", kinds)
	return tellings
}

// withoutStragglers leaves out what was journalled of a call while a notice told how the refund ended: nothing keeps the two
// apart. What comes after the outcome the projection passes over, too.
func withoutStragglers(journal []journalled) []journalled {
	ended := map[schemas.RequestID]uint64{} // the event before the outcome, as the outcome names it
	for _, e := range journal {
		if e.Event.Kind.Outcome() {
			ended[e.Event.RequestID] = e.previous
		}
	}
	return slices.DeleteFunc(journal, func(e journalled) bool {
		before, known := ended[e.Event.RequestID]
		ofCall := e.Event.Kind == schemas.KindDispatched || e.Event.Kind == schemas.KindAcknowledged
		return known && ofCall && e.Seq > before
	})
}

// refund judges one refund.
func (f *fated) refund(c schemas.Command, told telling, moved []simulator.Movement) {
	f.t.Helper()
	want := f.fates[c.RequestID]
	if told.story == nil || len(told.outcomes) != 1 {
		f.t.Errorf("%s: told as %+v, want one outcome", c.RequestID, told)
		return
	}
	e := told.outcomes[0]
	if e.Kind != want.kind || e.Reason != want.reason || e.FoundBy != schemas.FoundByNotice || !e.Amount.Equal(c.Amount) {
		f.t.Errorf("%s: %s(%s) of %s found by %s, want %s(%s) of %s found by notice", c.RequestID, e.Kind, e.Reason, e.Amount,
			e.FoundBy, want.kind, want.reason, c.Amount)
	}
	if e.ProviderResult == nil || *e.ProviderResult != want.said {
		f.t.Errorf("%s: the integrator said %+v, want %+v", c.RequestID, e.ProviderResult, want.said)
	}
	var lines, back []string
	if want.kind == schemas.KindSucceeded {
		lines = append(lines, fmt.Sprint(simulator.MovementRefund, c.Amount, c.RequestID, e.ProviderRefundID))
	}
	for _, units := range want.back {
		amount := schemas.Money{Micros: int64(units) * micros, Currency: c.Amount.Currency}
		lines = append(lines, fmt.Sprint(simulator.MovementReversal, amount, c.RequestID, e.ProviderRefundID))
		back = append(back, amount.String())
	}
	if got := movementsOf(moved); !slices.Equal(got, lines) {
		f.t.Errorf("%s: movements %q, want %q", c.RequestID, got, lines)
	}
	f.reversals(c, told.reversals, back)
}

// reversals judges those of one refund: each once, in any order, and each total counts those before it in.
func (f *fated) reversals(c schemas.Command, told []schemas.Reversal, want []string) {
	f.t.Helper()
	var got []string
	var total int64
	for _, r := range told {
		total += r.Amount.Micros
		got = append(got, r.Amount.String())
		if r.Total.Micros != total || r.Total.Currency != c.Amount.Currency {
			f.t.Errorf("%s: reversals of %s in all, want %d millionths", c.RequestID, r.Total, total)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: reversals %q, want %q", c.RequestID, got, want)
	}
}

func movementsOf(moved []simulator.Movement) (lines []string) {
	for _, m := range moved {
		lines = append(lines, fmt.Sprint(m.Kind, m.Amount, m.Key, m.ProviderRefundID))
	}
	return lines
}

// accepted holds what the integrator heard: every notice was accepted, but for those that the worker should refuse.
func (f *fated) accepted() {
	f.t.Helper()
	refused := map[string]int{}
	for _, n := range f.sim.notices() {
		if n.State == simulator.NoticeAccepted {
			continue
		}
		refused[n.Refund]++
		if n.Method != "reverseRefundNotification" || n.Status != 400 {
			f.t.Errorf("%s: %s was answered %d, want 200", n.Refund, n.Method, n.Status)
		}
	}
	for id, fate := range f.fates {
		if got := refused[string(id)]; got != fate.refused {
			f.t.Errorf("%s: %d notices refused, want %d", id, got, fate.refused)
		}
	}
}

// deadLetters holds that there is one for every contradicting notice, and none else.
func (f *fated) deadLetters() {
	f.t.Helper()
	dead := map[schemas.RequestID]int{}
	f.each(f.load.js, schemas.StreamDead, func(msg jetstream.Msg) {
		n, err := schemas.DecodeNotice(msg.Data())
		if reason := msg.Headers().Get(schemas.HeaderDeadReason); err != nil || reason != string(schemas.ReasonContradiction) {
			f.t.Errorf("dead letter of %s (%v): %s, want a contradicting notice", n.RefundRequestID, err, reason)
		}
		dead[n.RefundRequestID]++
	})
	for id, fate := range f.fates {
		want := 0
		if fate.contradicted {
			want = 1
		}
		if got := dead[id]; got != want {
			f.t.Errorf("%s: %d dead letters, want %d", id, got, want)
		}
		delete(dead, id)
	}
	if len(dead) > 0 {
		f.t.Errorf("dead letters of %v, which nobody asked for", slices.Collect(maps.Keys(dead)))
	}
}
