package consumer_test

import (
	"slices"
	"testing"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

func TestCommandBecomesOneRefundAndOneOutcome(t *testing.T) {
	t.Parallel()
	tests := []struct {
		script string
		want   []schemas.Kind
		moved  int
	}{
		{"succeeded", []schemas.Kind{"dispatched", "succeeded"}, 1},
		{"cancelled", []schemas.Kind{"dispatched", "cancelled"}, 1},
		{"declined:not_refundable", []schemas.Kind{"dispatched", "failed"}, 0},
	}
	for _, test := range tests {
		t.Run(test.script, func(t *testing.T) {
			f := newFixture(t, scripted.Config{Outcomes: []string{test.script}})
			f.start()
			for range 3 {
				f.publish(command("one", ""))
			}
			f.quiet()
			if got := f.kindsOf("one"); !slices.Equal(got, test.want) {
				t.Errorf("events %v, want %v", got, test.want)
			}
			if got := len(f.provider.Movements()); got != test.moved {
				t.Errorf("%d movements of money, want %d", got, test.moved)
			}
		})
	}
}
