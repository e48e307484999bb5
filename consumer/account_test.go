package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A provider does not take the worker's credentials. Commands stay where they are and keep their attempts; a probe after
// each rest tells when it is over.
func TestRefusedCredentialsDoNotBurnTheQueue(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
		f.start()
		f.publish(command("first", `{"script":["unauthorized","unauthorized","succeeded"]}`))
		time.Sleep(10 * time.Second)
		for i := range 50 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(40 * time.Second)
		if n := len(f.events()); n != 1 {
			t.Errorf("%d events while the account rests, want the first refund's intent only", n)
		}
		if n := f.messages(schemas.StreamCommands); n < 50 {
			t.Errorf("%d commands are left in their stream, want all 50", n)
		}
		time.Sleep(10 * time.Minute)
		f.quiet()
		for i := range 50 {
			if got := f.kindsOf(fmt.Sprint("r", i)); len(got) != 2 {
				t.Errorf("events %v, want one attempt", got)
			}
		}
	})
}

// Refunds that wait for their turn at a slow rate do not ask any more once the credentials were refused.
func TestRefundsInHandRestToo(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"unauthorized"}}, func(f *fixture) {
		f.start()
		for i := range 10 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(50 * time.Second)
		if n := len(f.events()); n > 2 {
			t.Errorf("%d attempts before the first rest was over, want those of one moment", n)
		}
	}, func(c *consumer.Config) { c.Instances[0].PerSecond = 1 })
}
