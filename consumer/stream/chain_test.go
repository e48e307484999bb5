package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// forged is a copy of a stored message of ours, with headers changed. An empty value takes a header out.
func (f *fixture) forged(seq uint64, change map[string]string) *nats.Msg {
	f.t.Helper()
	s, err := f.js.Stream(f.ctx(), schemas.StreamJournal)
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := s.GetMsg(f.ctx(), seq)
	if err != nil {
		f.t.Fatal(err)
	}
	header := maps.Clone(m.Header)
	header.Del(jetstream.ExpectedLastSubjSeqHeader)
	for name, value := range change {
		if header.Set(name, value); value == "" {
			header.Del(name)
		}
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
}

// newer is what a newer version of the worker may write: it has all headers of ours and cannot be read.
func newer(id string, n int) (nats.Header, string) {
	event := fmt.Sprintf("%s:later:%d", id, n)
	return nats.Header{"ce-specversion": {"1.0"}, "ce-id": {event}, "ce-type": {"refund-later"}, "ce-source": {"/refunds/test"},
		"ce-subject": {id}, "ce-time": {"2026-11-21T12:00:00.000Z"}, "ce-dataschema": {schemas.EventDataSchema},
		"content-type": {"application/json"}, "Nats-Msg-Id": {event}, "Refund-Kind": {"later"}}, `{"kind":"later"}`
}

// What is read is what was appended, to the last field.
func TestEntriesAreReadAsWritten(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	sole := dispatched("one", 2, "you")
	sole.Hold = &ledger.Hold{Kind: ledger.SoleHold, LookedAt: math.MaxUint64, First: true, Velocity: &ledger.Pace{Bounds: []ledger.Bound{
		{Window: time.Minute, Count: 100}, {Window: 24 * time.Hour, Micros: 5_000_000, DryRun: true}}}}
	none := dispatched("one", 3, "you")
	none.Hold = &ledger.Hold{Kind: ledger.ShareHold, Rules: 2, First: true, Velocity: &ledger.Pace{Exempt: true}}
	none.Undone = 1
	want := []ledger.Entry{dispatched("one", 1, "me"), sole, none, outcome("one")}
	for i := range want {
		e := &want[i]
		e.ID = e.Event.ID()
		if i > 0 {
			e.Previous = want[i-1].Seq
		}
		e.Seq = f.append(j, *e, e.Previous)
	}
	got, err := j.Chain(f.ctx(), "one")
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %v, %v", got, err)
	}
	for i := range got {
		if got[i].Stored.IsZero() {
			t.Errorf("entry %d has no time", got[i].Seq)
		}
		want[i].Stored = got[i].Stored
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if read := f.entries(); !reflect.DeepEqual(read, want) {
		t.Errorf("read %+v\nwant %+v", read, want)
	}
	if id, err := j.EventID(f.ctx(), 4); id != "one:outcome" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	if _, err := j.EventID(f.ctx(), 5); !errors.Is(err, idempotency.ErrNoEvent) {
		t.Errorf("got %v, want ErrNoEvent", err)
	}
}

// What no worker wrote is the head, says nothing, and hides nothing of what stands before it.
func TestForeignEntries(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	first := f.append(j, dispatched("one", 1, "me"), 0)
	other := f.append(j, dispatched("two", 1, "me"), 0)
	moved := f.forged(other, map[string]string{"Nats-Msg-Id": "two:dispatched:1"})
	moved.Header.Set(jetstream.ExpectedStreamHeader, schemas.StreamJournal)
	moved.Header.Del("Nats-Msg-Id") // so that it is stored at all
	foreign := []*nats.Msg{
		{Data: []byte(`{"stream":"REFUND_COMMANDS","seq":1}`)},
		{Data: moved.Data},
		moved,
		f.forged(first, map[string]string{"Nats-Msg-Id": "one:dispatched:77", "ce-id": "one:dispatched:77"}),
		f.forged(first, map[string]string{"Nats-Msg-Id": "a", "ce-id": "b"}),
		f.forged(first, map[string]string{"Nats-Msg-Id": "c", "ce-id": "c", "Refund-Kind": ""}),
		f.forged(first, map[string]string{"Nats-Msg-Id": "one:outcome", "ce-id": "one:outcome", "Refund-Kind": "succeeded",
			"ce-type": "refund-succeeded"}),
		f.forged(first, map[string]string{"Nats-Msg-Id": "d", "ce-id": "d", "Refund-Previous": "99"}),
	}
	head := first
	for i, m := range foreign {
		seq := f.raw(subjects.Journal("one"), m.Header, string(m.Data))
		e, err := j.Head(f.ctx(), "one")
		if err != nil || e.Seq != seq || !e.Foreign || e.Event.Kind != "" || e.Owner != "" || e.Hold != nil {
			t.Fatalf("foreign %d: got %+v, %v", i, e, err)
		}
		if s, err := j.Append(f.ctx(), dispatched("one", i+2, "me"), head); err != nil || !s.Stale {
			t.Errorf("behind the head before: got %+v, %v; want stale", s, err)
		}
		if i%2 == 0 {
			seq = f.append(j, dispatched("one", i+2, "me"), seq)
		}
		head = seq
	}
	chain, err := j.Chain(f.ctx(), "one")
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for i, e := range chain {
		if !e.Foreign {
			own++
			if i > 0 && e.Previous != chain[i-1].Seq {
				t.Errorf("entry %d names %d, want %d", e.Seq, e.Previous, chain[i-1].Seq)
			}
		}
	}
	if len(chain) != 1+len(foreign)+4 || own != 5 || chain[0].Seq != first || chain[len(chain)-1].Seq != head {
		t.Errorf("%d entries, %d of them ours, from %d to %d", len(chain), own, chain[0].Seq, chain[len(chain)-1].Seq)
	}
	if two, err := j.Chain(f.ctx(), "two"); err != nil || len(two) != 1 {
		t.Errorf("another refund: got %v, %v", two, err)
	}
}

// One of ours that cannot be read is not passed over, wherever it stands.
func TestUnreadableEntries(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	head := f.append(j, dispatched("one", 1, "me"), 0)
	header, body := newer("one", 1)
	header.Set("Refund-Previous", fmt.Sprint(head))
	seq := f.raw(subjects.Journal("one"), header, body)
	e, err := j.Head(f.ctx(), "one")
	if !errors.Is(err, stream.ErrUnreadable) || e.Seq != seq || e.ID != "one:later:1" || e.Foreign {
		t.Errorf("head: got %+v, %v", e, err)
	}
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrUnreadable) || chain != nil {
		t.Errorf("chain: got %v, %v", chain, err)
	}
	f.append(j, dispatched("one", 2, "me"), seq)
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrUnreadable) || chain != nil {
		t.Errorf("chain behind it: got %v, %v", chain, err)
	}
	f.raw(subjects.Journal("one"), nil, "foreign")
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrUnreadable) || chain != nil {
		t.Errorf("chain behind a foreign one: got %v, %v", chain, err)
	}
	read := f.entries()
	if got := read[1]; got.Seq != seq || got.Event.Kind != "" || got.Foreign {
		t.Errorf("read %+v", got)
	}
	// An intent without its key, or with a hold that cannot be read, says nothing either.
	changes := []map[string]string{{"Refund-Hold": "everything"}, {"Refund-Rules": "x"}, {"Refund-Velocity": "a minute"}}
	for i, change := range changes {
		id := fmt.Sprintf("held:%d", i)
		first := f.append(f.journal(), dispatched(id, 1, "me"), 0)
		m := f.forged(first, change)
		m.Header.Del(jetstream.ExpectedStreamHeader)
		f.recreateWith(m)
		if _, err := f.journal().Head(f.ctx(), schemas.RequestID(id)); !errors.Is(err, stream.ErrUnreadable) {
			t.Errorf("%v: got %v", change, err)
		}
	}
}

// recreateWith makes the journal anew with one message.
func (f *fixture) recreateWith(m *nats.Msg) {
	f.t.Helper()
	f.recreate(stream.JournalConfig(subjects, retain, 1))
	f.raw(m.Subject, m.Header, string(m.Data))
}

// A chain that has lost an entry is not taken for a shorter one, unless age took it.
func TestChainWithoutItsBeginning(t *testing.T) {
	f := newFixture(t, 1)
	c := stream.JournalConfig(subjects, retain, 1)
	c.DenyDelete, c.DenyPurge = false, false
	f.recreate(c)
	j := f.journal()
	var head uint64
	for attempt := range 4 {
		head = f.append(j, dispatched("one", attempt+1, "me"), head)
	}
	s, err := f.js.Stream(f.ctx(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(f.ctx(), jetstream.WithPurgeSequence(2)); err != nil { // as age takes them
		t.Fatal(err)
	}
	if chain, err := j.Chain(f.ctx(), "one"); err != nil || len(chain) != 3 {
		t.Errorf("aged: got %v, %v", chain, err)
	}
	foreign := f.raw(subjects.Journal("one"), nil, "foreign")
	if chain, err := j.Chain(f.ctx(), "one"); err != nil || len(chain) != 4 {
		t.Errorf("aged, behind a foreign one: got %v, %v", chain, err)
	}
	if err := s.DeleteMsg(f.ctx(), 3); err != nil {
		t.Fatal(err)
	}
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrUnreadable) {
		t.Errorf("lost, behind a foreign one: got %v, %v", chain, err)
	}
	f.append(j, dispatched("one", 5, "me"), foreign)
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrUnreadable) {
		t.Errorf("lost: got %v, %v", chain, err)
	}
	for id, behind := range map[string]string{"two": "", "three": "foreign"} {
		first := f.append(j, dispatched(id, 1, "me"), 0)
		f.append(j, dispatched(id, 2, "me"), first)
		if behind != "" {
			f.raw(subjects.Journal(schemas.RequestID(id)), nil, behind)
		}
		if err := s.DeleteMsg(f.ctx(), first); err != nil {
			t.Fatal(err)
		}
		if chain, err := j.Chain(f.ctx(), schemas.RequestID(id)); !errors.Is(err, stream.ErrUnreadable) {
			t.Errorf("the first one lost, %q behind: got %v, %v", behind, chain, err)
		}
	}
}

// Who floods a refund's subject keeps it from being decided, and no memory.
func TestChainThatIsTooLong(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	head := f.append(j, dispatched("one", 1, "me"), 0)
	_ = head
	for range stream.MaxChain - 1 {
		if _, err := f.js.PublishAsync(subjects.Journal("one"), []byte("foreign")); err != nil {
			t.Fatal(err)
		}
	}
	<-f.js.PublishAsyncComplete()
	if chain, err := j.Chain(f.ctx(), "one"); err != nil || len(chain) != stream.MaxChain {
		t.Errorf("got %d entries, %v; want %d", len(chain), err, stream.MaxChain)
	}
	f.raw(subjects.Journal("one"), nil, "foreign")
	if chain, err := j.Chain(f.ctx(), "one"); !errors.Is(err, stream.ErrTooLong) || chain != nil {
		t.Errorf("got %d entries, %v; want ErrTooLong", len(chain), err)
	}
}

func TestReadsWithoutAnAnswer(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	if err := f.js.DeleteStream(f.ctx(), schemas.StreamJournal); err != nil {
		t.Fatal(err)
	}
	_, headErr := j.Head(f.ctx(), "one")
	_, chainErr := j.Chain(f.ctx(), "one")
	_, stateErr := j.State(f.ctx())
	_, readErr := j.Read(f.ctx(), 1)
	_, idErr := j.EventID(f.ctx(), 1)
	for i, err := range []error{headErr, chainErr, stateErr, readErr, idErr} {
		if !errors.Is(err, idempotency.ErrNoJournal) {
			t.Errorf("no stream, %d: got %v", i, err)
		}
	}
	f.kill(0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Head(ctx, "one"); !errors.Is(err, stream.ErrNoAnswer) {
		t.Errorf("no server: got %v", err)
	}
	if _, err := j.State(ctx); !errors.Is(err, stream.ErrNoAnswer) {
		t.Errorf("no server: got %v", err)
	}
}

// Reading shows what is stored while it goes on, from where it was asked to, and ends when it is stopped.
func TestReading(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	entries := f.fill("r", 3)
	r, err := j.Read(f.ctx(), 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []ledger.Entry
	for len(got) < 4 {
		more, err := r.Next(f.ctx(), 2, patience)
		if err != nil || len(more) == 0 || len(more) > 2 {
			t.Fatalf("%d entries, %v", len(more), err)
		}
		got = append(got, more...)
	}
	if !reflect.DeepEqual(got, entries[2:]) {
		t.Errorf("got %v", got)
	}
	if more, err := r.Next(f.ctx(), 2, 0); more != nil || err != nil {
		t.Errorf("got %v, %v; want nothing yet", more, err)
	}
	f.must(j.Note(f.ctx(), rejected("x", 1)))
	if more, err := r.Next(f.ctx(), 2, patience); err != nil || len(more) != 1 || more[0].Event.Kind != schemas.KindRejected {
		t.Errorf("got %v, %v", more, err)
	}
	r.Stop()
	if _, err := r.Next(f.ctx(), 2, patience); !errors.Is(err, stream.ErrNoAnswer) {
		t.Errorf("after the end: got %v", err)
	}
	state, err := j.State(f.ctx())
	if err != nil || state.First != 1 || state.Last != 7 || state.Created.IsZero() || state.FirstAt.IsZero() {
		t.Errorf("got %+v, %v", state, err)
	}
}
