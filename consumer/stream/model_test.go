package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"refundworker/consumer/stream"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// model is the journal as a few slices.
type model struct {
	chains map[string][]modelEntry
	// ids are the messages that the server knows, by id.
	ids  map[string]modelEntry
	last uint64
	// replicated streams look at ids before they look at conditions.
	replicated bool
}

// modelEntry is an entry without its sequence's meaning for anybody else: what was written, by whom, behind what.
type modelEntry struct {
	seq, after          uint64
	id, owner, refund   string
	foreign, unreadable bool
}

func (e modelEntry) String() string {
	return fmt.Sprintf("%d:%s:%s:%d:%t", e.seq, e.id, e.owner, e.after, e.foreign)
}

func (m *model) head(refund string) uint64 {
	if c := m.chains[refund]; len(c) > 0 {
		return c[len(c)-1].seq
	}
	return 0
}

// append says what becomes of an append: where it was stored before, or that it is refused, or neither.
func (m *model) append(e modelEntry) (before uint64, refused bool) {
	known, taken := m.ids[e.id]
	same := taken && known.refund == e.refund && known.owner == e.owner && known.after == e.after
	fits := m.head(e.refund) == e.after
	switch {
	case m.replicated && same:
		return known.seq, false
	case m.replicated && taken, !fits, taken && !same:
		return 0, true
	case taken: // fits, so it would have to be its own head
		return known.seq, false
	}
	return 0, false
}

func (m *model) store(e modelEntry) {
	m.last = e.seq
	m.chains[e.refund] = append(m.chains[e.refund], e)
	if e.id != "" {
		m.ids[e.id] = e
	}
}

// read is what Chain must say.
func (m *model) read(refund string) (chain []string, unreadable bool) {
	for _, e := range m.chains[refund] {
		chain, unreadable = append(chain, e.String()), unreadable || e.unreadable
	}
	return chain, unreadable
}

func asModel(e ledger.Entry) modelEntry {
	return modelEntry{seq: e.Seq, id: e.ID, owner: e.Owner, after: e.Previous, foreign: e.Foreign}
}

var modelRuns atomic.Int64

// The journal and the model answer alike, whatever is done to both.
func TestJournalIsItsModel(t *testing.T) {
	eachSize(t, func(t *testing.T, f *fixture) {
		journals := []*stream.Journal{f.journal(), f.journal()}
		rapid.Check(t, func(rt *rapid.T) {
			run := modelRuns.Add(1)
			m := &model{chains: map[string][]modelEntry{}, ids: map[string]modelEntry{}, replicated: len(f.servers) > 1}
			refund := rapid.Map(rapid.IntRange(0, 1), func(n int) string { return fmt.Sprintf("m%d:%d", run, n) })
			rt.Repeat(map[string]func(*rapid.T){
				"append": func(rt *rapid.T) {
					modelAppend(rt, m, rapid.SampledFrom(journals).Draw(rt, "by"), refund.Draw(rt, "refund"))
				},
				"foreign": func(rt *rapid.T) {
					id := refund.Draw(rt, "refund")
					m.store(modelEntry{seq: f.raw(subjects.Journal(schemas.RequestID(id)), nil, `{"seq":1}`), refund: id, foreign: true})
				},
				"unreadable": func(rt *rapid.T) {
					if rapid.IntRange(0, 9).Draw(rt, "rarely") > 0 {
						rt.Skip()
					}
					modelUnreadable(f, m, refund.Draw(rt, "refund"))
				},
				"note": func(rt *rapid.T) {
					id := refund.Draw(rt, "refund")
					e := rejected(id, rapid.ByteRange(1, 2).Draw(rt, "body"))
					s, err := journals[0].Note(f.ctx(), e)
					known, taken := m.ids[e.Event.ID()]
					if err != nil || s.Stale || taken && s.Seq != known.seq || !taken && s.Seq <= m.last {
						rt.Fatalf("note: got %+v, %v", s, err)
					}
					if !taken {
						m.last, m.ids[e.Event.ID()] = s.Seq, modelEntry{seq: s.Seq}
					}
				},
				"": func(rt *rapid.T) {
					modelRead(rt, f, m, rapid.SampledFrom(journals).Draw(rt, "by"), refund.Draw(rt, "refund"))
				},
			})
		})
	})
}

func modelAppend(rt *rapid.T, m *model, j *stream.Journal, id string) {
	chain := m.chains[id]
	e := modelEntry{refund: id, owner: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "owner"), after: m.head(id)}
	if rapid.IntRange(0, 3).Draw(rt, "stale") == 0 { // behind any entry, or the journal's last, or none
		behind := []uint64{0, m.last}
		for _, c := range chain {
			behind = append(behind, c.seq)
		}
		e.after = rapid.SampledFrom(behind).Draw(rt, "after")
	}
	attempt := 1 + len(chain)
	if rapid.Bool().Draw(rt, "known") {
		attempt = rapid.IntRange(1, 1+len(chain)).Draw(rt, "attempt")
	}
	entry := dispatched(id, attempt, e.owner)
	e.id = entry.Event.ID()
	before, refused := m.append(e)
	s, err := j.Append(context.Background(), entry, e.after)
	switch {
	case err != nil || s.Stale != refused || before > 0 && s.Seq != before || !refused && before == 0 && s.Seq <= m.last:
		rt.Fatalf("append %v: got %+v, %v; want refused %t, stored before at %d; known %v", e, s, err, refused, before, m.ids[e.id])
	case !refused && before == 0:
		e.seq = s.Seq
		m.store(e)
	}
}

func modelUnreadable(f *fixture, m *model, id string) {
	e := modelEntry{refund: id, after: m.head(id), unreadable: true}
	header, body := newer(id, len(m.chains[id]))
	e.id = header.Get("Nats-Msg-Id")
	if e.after > 0 {
		header.Set("Refund-Previous", fmt.Sprint(e.after))
	}
	e.seq = f.raw(subjects.Journal(schemas.RequestID(id)), nats.Header(header), body)
	m.store(e)
}

func modelRead(rt *rapid.T, f *fixture, m *model, j *stream.Journal, id string) {
	want, unreadable := m.read(id)
	chain, err := j.Chain(f.ctx(), schemas.RequestID(id))
	if errors.Is(err, stream.ErrUnreadable) != unreadable || err != nil && !unreadable {
		rt.Fatalf("chain of %s: %v; want unreadable %t", id, err, unreadable)
	}
	var got []string
	for _, e := range chain {
		got = append(got, asModel(e).String())
	}
	if !unreadable && !slices.Equal(got, want) {
		rt.Fatalf("chain of %s:\ngot  %s\nwant %s", id, strings.Join(got, " "), strings.Join(want, " "))
	}
	head, err := j.Head(f.ctx(), schemas.RequestID(id))
	if head.Seq != m.head(id) || err != nil && !unreadable {
		rt.Fatalf("head of %s: %d, %v; want %d", id, head.Seq, err, m.head(id))
	}
}
