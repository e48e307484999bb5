package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Of all that append behind one head, over one connection or two, one is stored. The others are told so, whoever they are.
func TestOneAppendForEachHead(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		const rounds, writers = 60, 6
		journals := []*stream.Journal{f.journal(), f.journal()}
		var head uint64
		for round := range rounds {
			answers := make([]stream.Stored, writers)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					var err error
					e := dispatched("one", round*writers+w+1, fmt.Sprint(w))
					if round%2 == 0 { // the same attempt, of different owners
						e = dispatched("one", round*writers+1, fmt.Sprint(w))
					}
					answers[w], err = journals[w%2].Append(f.ctx(), e, head)
					if err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			var stored []stream.Stored
			for w, s := range answers {
				if !s.Stale {
					stored = append(stored, s)
					if e, err := journals[0].Head(f.ctx(), "one"); err != nil || e.Seq != s.Seq || e.Owner != fmt.Sprint(w) {
						t.Errorf("round %d: the head is %d of %q, %v; want %d of %d", round, e.Seq, e.Owner, err, s.Seq, w)
					}
				}
			}
			if len(stored) != 1 {
				t.Fatalf("round %d: %d are stored: %v", round, len(stored), answers)
			}
			head = stored[0].Seq
		}
		chain, err := journals[1].Chain(f.ctx(), "one")
		if err != nil || len(chain) != rounds || chain[rounds-1].Seq != head {
			t.Errorf("got %d entries, %v; want %d", len(chain), err, rounds)
		}
	})
}

// What is acknowledged stays, and stands behind the head that it named, whoever leads the stream and whoever dies.
func TestAppendsThroughLeaderChanges(t *testing.T) {
	f := newFixture(t, 3)
	const writers, each, refunds = 4, 30, 3
	began := time.Now()
	var done atomic.Int64
	var mu sync.Mutex
	acknowledged := map[string]uint64{} // by id and owner
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			j := f.journal()
			for n := range each {
				id, owner := fmt.Sprintf("r%d", n%refunds), fmt.Sprintf("%d-%d", w, n)
				f.eventually("an append", func() error {
					head, err := j.Head(f.ctx(), schemas.RequestID(id))
					if err != nil {
						return err
					}
					attempt := 1
					if head.Seq > 0 {
						attempt = head.Event.Attempt + 1
						if head.Owner == owner {
							return nil // stored by a try that was not answered
						}
					}
					s, err := j.Append(f.ctx(), dispatched(id, attempt, owner), head.Seq)
					if errors.Is(err, stream.ErrBackwards) || errors.Is(err, stream.ErrInvalid) {
						t.Error(err)
					}
					if err != nil || s.Stale {
						return fmt.Errorf("stale %t, %v", s.Stale, err)
					}
					mu.Lock()
					acknowledged[id+owner] = s.Seq
					mu.Unlock()
					return nil
				})
				done.Add(1)
			}
		})
	}
	for i, at := range []int64{15, 30, 45, 60, 80} {
		f.eventually("progress", func() error {
			if n := done.Load(); n < at {
				return fmt.Errorf("%d appends", n)
			}
			return nil
		})
		if i%2 == 0 {
			f.stepDown(schemas.StreamJournal)
			continue
		}
		leader := f.leaderOf(schemas.StreamJournal)
		f.kill(leader)
		f.boot(leader)
	}
	wg.Wait()
	total := 0
	for r := range refunds {
		total += f.checkChain(fmt.Sprintf("r%d", r), acknowledged)
	}
	if len(acknowledged) > 0 {
		t.Errorf("acknowledged and not there: %v", acknowledged)
	}
	t.Logf("%d entries of %d appends in %s", total, writers*each, time.Since(began))
}

// checkChain checks that each entry of a chain stands behind the one that it was appended to, and takes it from those
// that were acknowledged. It returns the chain's length.
func (f *fixture) checkChain(id string, acknowledged map[string]uint64) int {
	f.t.Helper()
	chain, before := []ledger.Entry(nil), uint64(0)
	f.eventually("the chain is read", func() (err error) { // the stream may be without a leader
		chain, err = f.journal().Chain(f.ctx(), schemas.RequestID(id))
		return err
	})
	for i, e := range chain {
		if e.Previous != before || e.Event.Attempt != i+1 {
			f.t.Errorf("entry %d is attempt %d behind %d, want %d behind %d", e.Seq, e.Event.Attempt, e.Previous, i+1, before)
		}
		if seq, ok := acknowledged[id+e.Owner]; ok && seq == e.Seq {
			delete(acknowledged, id+e.Owner)
		}
		before = e.Seq
	}
	return len(chain)
}

// A message whose answer is lost may be stored. Sent again it is not stored twice, and nobody else takes it for theirs.
func TestRepeatAfterALostAnswer(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		var l link
		deaf := stream.NewJournal(f.dial(nats.SetCustomDialer(&l)), subjects)
		e := dispatched("one", 1, "me")
		l.deaf.Store(true)
		short, cancel := context.WithTimeout(f.ctx(), 300*time.Millisecond)
		defer cancel()
		if s, err := deaf.Append(short, e, 0); !errors.Is(err, stream.ErrLost) || s != (stream.Stored{}) {
			t.Fatalf("got %+v, %v; want ErrLost", s, err)
		}
		j := f.journal()
		var head ledger.Entry
		f.eventually("the late entry", func() (err error) {
			if head, err = j.Head(f.ctx(), "one"); err == nil && head.Seq == 0 {
				err = errors.New("no entry")
			}
			return err
		})
		if head.Owner != "me" {
			t.Fatalf("the head is %+v", head)
		}
		again, err := j.Append(f.ctx(), e, 0)
		if err != nil || !again.Stale && again.Seq != head.Seq {
			t.Errorf("again: got %+v, %v; want stale, or stored at %d", again, err, head.Seq)
		}
		if clustered := len(f.servers) > 1; clustered == again.Stale {
			t.Errorf("again: got %+v; want a replicated stream alone to say that it is stored", again)
		}
		for _, other := range []ledger.Entry{dispatched("one", 1, "you"), dispatched("one", 1, "")} {
			if s, err := j.Append(f.ctx(), other, 0); err != nil || !s.Stale {
				t.Errorf("another's: got %+v, %v; want stale", s, err)
			}
		}
		if s, err := j.Append(f.ctx(), dispatched("one", 1, "you"), head.Seq); err != nil || !s.Stale {
			t.Errorf("the same id behind it: got %+v, %v; want stale", s, err)
		}
		if n := len(f.all(schemas.StreamJournal)); n != 1 {
			t.Errorf("%d entries, want 1", n)
		}
	})
}

// What is surely not stored is told from what may be.
func TestSurelyNotStored(t *testing.T) {
	t.Run("no connection", func(t *testing.T) {
		f := newFixture(t, 1)
		j := f.journal()
		f.kill(0)
		_, err := j.Append(f.ctx(), dispatched("one", 1, ""), 0)
		if !errors.Is(err, stream.ErrNotDone) && !errors.Is(err, stream.ErrLost) {
			t.Errorf("got %v", err)
		}
		f.eventually("a connection that is known to be gone", func() error {
			if _, err := j.Append(f.ctx(), dispatched("one", 1, ""), 0); !errors.Is(err, stream.ErrNotDone) {
				return fmt.Errorf("got %v, want ErrNotDone", err)
			}
			return nil
		})
	})
	t.Run("no time", func(t *testing.T) {
		f := newFixture(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := f.journal().Append(ctx, dispatched("one", 1, ""), 0)
		if !errors.Is(err, stream.ErrNotDone) || errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want ErrNotDone alone", err)
		}
	})
	t.Run("no stream", func(t *testing.T) {
		f := newFixture(t, 1)
		if err := f.js.DeleteStream(f.ctx(), schemas.StreamJournal); err != nil {
			t.Fatal(err)
		}
		if _, err := f.journal().Append(f.ctx(), dispatched("one", 1, ""), 0); !errors.Is(err, stream.ErrNotDone) {
			t.Errorf("got %v, want ErrNotDone", err)
		}
	})
	t.Run("another stream", func(t *testing.T) {
		f := newFixture(t, 1)
		other := stream.JournalConfig(subjects, retain, 1)
		if err := f.js.DeleteStream(f.ctx(), other.Name); err != nil {
			t.Fatal(err)
		}
		other.Name = "OTHER"
		f.create(other)
		if _, err := f.journal().Append(f.ctx(), dispatched("one", 1, ""), 0); !errors.Is(err, stream.ErrNotDone) {
			t.Errorf("got %v, want ErrNotDone", err)
		}
	})
}

// A full journal refuses whatever names the right head. It still says what names a wrong one, and loses nothing.
func TestFullJournal(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		j := f.journal()
		head := f.append(j, dispatched("one", 1, "me"), 0)
		c := stream.JournalConfig(subjects, retain, len(f.servers))
		c.MaxMsgs = 1
		f.create(c)
		if s, err := j.Append(f.ctx(), dispatched("one", 2, "me"), head); !errors.Is(err, stream.ErrNotDone) {
			t.Errorf("right head: got %+v, %v; want ErrNotDone", s, err)
		}
		if s, err := j.Append(f.ctx(), dispatched("one", 2, "me"), head+1); err != nil || !s.Stale {
			t.Errorf("stale head: got %+v, %v; want stale", s, err)
		}
		if _, err := j.Note(f.ctx(), rejected("one", 1)); !errors.Is(err, stream.ErrNotDone) {
			t.Errorf("note: got %v; want ErrNotDone", err)
		}
		c.MaxMsgs = -1
		f.create(c)
		next := f.append(j, dispatched("one", 2, "me"), head)
		chain, err := j.Chain(f.ctx(), "one")
		if err != nil || len(chain) != 2 || chain[0].Seq != head || chain[1].Seq != next {
			t.Errorf("got %v, %v", chain, err)
		}
	})
}

// A new entry whose sequence was known before is stored in another journal than the one that was known.
func TestJournalThatWentBackwards(t *testing.T) {
	f := newFixture(t, 1)
	learn := map[string]func(j *stream.Journal) error{
		"by an append": func(j *stream.Journal) error { f.append(j, outcome("two"), 0); return nil },
		"by a head":    func(j *stream.Journal) error { _, err := j.Head(f.ctx(), "one"); return err },
		"by a state":   func(j *stream.Journal) error { _, err := j.State(f.ctx()); return err },
		"by reading": func(j *stream.Journal) error {
			r, err := j.Read(f.ctx(), 1)
			if err != nil {
				return err
			}
			defer r.Stop()
			_, err = r.Next(f.ctx(), 10, patience)
			return err
		},
	}
	for name, learn := range learn {
		t.Run(name, func(t *testing.T) {
			f.recreate(stream.JournalConfig(subjects, retain, 1))
			j := f.journal()
			f.append(f.journal(), dispatched("one", 1, ""), 0)
			if err := learn(j); err != nil {
				t.Fatal(err)
			}
			f.recreate(stream.JournalConfig(subjects, retain, 1))
			if s, err := j.Append(f.ctx(), dispatched("one", 1, ""), 0); !errors.Is(err, stream.ErrBackwards) {
				t.Errorf("got %+v, %v; want ErrBackwards", s, err)
			}
		})
	}
}

func TestEventsThatAreNotStored(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	keyless := dispatched("one", 1, "")
	keyless.Event.IdempotencyKey = ""
	for name, e := range map[string]ledger.Entry{"of no kind": {}, "about no refund": rejected("one", 1), "without a key": keyless,
		"without an attempt": dispatched("one", 0, ""),
		"of a wild refund":   dispatched("*", 1, ""), "of two tokens": dispatched("a.b", 1, ""),
		"of a long owner": dispatched("one", 1, strings.Repeat("x", 257))} {
		if s, err := j.Append(f.ctx(), e, 0); !errors.Is(err, stream.ErrInvalid) {
			t.Errorf("append of an event %s: got %+v, %v", name, s, err)
		}
	}
	for name, e := range map[string]ledger.Entry{"of no kind": {}, "about a refund": dispatched("one", 1, "")} {
		if s, err := j.Note(f.ctx(), e); !errors.Is(err, stream.ErrInvalid) {
			t.Errorf("note of an event %s: got %+v, %v", name, s, err)
		}
	}
	for _, id := range []schemas.RequestID{"*", ">", "", "a.b"} {
		if _, err := j.Head(f.ctx(), id); !errors.Is(err, stream.ErrInvalid) {
			t.Errorf("head of %q: %v", id, err)
		}
	}
	if n := len(f.all(schemas.StreamJournal)); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
}

// What is about no single refund is stored once, in no refund's way.
func TestNotes(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		j := f.journal()
		first := f.append(j, dispatched("one", 1, ""), 0)
		e := rejected("one", 7)
		seq := f.must(j.Note(f.ctx(), e))
		e.Event.OccurredAt = noon.Add(time.Minute)
		if again := f.must(j.Note(f.ctx(), e)); again != seq {
			t.Errorf("again: stored at %d, want %d", again, seq)
		}
		e.Event.Provider = "other"
		if s, err := j.Note(f.ctx(), e); err != nil || !s.Stale {
			t.Errorf("the id of another: got %+v, %v; want stale", s, err)
		}
		stopped := ledger.Entry{Event: schemas.Event{Kind: schemas.KindStopped, Provider: provider, OccurredAt: noon, N: 1,
			Reason: schemas.ReasonVelocityStop, CurrencyCode: "HKD", Window: "1m0s"}}
		f.must(j.Note(f.ctx(), stopped))
		if s := f.append(j, dispatched("one", 2, ""), first); s <= seq {
			t.Errorf("stored at %d", s)
		}
		var got []string
		for _, m := range f.all(schemas.StreamJournal) {
			got = append(got, m.Subject+" "+m.Header.Get("Refund-Kind")+" "+m.Header.Get("Refund-Previous"))
		}
		want := []string{"refunds.journal.r.one dispatched ", "refunds.journal.x.test rejected ", "refunds.journal.x.test stopped ",
			fmt.Sprintf("refunds.journal.r.one dispatched %d", first)}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// Nothing about a refund is in the journal but under its literal subject and with its condition.
func TestEveryEventOfARefundHasItsCondition(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	head := f.append(j, dispatched("a:1", 1, "me"), 0)
	f.append(j, outcome("a:1"), head)
	for i, m := range f.all(schemas.StreamJournal) {
		after := []string{"0", "1"}[i]
		if m.Subject != "refunds.journal.r.a:1" || m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != after ||
			m.Header.Get(jetstream.ExpectedLastSubjSeqSubjHeader) != "" {
			t.Errorf("entry %d: %s %v", m.Sequence, m.Subject, m.Header)
		}
	}
}

// Answers may overtake each other: that is not a journal that went backwards.
func TestConcurrentAppendsAreNoStepBack(t *testing.T) {
	f := newFixture(t, 1)
	j := f.journal()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for n := range 100 {
				s, err := j.Append(f.ctx(), dispatched(fmt.Sprintf("%d:%d", w, n), 1, "me"), 0)
				if err != nil || s.Stale {
					t.Errorf("got %+v, %v", s, err)
				}
			}
		})
	}
	wg.Wait()
}
