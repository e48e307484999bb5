package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

func (f *fixture) relay(kinds ...schemas.Kind) *stream.Relay {
	return stream.NewRelay(f.dial(), subjects, kinds...)
}

// fill journals an attempt and an outcome of so many refunds, and returns all entries.
func (f *fixture) fill(name string, refunds int) []ledger.Entry {
	f.t.Helper()
	j := f.journal()
	for n := range refunds {
		id := fmt.Sprintf("%s:%d", name, n)
		head := f.append(j, dispatched(id, 1, "me"), 0)
		f.append(j, outcome(id), head)
	}
	return f.entries()
}

// entries reads the whole journal.
func (f *fixture) entries() []ledger.Entry {
	f.t.Helper()
	j := f.journal()
	state, err := j.State(f.ctx())
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := j.Read(f.ctx(), 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Stop()
	var out []ledger.Entry
	for uint64(len(out)) < state.Last {
		more, err := r.Next(f.ctx(), 100, patience)
		if err != nil || len(more) == 0 {
			f.t.Fatalf("%d entries, %v", len(more), err)
		}
		out = append(out, more...)
	}
	return out
}

// published are the journal's sequences in the stream of events, without what is not the relay's.
func (f *fixture) published() []uint64 {
	f.t.Helper()
	var out []uint64
	for _, m := range f.all(schemas.StreamEvents) {
		if text := m.Header.Get("Refund-Journal"); text != "" {
			seq, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				f.t.Fatal(err)
			}
			out = append(out, seq)
		}
	}
	return out
}

// holds checks that each of these entries is published, in order and once.
func (f *fixture) holds(entries []ledger.Entry) {
	f.t.Helper()
	var want []uint64
	for _, e := range entries {
		if !e.Foreign {
			want = append(want, e.Seq)
		}
	}
	if got := f.published(); !slices.Equal(got, want) {
		f.t.Errorf("published %v\nwant      %v", got, want)
	}
}

// A published event is the journal's, without what only workers need.
func TestPublishedEvents(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	f.raw(subjects.Journal("one"), nil, `{"stream":"REFUND_COMMANDS","seq":1}`)
	head := f.append(j, dispatched("one", 1, "me"), 1)
	f.append(j, outcome("one"), head)
	f.must(j.Note(f.ctx(), rejected("one", 7)))
	r := f.relay()
	if err := r.Publish(f.ctx(), f.entries()); err != nil {
		t.Fatal(err)
	}
	got := f.all(schemas.StreamEvents)
	if len(got) != 3 {
		t.Fatalf("%d events, want 3", len(got))
	}
	for i, want := range []struct {
		subject, id string
		headers     map[string]string
	}{
		{"refunds.events.dispatched.test", "one:dispatched:1", map[string]string{"Refund-Journal": "2", "Refund-Previous": "1",
			"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b", "baggage": "c=d"}},
		{"refunds.events.succeeded.test", "one:outcome", map[string]string{"Refund-Journal": "3", "Refund-Previous": "2"}},
		{"refunds.events.rejected.test", "one:rejected:0700000000000000", map[string]string{"Refund-Journal": "4"}},
	} {
		m := got[i]
		if m.Subject != want.subject || m.Header.Get("ce-id") != want.id || m.Header.Get("Nats-Msg-Id") != want.id {
			t.Errorf("%s %v, want %s %s", m.Subject, m.Header, want.subject, want.id)
		}
		for name, value := range want.headers {
			if got := m.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", m.Subject, name, got, value)
			}
		}
		for _, name := range []string{"Refund-Owner", "Refund-Hold", "Refund-Rules", "Refund-Velocity"} {
			if m.Header.Get(name) != "" {
				t.Errorf("%s tells %s", m.Subject, name)
			}
		}
		if _, err := schemas.DecodeEvent(m.Data); err != nil {
			t.Errorf("%s: %v", m.Subject, err)
		}
		if text := string(m.Data); strings.Contains(text, "baseline") || strings.Contains(text, "idempotencyKey") {
			t.Errorf("%s tells %s", m.Subject, text)
		}
	}
}

// Only events of the kinds that were asked for are published, and the place is kept by them.
func TestRelayOfSomeKinds(t *testing.T) {
	f := newFixture(t, 1)
	entries := f.fill("r", 3)
	if err := f.relay(schemas.KindSucceeded).Publish(f.ctx(), entries); err != nil {
		t.Fatal(err)
	}
	if got := f.published(); !slices.Equal(got, []uint64{2, 4, 6}) {
		t.Errorf("published %v", got)
	}
	if at, err := f.relay().Position(f.ctx()); at != 6 || err != nil {
		t.Errorf("position %d, %v; want 6", at, err)
	}
}

func TestRelayStopsAtWhatItCannotPublish(t *testing.T) {
	f := newFixture(t, 1)
	f.fill("r", 1)
	broken := f.all(schemas.StreamJournal)[1]
	broken.Header.Del("Nats-Msg-Id")
	broken.Header.Del(jetstream.ExpectedLastSubjSeqHeader)
	broken.Header.Set("ce-id", "r:0:later:1")
	broken.Header.Set("Nats-Msg-Id", "r:0:later:1")
	broken.Header.Set("ce-type", "refund-later")
	broken.Header.Set("Refund-Kind", "later")
	f.raw(broken.Subject, broken.Header, `{"kind":"later"}`)
	entries := f.fill("s", 1)
	r := f.relay()
	if err := r.Publish(f.ctx(), entries); !errors.Is(err, stream.ErrUnreadable) {
		t.Errorf("got %v, want ErrUnreadable", err)
	}
	f.holds(entries[:2])
	if err := r.Publish(f.ctx(), []ledger.Entry{entries[4], entries[3]}); !errors.Is(err, stream.ErrOrder) {
		t.Errorf("got %v, want ErrOrder", err)
	}
}

// Two relays that are both given everything publish each entry once and in order, whoever leads the stream and whoever
// dies, and whatever is lost on the way.
func TestCompetingRelays(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		entries := f.fill("r", 60)
		began := time.Now()
		var wg sync.WaitGroup
		var place [3]uint64
		var mu sync.Mutex
		for i := range place {
			wg.Go(func() {
				r := f.relay()
				for from := 0; from < len(entries); {
					part := entries[from:min(from+1+i*3, len(entries))]
					err := r.Publish(f.ctx(), part)
					if errors.Is(err, stream.ErrInvalid) || errors.Is(err, stream.ErrUnreadable) {
						t.Error(err)
					}
					if err != nil {
						if i == 0 { // a new leader takes its place
							r = f.relay()
							if _, err := r.Position(f.ctx()); err != nil {
								continue
							}
						}
						continue
					}
					from += len(part)
					mu.Lock()
					place[i] = entries[from-1].Seq
					mu.Unlock()
				}
			})
		}
		for round := 1; len(f.servers) > 1 && round <= 3; round++ {
			f.eventually("progress", func() error {
				mu.Lock()
				defer mu.Unlock()
				if m := slices.Max(place[:]); m < uint64(round*25) {
					return fmt.Errorf("published up to %d", m)
				}
				return nil
			})
			if round == 2 {
				leader := f.leaderOf(schemas.StreamEvents)
				f.kill(leader)
				f.boot(leader)
			} else {
				f.stepDown(schemas.StreamEvents)
			}
		}
		wg.Wait()
		t.Logf("%d entries by three relays in %s", len(entries), time.Since(began))
		f.holds(entries)
	})
}

// A relay that dies between a publish and its answer has published once, and its successor goes on behind it.
func TestRelayThatDiesBeforeTheAnswer(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		entries := f.fill("r", 4)
		var l link
		dying := stream.NewRelay(f.dial(nats.SetCustomDialer(&l)), subjects)
		if err := dying.Publish(f.ctx(), entries[:3]); err != nil {
			t.Fatal(err)
		}
		l.deaf.Store(true)
		short, cancel := context.WithTimeout(f.ctx(), 300*time.Millisecond)
		defer cancel()
		if err := dying.Publish(short, entries[3:]); !errors.Is(err, stream.ErrLost) {
			t.Fatalf("got %v, want ErrLost", err)
		}
		r := f.relay()
		f.eventually("the late event", func() error {
			at, err := r.Position(f.ctx())
			if err == nil && at != 4 {
				err = fmt.Errorf("position %d", at)
			}
			return err
		})
		if err := r.Publish(f.ctx(), entries); err != nil {
			t.Fatal(err)
		}
		f.holds(entries)
	})
}

// Messages that are not the relay's cost a look. It goes on behind its own last one, however many there are.
func TestForeignFloodBeforeATakeover(t *testing.T) {
	f := newFixture(t, 1)
	entries := f.fill("r", 4)
	r := f.relay()
	for i, flood := range []int{1, 40, 3000, 0} {
		began := time.Now()
		at, err := f.relay().Position(f.ctx())
		if err != nil || at != uint64(i) {
			t.Errorf("position %d, %v; want %d", at, err, i)
		}
		if err := r.Publish(f.ctx(), entries[i:i+1]); err != nil {
			t.Fatal(err)
		}
		t.Logf("over the flood in %s", time.Since(began))
		f.flood(flood)
	}
	if n := r.Foreign(); n != 3041 {
		t.Errorf("%d foreign messages were counted, want 3041", n)
	}
	taken := f.relay()
	if at, err := taken.Position(f.ctx()); err != nil || at != 4 {
		t.Errorf("position %d, %v; want 4", at, err)
	}
	if err := taken.Publish(f.ctx(), entries); err != nil {
		t.Fatal(err)
	}
	f.holds(entries)
}

// flood writes messages that are not the relay's.
func (f *fixture) flood(n int) {
	f.t.Helper()
	for i := range n {
		if _, err := f.js.PublishAsync(subjects.Event(schemas.KindSucceeded, provider),
			[]byte(fmt.Sprintf(`{"stream":"REFUND_COMMANDS","seq":%d}`, i))); err != nil {
			f.t.Fatal(err)
		}
	}
	select {
	case <-f.js.PublishAsyncComplete():
	case <-f.ctx().Done():
		f.t.Fatal("the flood is not stored")
	}
}

// A flood that never ends does not stop the relay, either.
func TestRelayInAForeignFlood(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		entries := f.fill("r", 6)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		nc := f.dial().Conn()
		wg.Go(func() {
			for ctx.Err() == nil { // a few at a time, each answered, so that the servers' queues stay short
				reply := nats.NewInbox()
				sub, err := nc.SubscribeSync(reply)
				if err != nil {
					t.Error(err)
					return
				}
				for range 50 {
					_ = nc.PublishRequest(subjects.Event(schemas.KindSucceeded, provider), reply, []byte("flood"))
				}
				for range 50 {
					_, _ = sub.NextMsg(time.Second)
				}
				_ = sub.Unsubscribe()
			}
		})
		began := time.Now()
		relays := []*stream.Relay{f.relay(), f.relay()}
		var both sync.WaitGroup
		for _, r := range relays {
			both.Go(func() {
				f.eventually("all published", func() error { return r.Publish(f.ctx(), entries) })
			})
		}
		both.Wait()
		cancel()
		wg.Wait()
		t.Logf("%d entries among %d foreign messages in %s", len(entries), relays[0].Foreign(), time.Since(began))
		f.holds(entries)
	})
}

// An id that something else has taken keeps no event from being published.
func TestRelayWhoseIDsAreTaken(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		entries := f.fill("r", 3)
		for _, id := range []string{"r:0:outcome", "r:1:outcome", "journal-4"} {
			f.raw(subjects.Event(schemas.KindSucceeded, provider), nats.Header{"Nats-Msg-Id": {id}}, "foreign")
		}
		if err := f.relay().Publish(f.ctx(), entries); err != nil {
			t.Fatal(err)
		}
		f.holds(entries)
		var got []string
		for _, m := range f.all(schemas.StreamEvents)[3:] {
			got = append(got, m.Header.Get("ce-id")+" "+m.Header.Get("Nats-Msg-Id"))
		}
		want := []string{"r:0:dispatched:1 r:0:dispatched:1", "r:0:outcome journal-2", "r:1:dispatched:1 r:1:dispatched:1",
			"r:1:outcome ", "r:2:dispatched:1 r:2:dispatched:1", "r:2:outcome r:2:outcome"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// A relay that was overtaken and does not know it publishes nothing again, even when the server has forgotten the ids.
func TestRelayThatWasOvertaken(t *testing.T) {
	f := newFixture(t, 1)
	c := stream.EventsConfig(subjects, 0, 1)
	c.Duplicates = 100 * time.Millisecond
	f.recreate(c)
	entries := f.fill("r", 4)
	first, second := f.relay(), f.relay()
	if err := first.Publish(f.ctx(), entries[:3]); err != nil {
		t.Fatal(err)
	}
	if err := second.Publish(f.ctx(), entries[:6]); err != nil {
		t.Fatal(err)
	}
	f.eventually("ids that are forgotten", func() error {
		ack, err := f.js.PublishMsg(f.ctx(), &nats.Msg{Subject: subjects.Event(schemas.KindFailed, provider),
			Header: nats.Header{"Nats-Msg-Id": {"probe"}}})
		if err == nil && (ack.Duplicate || ack.Sequence == 7) {
			err = errors.New("not yet")
		}
		return err
	})
	if err := first.Publish(f.ctx(), entries[3:]); err != nil {
		t.Fatal(err)
	}
	f.holds(entries)
}
