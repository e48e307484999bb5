package refund

import (
	"testing"
	"time"

	"refundworker/idempotency/ledger"
)

// granting is a payment that answers what the test says.
type granting struct {
	Payments
	Grant
}

func (g granting) Await(ledger.Asked, uint64, time.Time) (Grant, error) { return g.Grant, nil }

// stopped is a clock that stands.
type stopped struct{}

func (stopped) Now() time.Time      { return noon }
func (stopped) Sleep(time.Duration) {}

// An attempt that got no hold was followed by no call. That is known where the verdict is surely the one that its worker
// got, and by the same rules.
func TestDenialsThatAreBelieved(t *testing.T) {
	guarded, other := &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules}, &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules + 1}
	for _, test := range []struct {
		name  string
		hold  *ledger.Hold
		grant Grant
		doubt int
	}{
		{"denied", guarded, Grant{Sure: true}, 0},
		{"denied by now, of a payment that is not whole", guarded, Grant{}, 2},
		{"the second got it", guarded, Grant{Since: 2, Sure: true}, 1},
		{"the first got it", guarded, Grant{Since: 1, Sure: true}, 2},
		{"by other rules", other, Grant{Sure: true}, 2},
		{"unasked", nil, Grant{Sure: true}, 2},
	} {
		r := &run{Protocol: &Protocol{Rules: testRules, Ports: Ports{Payments: granting{Grant: test.grant}, Clock: stopped{}}}}
		r.refund.Intents = []ledger.Intent{{Seq: 1, Attempt: 1, Hold: test.hold}, {Seq: 2, Attempt: 2, Hold: test.hold}}
		if decision, done := r.askGuard(); done {
			t.Errorf("%s: %+v", test.name, decision)
		}
		if got := len(r.refund.Doubt()); got != test.doubt {
			t.Errorf("%s: %d attempts in doubt, want %d", test.name, got, test.doubt)
		}
	}
}
