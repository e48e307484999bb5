package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// reports is a provider that takes refunds on and tells the result by notice.
var reports = &providers.Capabilities{KeyLife: time.Hour, PartialRefunds: true, Asynchronous: true}

func result(id, noticeID string, k schemas.Kind, reason schemas.Reason) schemas.Notice {
	return schemas.Notice{NoticeID: noticeID, Provider: provider, RefundRequestID: schemas.RequestID(id),
		Type: schemas.NoticeResultType, Result: &schemas.NoticeResult{Kind: k, Reason: reason, ProviderRefundID: "p-" + id},
		ReceivedAt: time.Now(), Source: "test"}
}

func reversal(id, noticeID string, units int64) schemas.Notice {
	return schemas.Notice{NoticeID: noticeID, Provider: provider, RefundRequestID: schemas.RequestID(id),
		Type: schemas.NoticeReversalType, Reversal: &schemas.NoticeReversal{
			Amount: schemas.Money{Micros: units * 1_000_000, Currency: "HKD"}, RawResult: json.RawMessage(`{"rawCode":"R01"}`)},
		ReceivedAt: time.Now(), Source: "test"}
}

func (f *fixture) notice(n schemas.Notice) {
	f.t.Helper()
	body, err := n.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.noticeRaw(body)
}

func (f *fixture) noticeRaw(body []byte) {
	f.t.Helper()
	if _, err := f.js.Publish(context.Background(), f.subjects.Notices(provider), body); err != nil {
		f.t.Fatal(err)
	}
}

// read waits until no notice waits to be read.
func (f *fixture) read() {
	f.t.Helper()
	f.eventually("every notice is read", func() error {
		n, err := f.count(schemas.StreamNotices)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d notices are left", n)
		}
		return err
	})
}

func (f *fixture) deadReasons() []string {
	f.t.Helper()
	var out []string
	for seq := uint64(1); seq <= f.messages(schemas.StreamDead); seq++ {
		out = append(out, f.stored(schemas.StreamDead, seq).Header.Get(schemas.HeaderDeadReason))
	}
	return out
}

// acknowledged starts a worker and has refunds taken on.
func acknowledged(t *testing.T, ids ...string) *fixture {
	t.Helper()
	f := newFixture(t, scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: reports})
	f.start()
	for _, id := range ids {
		f.publish(command(id, ""))
		f.eventually("the refund is taken on", func() error { return f.was(id, schemas.KindAcknowledged) })
	}
	return f
}

// What notices make of a refund that a provider has taken on.
func TestNotices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		notices []schemas.Notice
		want    []schemas.Kind // after dispatched and acknowledged
		dead    []string
	}{
		{"made", []schemas.Notice{result("one", "n1", "succeeded", "")}, []schemas.Kind{"succeeded"}, nil},
		{"voided", []schemas.Notice{result("one", "n1", "cancelled", "")}, []schemas.Kind{"cancelled"}, nil},
		{"refused", []schemas.Notice{result("one", "n1", "failed", "account_closed")}, []schemas.Kind{"failed"}, nil},
		{"said twice", []schemas.Notice{result("one", "n1", "succeeded", ""), result("one", "n1", "succeeded", "")},
			[]schemas.Kind{"succeeded"}, nil},
		{"said again under another id", []schemas.Notice{result("one", "n1", "failed", "account_closed"),
			result("one", "n2", "failed", "account_on_hold")}, []schemas.Kind{"failed"}, nil},
		{"made, and then refused", []schemas.Notice{result("one", "n1", "succeeded", ""),
			result("one", "n2", "failed", "account_closed")}, []schemas.Kind{"succeeded"}, []string{"contradiction"}},
		{"refused, and then made", []schemas.Notice{result("one", "n1", "failed", "account_closed"),
			result("one", "n2", "succeeded", "")}, []schemas.Kind{"failed"}, []string{"contradiction"}},
		{"came back whole", []schemas.Notice{result("one", "n1", "succeeded", ""), reversal("one", "v1", 10)},
			[]schemas.Kind{"succeeded", "reversed"}, nil},
		{"came back in parts", []schemas.Notice{result("one", "n1", "succeeded", ""), reversal("one", "v1", 4),
			reversal("one", "v2", 6)}, []schemas.Kind{"succeeded", "reversed", "reversed"}, nil},
		{"the same part told twice", []schemas.Notice{result("one", "n1", "cancelled", ""), reversal("one", "v1", 4),
			reversal("one", "v1", 4)}, []schemas.Kind{"cancelled", "reversed"}, nil},
		{"another amount under the same id", []schemas.Notice{result("one", "n1", "succeeded", ""), reversal("one", "v1", 4),
			reversal("one", "v1", 5)}, []schemas.Kind{"succeeded", "reversed"}, []string{"contradiction"}},
		{"more came back than was refunded", []schemas.Notice{result("one", "n1", "succeeded", ""), reversal("one", "v1", 11)},
			[]schemas.Kind{"succeeded"}, []string{"invalid"}},
		{"more came back in the end", []schemas.Notice{result("one", "n1", "succeeded", ""), reversal("one", "v1", 6),
			reversal("one", "v2", 5), reversal("one", "v3", 4)}, []schemas.Kind{"succeeded", "reversed", "reversed"}, []string{"invalid"}},
		{"a refund that failed cannot come back", []schemas.Notice{result("one", "n1", "failed", "account_closed"),
			reversal("one", "v1", 1)}, []schemas.Kind{"failed"}, []string{"contradiction"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := acknowledged(t, "one")
			for _, n := range test.notices {
				f.notice(n)
				f.read()
			}
			want := append([]schemas.Kind{"dispatched", "acknowledged"}, test.want...)
			if got := f.kindsOf("one"); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			if got := f.deadReasons(); !slices.Equal(got, test.dead) {
				t.Errorf("dead letters %v, want %v", got, test.dead)
			}
			f.quiet() // the settled refund's schedule has not waited until it was due
			f.chained("one")
			for _, e := range f.events() {
				if e.Kind.Outcome() && (e.FoundBy != schemas.FoundByNotice || e.Fingerprint == "" || e.Payment == nil) {
					t.Errorf("%s found by %q, fingerprint %q, payment %v", e.Kind, e.FoundBy, e.Fingerprint, e.Payment)
				}
			}
		})
	}
}

// Each reversal's total counts all before it, also when many come at once to several workers.
func TestReversalsAddUp(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one", "two")
	f.start()
	f.notice(result("one", "n1", "succeeded", ""))
	f.notice(result("two", "n2", "succeeded", ""))
	f.read()
	for i := range 12 {
		f.notice(reversal("one", fmt.Sprint("v", i), 1))
		f.notice(reversal("two", fmt.Sprint("v", i), 1))
	}
	f.read()
	totals := map[schemas.RequestID]int64{}
	for _, e := range f.events() {
		if e.Kind != schemas.KindReversed {
			continue
		}
		totals[e.RequestID] += 1_000_000
		if e.Reversal.Total.Micros != totals[e.RequestID] {
			t.Errorf("a reversal of %s has total %s, want %d micros", e.RequestID, e.Reversal.Total, totals[e.RequestID])
		}
	}
	if totals["one"] != 10_000_000 || totals["two"] != 10_000_000 {
		t.Errorf("%v micros came back, want all of both refunds", totals)
	}
	if got := f.deadReasons(); !slices.Equal(got, []string{"invalid", "invalid", "invalid", "invalid"}) {
		t.Errorf("dead letters %v, want four that would have passed the refund", got)
	}
	f.chained("one")
	f.chained("two")
}

// Reversals are known again after Redis was lost.
func TestReversalsSurviveRedis(t *testing.T) {
	t.Parallel()
	f := acknowledged(t, "one")
	f.notice(result("one", "n1", "succeeded", ""))
	f.notice(reversal("one", "v1", 6))
	f.eventually("it came back", func() error { return f.reached("one", schemas.KindReversed) })
	f.mini.FlushAll()
	f.notice(reversal("one", "v1", 6))
	f.notice(reversal("one", "v2", 5))
	f.eventually("the second is refused", func() error {
		if got := f.deadReasons(); !slices.Equal(got, []string{"invalid"}) {
			return fmt.Errorf("dead letters %v", got)
		}
		return nil
	})
	f.read()
	if got := f.kindsOf("one"); !slices.Equal(got, []schemas.Kind{"dispatched", "acknowledged", "succeeded", "reversed"}) {
		t.Errorf("events %v", got)
	}
}

// What cannot be a notice about a refund of the provider becomes a dead letter, and touches nothing.
func TestBadNotices(t *testing.T) {
	t.Parallel()
	other := result("one", "n1", "succeeded", "")
	other.Provider = "elsewhere"
	elsewhere, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f := acknowledged(t, "one")
	for _, body := range []string{"", "{", `{"noticeId":"n1","noticeId":"n2"}`, `{"noticeId":"n1"}`, string(elsewhere)} {
		f.noticeRaw([]byte(body))
		f.read()
	}
	if got := f.deadReasons(); !slices.Equal(got, []string{"malformed", "malformed", "malformed", "invalid", "invalid"}) {
		t.Errorf("dead letters %v", got)
	}
	if got := f.kindsOf("one"); !slices.Equal(got, []schemas.Kind{"dispatched", "acknowledged"}) {
		t.Errorf("events %v", got)
	}
}

// The result arrives while the call that it answers is still open.
func TestNoticeOvertakesTheAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind   schemas.Kind
		reason schemas.Reason
		want   []schemas.Kind
	}{
		{"succeeded", "", []schemas.Kind{"dispatched", "succeeded"}},
		{"failed", "account_closed", []schemas.Kind{"dispatched", "failed"}},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"acknowledged"}, Capabilities: reports, Latency: 5 * time.Second},
				func(c *consumer.Config) { c.Instances[0].Timeout = 20 * time.Second })
			f.start()
			f.publish(command("one", ""))
			f.eventually("the call is out", func() error { return f.was("one", schemas.KindDispatched) })
			f.notice(result("one", "n1", test.kind, test.reason))
			f.eventually("all is told", func() error {
				if got := f.kindsOf("one"); !slices.Equal(got, test.want) {
					return fmt.Errorf("events %v, want %v", got, test.want)
				}
				return nil
			})
			f.read()
			f.quiet() // the schedule that came after the result does not wait until it is due
			if got := f.deadReasons(); got != nil {
				t.Errorf("dead letters %v", got)
			}
		})
	}
}

// A person was asked, or nobody knew, and then the provider tells.
func TestNoticeSettlesWhatIsParkedOrInDoubt(t *testing.T) {
	t.Parallel()
	neither := &providers.Capabilities{}
	for _, test := range []struct {
		name  string
		sheet *providers.Capabilities
		tune  func(*consumer.Config)
		first schemas.Kind
		want  []schemas.Kind
	}{
		{"parked", neither, nil, "parked", []schemas.Kind{"dispatched", "parked", "failed"}},
		{"in doubt", canLookUp, nil, "dispatched", []schemas.Kind{"dispatched", "failed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, scripted.Config{Outcomes: []string{"unknown_lost"}, Capabilities: test.sheet}, func(c *consumer.Config) {
				if test.sheet.Lookup {
					c.Instances[0].Provider = &deaf{Provider: c.Instances[0].Provider}
				}
			})
			f.start()
			f.publish(command("one", ""))
			f.eventually("it is open", func() error { return f.was("one", test.first) })
			f.notice(result("one", "n1", "failed", "declined"))
			f.eventually("it is settled", func() error { return f.reached("one", schemas.KindFailed) })
			if got := f.kindsOf("one"); !slices.Equal(got, test.want) {
				t.Errorf("events %v, want %v", got, test.want)
			}
			f.read()
			f.quiet()
			f.chained("one")
		})
	}
}
