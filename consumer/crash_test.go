package consumer_test

import (
	"context"
	"testing"
	"time"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// Five workers end over a refund. The sixth asks a person instead of the provider, and goes on when they say so.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
		r := f.start()
		one := command("one", "")
		fp, err := one.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		for n := range 6 {
			c, err := r.store.Claim(context.Background(), "one", fp, time.Second)
			if err != nil || !c.Held() || c.Crashes != n {
				t.Fatalf("%s with %d, %v; want the lease with %d", c.Answer, c.Crashes, err, n)
			}
			time.Sleep(2 * time.Second) // nobody gives it back
		}
		f.publish(one)
		f.eventually("a person is asked", func() error { return f.reached("one", schemas.KindParked) })
		if got := f.lastEvent("one").Reason; got != schemas.ReasonCrashLoop || len(f.provider.Movements()) > 0 {
			t.Errorf("parked for %s, with %d movements; want %s with none", got, len(f.provider.Movements()), schemas.ReasonCrashLoop)
		}
		f.resume("one")
		if err := r.worker.Inbox().Hurry(context.Background(), provider, "one"); err != nil {
			t.Fatal(err)
		}
		f.eventually("it is made", func() error { return f.reached("one", schemas.KindSucceeded) })
		f.quiet()
	})
}
