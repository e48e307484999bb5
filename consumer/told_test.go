package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"refundworker/idempotency"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// The last owner of a refund wrote its attempt to a stream that was replaced since. What it told of that event does not
// get into the chain.
func TestEventThatIsNotInTheStreamIsNotNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}})
	r := f.start()
	f.publish(command("other", ""))
	f.eventually("another refund is made", func() error { return f.reached("other", schemas.KindSucceeded) })
	for i, told := range []uint64{3, 4, 900} { // by then the other's next events are at 3 and 4, and none is at 900
		one := command(fmt.Sprint("r", i), "")
		fp, err := one.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		claim, err := r.store.Claim(t.Context(), one.RequestID, fp, time.Minute)
		if err != nil || !claim.Held() {
			t.Fatalf("%s, %v", claim.Answer, err)
		}
		if given, err := r.store.Undo(t.Context(), claim, idempotency.Undone{Last: told}); err != nil || !given {
			t.Fatal(given, err)
		}
		f.publish(one)
	}
	f.quiet()
	for i := range 3 {
		f.chained(fmt.Sprint("r", i))
	}
}
