package consumer

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func dispatched(attempt int, at time.Time, key, baseline string) schemas.Event {
	lease := at.Add(time.Minute)
	return schemas.Event{Kind: schemas.KindDispatched, Attempt: attempt, OccurredAt: at, LeaseUntil: &lease,
		IdempotencyKey: key, Baseline: json.RawMessage(baseline)}
}

func acknowledgedOnce(attempt int, at time.Time) schemas.Event {
	return schemas.Event{Kind: schemas.KindAcknowledged, Attempt: attempt, OccurredAt: at}
}

func parkedFor(n int, r schemas.Reason) schemas.Event {
	return schemas.Event{Kind: schemas.KindParked, N: n, Reason: r}
}

func TestHistory(t *testing.T) {
	first, second := dispatched(1, ago(3*hour), "one", `{"net":1}`), dispatched(2, ago(hour), "one", `{"net":2}`)
	tests := []struct {
		name   string
		clean  int
		events []schemas.Event // oldest first
		want   history
	}{
		{"nothing happened", 0, nil, history{}},
		{"one attempt", 0, []schemas.Event{first},
			history{LeaseUntil: ago(3 * hour).Add(time.Minute), KeySince: ago(3 * hour), Since: ago(3 * hour), Baseline: first.Baseline}},
		{"the baseline is the one before the oldest attempt in doubt", 0, []schemas.Event{first, second},
			history{LeaseUntil: ago(hour).Add(time.Minute), KeySince: ago(3 * hour), Since: ago(3 * hour), Baseline: first.Baseline}},
		{"attempts that surely did nothing are not in doubt", 1, []schemas.Event{first, second},
			history{LeaseUntil: ago(hour).Add(time.Minute), KeySince: ago(3 * hour), Since: ago(hour), Baseline: second.Baseline}},
		{"a new key is as old as its first use", 1, []schemas.Event{first, dispatched(2, ago(hour), "one:r1", "")},
			history{LeaseUntil: ago(hour).Add(time.Minute), KeySince: ago(hour), Since: ago(hour), Baseline: json.RawMessage("")}},
		{"the latest lease counts, whichever attempt had it", 0, []schemas.Event{dispatched(1, ago(0), "one", ""),
			dispatched(2, ago(hour), "one", "")},
			history{LeaseUntil: ago(0).Add(time.Minute), KeySince: ago(0), Since: ago(0), Baseline: json.RawMessage("")}},
		{"the last parked event counts", 1, []schemas.Event{first, parkedFor(1, "partial"), parkedFor(2, "contradiction")},
			history{LeaseUntil: ago(3 * hour).Add(time.Minute), KeySince: ago(3 * hour), Parks: 2, ParkedReason: "contradiction"}},
		{"pending since it was acknowledged", 1, []schemas.Event{first, second, acknowledgedOnce(2, ago(hour/2))},
			history{LeaseUntil: ago(hour).Add(time.Minute), KeySince: ago(3 * hour), Since: ago(hour), Baseline: second.Baseline}},
		{"what was acknowledged before a person vouched is over", 1,
			[]schemas.Event{first, acknowledgedOnce(1, ago(2*hour)), parkedFor(1, "outcome_overdue"), second},
			history{LeaseUntil: ago(hour).Add(time.Minute), KeySince: ago(3 * hour), Since: ago(hour), Baseline: second.Baseline,
				Parks: 1, ParkedReason: "outcome_overdue"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := history{clean: test.clean}
			for i := range test.events {
				got.take(ledger.Entry{Event: test.events[len(test.events)-1-i]})
			}
			got.clean, got.Key, got.Guarded = 0, "", false
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}
