package refund

import (
	"testing"
	"time"

	"refundworker/schemas"
)

// Workers end over a refund, one after another: a person is asked before the next one does, once nothing can be on its way
// any more. Until then the lease is kept, for giving it back says that all is well.
func TestDecideCrashes(t *testing.T) {
	crashes := func(n int) func(*situation) { return func(s *situation) { s.claim.Crashes = n } }
	leased := func(left time.Duration) func(*situation) {
		return func(s *situation) { s.refund.LeaseUntil = noon.Add(left) }
	}
	parked := Decision{Kind: schemas.KindParked, Reason: schemas.ReasonCrashLoop, Then: Later, Delay: parkedAgain}
	for _, row := range []struct {
		name string
		s    situation
		done bool
		want Decision
	}{
		{"four", at(crashes(crashLimit - 1)), false, Decision{}},
		{"five, and nothing is journalled", at(crashes(crashLimit)), true, parked},
		{"five, and a call may be on its way", at(in(schemas.KindDispatched, 0, 1), crashes(crashLimit), leased(time.Second)), true,
			Decision{Then: Later, Delay: time.Second + arrived}},
		{"five, and none can be any more", at(in(schemas.KindDispatched, 0, 1), crashes(crashLimit), leased(-arrived)), true, parked},
		{"five, and the provider took it on", at(in(schemas.KindAcknowledged, time.Hour, 1), crashes(crashLimit)), true, parked},
		{"five, and it is parked", at(in(schemas.KindParked, 0, 1), crashes(crashLimit)), true,
			Decision{Release: Abandon, Then: Later, Delay: parkedAgain}},
	} {
		got, done := decideState(row.s)
		if done != row.done {
			t.Errorf("%s: done is %t, want %t", row.name, done, row.done)
		}
		t.Run(row.name, func(t *testing.T) { same(t, got, row.want) })
	}
}
