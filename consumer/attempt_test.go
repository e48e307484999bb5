package consumer_test

import (
	"fmt"
	"slices"
	"testing"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
)

// Each event names the attempt that it is about: the last one journalled by then.
func TestEventsNameTheirAttempt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		script   []string
		sheet    *providers.Capabilities
		attempts int
		want     []string
	}{
		{"deferred, then made", []string{"not_now:provider_busy:2s", "succeeded"}, canLookUp, 0,
			[]string{"dispatched 1", "deferred 1", "dispatched 2", "succeeded 2"}},
		{"deferred, then taken on", []string{"not_now:provider_busy:2s", "acknowledged"}, canLookUp, 0,
			[]string{"dispatched 1", "deferred 1", "dispatched 2", "acknowledged 2"}},
		{"deferred, then made without an answer", []string{"not_now:provider_busy:2s", "unknown_applied"}, canLookUp, 0,
			[]string{"dispatched 1", "deferred 1", "dispatched 2", "succeeded 2"}},
		{"parked at the first", []string{"partial"}, canLookUp, 0, []string{"dispatched 1", "parked 1"}},
		{"parked at the last", []string{"not_now:provider_busy:2s", "not_now:provider_busy"}, canLookUp, 2,
			[]string{"dispatched 1", "deferred 1", "dispatched 2", "parked 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: test.script, Capabilities: test.sheet},
				func(c *consumer.Config) { c.Instances[0].MaxAttempts = test.attempts })
			f.start()
			f.publish(command("one", ""))
			var got []string
			f.eventually("the story ends", func() error {
				got = nil
				for _, e := range f.events() {
					got = append(got, fmt.Sprint(e.Kind, " ", e.Attempt))
				}
				if len(got) < len(test.want) {
					return fmt.Errorf("events so far %v", got)
				}
				return nil
			})
			if !slices.Equal(got, test.want) {
				t.Errorf("events %v, want %v", got, test.want)
			}
		})
	}
}
