package drills

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// shortly is when results are reported: mostly once the call is answered.
const shortly = "300ms"

// Raw results of the rail.
var (
	approved = document{"scope": "VISA", "code": "00"}
	returned = document{"scope": "VISA", "code": "62"}
	tooLate  = document{"scope": "VISA", "code": "54"}
)

// cardSaid is what the outcome's event quotes of a result.
func cardSaid(code, name string) schemas.ProviderResult {
	return schemas.ProviderResult{Scope: "VISA", Code: code, Message: name}
}

// The ways that a card refund can go.
var (
	cardPaid = fate{rule: document{"delay": shortly, "rawResult": approved},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), sends: 1}
	cardPaidTold3 = fate{rule: document{"delay": shortly, "repeat": 2, "rawResult": approved},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), sends: 3}
	cardOvertaking = fate{rule: document{"before": true, "repeat": 1},
		kind: schemas.KindSucceeded, said: schemas.ProviderResult{Scope: "google", Code: "SUCCESS"}, sends: 2}
	cardBack = fate{rule: document{"delay": shortly, "rawResult": approved,
		"reversals": []any{document{"amount": "all", "rawResult": returned, "repeat": 1}}},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), back: []int{refundUnits}, sends: 3}
	cardBackInTwo = fate{rule: document{"delay": shortly, "rawResult": approved,
		"reversals": []any{document{"amount": amountOf(4, "CAD"), "rawResult": returned},
			document{"amount": "all", "rawResult": returned, "delay": shortly}}},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), back: []int{4, 6}, sends: 3}
	cardTooMuchBack = fate{rule: document{"delay": shortly, "rawResult": approved,
		"reversals": []any{document{"amount": amountOf(refundUnits+1, "CAD"), "rawResult": returned}}},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), refused: 1, sends: 2}
	cardTooLate = fate{rule: document{"delay": shortly, "result": "REFUND_WINDOW_EXCEEDED", "rawResult": tooLate},
		kind: schemas.KindFailed, reason: schemas.ReasonWindowExceeded, said: cardSaid("54", "REFUND_WINDOW_EXCEEDED"), sends: 1}
	cardNothingLeft = fate{rule: document{"delay": shortly, "result": "NO_MONEY_LEFT_ON_TRANSACTION", "repeat": 1},
		kind: schemas.KindFailed, reason: schemas.ReasonExceedsRemaining,
		said: schemas.ProviderResult{Scope: "google", Code: "NO_MONEY_LEFT_ON_TRANSACTION"}, sends: 2}
	cardOvertakingNo = fate{rule: document{"before": true, "result": "REFUND_WINDOW_EXCEEDED"},
		kind: schemas.KindFailed, reason: schemas.ReasonWindowExceeded,
		said: schemas.ProviderResult{Scope: "google", Code: "REFUND_WINDOW_EXCEEDED"}, sends: 1}
	// The result is repeated before it is contradicted, so that it is journalled by then.
	cardPaidAndNot = fate{rule: document{"delay": shortly, "repeat": 4, "rawResult": approved, "contradict": "REFUND_WINDOW_EXCEEDED"},
		kind: schemas.KindSucceeded, said: cardSaid("00", "SUCCESS"), contradicted: true, sends: 6}
	cardNotAndPaidByFile = fate{rule: document{"delay": shortly, "result": "REFUND_WINDOW_EXCEEDED"},
		kind: schemas.KindFailed, reason: schemas.ReasonWindowExceeded,
		said: schemas.ProviderResult{Scope: "google", Code: "REFUND_WINDOW_EXCEEDED"}, contradicted: true, filed: true, sends: 1}
)

// cardParty is an account of the card protocol with two keys on each side.
func cardParty(t *testing.T) party {
	return party{name: "card-na", api: "cardfop", account: "NorthQuayCard_CAD", currency: "CAD", keys: pgpKeys(t)}
}

// Two processes speak the card protocol, signed and encrypted: what the integrator did and reports is what the worker
// tells, one event for each movement, whatever is repeated, comes too early or contradicts itself. Half way the
// integrator changes its keys, and drops the worker's older one, while refunds are under way.
func TestCardRefundsResultsAndReversals(t *testing.T) {
	t.Parallel()
	const half = 66
	f := newFated(newDrill(t), cardParty(t))
	fates := []fate{cardPaid, cardPaidTold3, cardOvertaking, cardBack, cardBackInTwo, cardTooMuchBack, cardTooLate,
		cardNothingLeft, cardOvertakingNo, cardPaidAndNot, cardNotAndPaidByFile}
	for i := range 2 {
		f.sim.put("keys/google", []any{f.keys.only(i).control(f.account)})
		commands := f.next(half, fates)
		f.tell()
		f.load.publish(commands, 2)
		f.until("some refunds are taken on", func() error {
			if got, want := len(f.sim.notices()), half/2; got < want {
				return fmt.Errorf("%d notices, want %d", got, want)
			}
			return nil
		})
	}
	f.end()
	f.file()
	f.agree()
}

// The same while the worker is killed, twice, and its edge is away until the integrator has noticed: what could not be
// told is told again, what was told is not forgotten, and what was called is not called for twice.
func TestCardRefundsWithTheWorkerKilled(t *testing.T) {
	t.Parallel()
	const refunds = 160
	f := newFated(newDrill(t), cardParty(t))
	commands := f.next(refunds, []fate{cardPaid, cardPaidTold3, cardOvertaking, cardBack, cardBackInTwo, cardTooLate,
		cardNothingLeft, cardOvertakingNo})
	f.tell()
	f.load.publish(commands, 1)
	for _, share := range []int{4, 2} {
		f.until("some refunds are taken on", func() error {
			if got, want := len(f.sim.notices()), refunds/share; got < want {
				return fmt.Errorf("%d notices, want %d", got, want)
			}
			return nil
		})
		f.worker.kill()
		f.until("the integrator reports in vain", f.reportsInVain)
		f.worker.start()
		f.worker.awaitReady()
	}
	f.load.publish(commands, 1)
	f.end()
	f.agree()
}

// reportsInVain tells whether some notice gets no answer.
func (f *fated) reportsInVain() error {
	for _, n := range f.sim.notices() {
		if n.State == simulator.NoticeSending && n.Tries > 0 && n.Status == 0 {
			return nil
		}
	}
	return errNotYet
}

// Without the right keys there is not a word: an integrator whose key the worker does not know reports into the void, and
// the refund waits for its result until the key is there.
func TestCardResultUnderAnUnknownKey(t *testing.T) {
	t.Parallel()
	f := newFated(newDrill(t), cardParty(t))
	strange := keyRing{mode: "pgp", worker: f.keys.worker, integrator: pgpKeys(t).integrator}
	commands := f.next(1, []fate{{rule: document{"delay": "5s"}}})
	f.tell()
	f.load.publish(commands, 1)
	f.until("the refund is taken on", func() error { return f.told(schemas.KindAcknowledged) })
	f.sim.put("keys/google", []any{strange.control(f.account)})
	f.until("the report is turned down", func() error {
		for _, n := range f.sim.notices() {
			if n.State == simulator.NoticeStopped && n.Status == http.StatusNotFound {
				return nil
			}
		}
		return errNotYet
	})
	if err := f.told(schemas.KindSucceeded); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("the word of a stranger is journalled as a success (%v)", err)
	}
	if notices, err := stateOf(f.load.js, schemas.StreamNotices); err != nil || notices.LastSeq > 0 {
		t.Errorf("%d notices were taken in (%v), want none", notices.LastSeq, err)
	}
}

// told tells whether an event of a kind is journalled.
func (f *fated) told(k schemas.Kind) error {
	_, err := lastOf(f.load.js, schemas.StreamEvents, schemas.Subjects{}.Event(k, f.name))
	return err
}
