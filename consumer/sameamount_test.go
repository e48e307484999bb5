package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A refund is in doubt, and its order service asks again under another requestId. The second one waits, and says for whom,
// until the first one's end is known; then it is a refund of its own. Of another amount, or where the settings say so, it
// does not wait.
func TestSameAmountWhileInDoubt(t *testing.T) {
	t.Parallel()
	slow := providers.Capabilities{Lookup: true, LookupDelay: time.Minute, PartialRefunds: true}
	script := scripted.Config{Capabilities: &slow}
	for _, test := range []struct {
		name  string
		units int64
		tune  func(*consumer.Config)
		waits bool
	}{
		{"the same amount", 10, func(*consumer.Config) {}, true},
		{"another amount", 11, func(*consumer.Config) {}, false},
		{"turned off", 10, func(c *consumer.Config) { c.IgnoreSameAmount = true }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFakeTime(t, script, func(f *fixture) {
				log := &logged{}
				f.logTo = log
				f.start()
				first := of("p", "first", 0, 10)
				first.Options = []byte(`{"script":["unknown_lost","succeeded"]}`)
				f.publish(first)
				f.eventually("the first is in doubt, and waits", func() error {
					if err := f.was("first", schemas.KindDispatched); err != nil {
						return err
					}
					return f.left(0, 1)
				})
				time.Sleep(15 * time.Second) // its lease is over
				second := of("p", "second", 0, test.units)
				f.publish(second)
				if !test.waits {
					f.eventually("the second is made", func() error { return f.was("second", schemas.KindSucceeded) })
					return
				}
				f.eventually("both wait", func() error { return f.left(0, 2) })
				if kinds := f.kindsOf("second"); len(kinds) > 0 {
					t.Fatalf("beside the first, %v of the second is journalled", kinds)
				}
				f.within(time.Hour, func() error { // the first, once it is looked up, and then the second
					if n := len(f.provider.Movements()); n != 2 {
						return fmt.Errorf("%d movements, want 2", n)
					}
					return f.left(0, 0)
				})
				if !strings.Contains(log.String(), "refund first of the same payment and amount is in doubt") {
					t.Error("the log does not say for whom the second waits")
				}
			}, test.tune)
		})
	}
}
