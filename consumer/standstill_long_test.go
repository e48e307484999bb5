//go:build long

package consumer_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// A worker stands still between reading a refund and journalling what a notice says, while another one settles it. By
// then the server may have forgotten the outcome's id; the first worker reads again before it writes.
func TestLongNoticeAfterAStandstill(t *testing.T) {
	for _, still := range []time.Duration{6 * time.Minute, 12 * time.Minute} {
		t.Run(still.String(), func(t *testing.T) {
			inFakeTime(t, takesOn, func(f *fixture) {
				s := &stuck{at: entryOf(schemas.KindSucceeded), still: still}
				f.wrap = func(js jetstream.JetStream) jetstream.JetStream {
					s.JetStream = js
					return s
				}
				f.start()
				f.wrap = nil
				f.publish(command("one", ""))
				time.Sleep(5 * time.Second)
				f.notice(result("one", "n1", "succeeded", ""))
				time.Sleep(time.Second) // the first worker has it and stands still
				f.start()
				time.Sleep(still + 5*time.Minute)
				if got := f.kindsOf("one"); !slices.Equal(got, []schemas.Kind{"dispatched", "acknowledged", "succeeded"}) {
					t.Errorf("events %v, want one outcome", got)
				}
				if got := f.deadReasons(); got != nil {
					t.Errorf("dead letters %v", got)
				}
				f.quiet()
			})
		})
	}
}
