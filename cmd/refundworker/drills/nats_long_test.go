//go:build long

package drills

import (
	"testing"
	"time"

	"refundworker/schemas"
)

// A worker loses NATS just before it stores an intent, for longer than the claim's lease. It has given the intent up
// by the time that NATS is back: nothing of it may be stored then, and the refund is made at its first attempt.
func TestLongIntentGivenUpIsNeverStored(t *testing.T) {
	t.Parallel()
	const longerThanALease = callTimeout + 30*time.Second + 8*time.Second
	d := newCutDrill(t)
	r := &publishCut{cutDrill: d, t: t, text: "Refund-Kind: dispatched", stream: schemas.StreamJournal,
		met: make(chan struct{}), inVain: 1}
	r.link.when(r.text, func(l *link) bool { close(r.met); return false })
	r.run(func() {
		r.link.refuse()
		<-time.After(longerThanALease)
		r.link.mend()
	})
	d.end()
}
