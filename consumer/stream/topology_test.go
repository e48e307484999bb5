package stream_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/schemas"
)

// The streams are as the design has them, and the server takes them so.
func TestStreams(t *testing.T) {
	f := newFixture(t, 1)
	common := jetstream.StreamConfig{Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		Replicas: 1, Duplicates: 10 * time.Minute, MaxMsgs: -1, MaxBytes: -1,
		MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1}
	journal, events := common, common
	journal.Name, journal.Subjects = "REFUND_JOURNAL", []string{"refunds.journal.r.*", "refunds.journal.x.*"}
	journal.MaxAge, journal.DenyDelete, journal.DenyPurge = retain, true, true
	events.Name, events.Subjects, events.MaxAge = "REFUND_EVENTS", []string{"refunds.events.>"}, 400*24*time.Hour
	for _, want := range []jetstream.StreamConfig{journal, events} {
		s, err := f.js.Stream(f.ctx(), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		got := s.CachedInfo().Config
		got.Description, got.Metadata = "", nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	other := schemas.Subjects{Prefix: "eu.refunds"}
	got := stream.EventsConfig(other, time.Hour, 3)
	if got.MaxAge != time.Hour || got.Replicas != 3 || got.Subjects[0] != "eu.refunds.events.>" {
		t.Errorf("got %+v", got)
	}
}
