package idempotency

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// A projector begins to rebuild from nothing, reads, and is held up. Another one takes over, rebuilds everything and
// gives the position back. What the first one then stores would take records back to before attempts that may have
// moved money: it is refused, as a rebuild's key that is gone again is not a rebuild that has not begun.
func TestMachineHeldUpInARebuildStoresNothing(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		journal := newMemoryJournal()
		journal.add(event("r0", schemas.KindDispatched, attempt(1)))
		journal.add(event("r0", schemas.KindDeferred, attempt(1)))
		journal.add(event("r0", schemas.KindDispatched, attempt(2)))
		store, err := New(rdb, Config{Namespace: "held-up", Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		begin := func() *Projector {
			p := store.NewProjector(journal, slog.New(slog.DiscardHandler))
			if leads, err := p.lead(t.Context()); err != nil || !leads {
				t.Fatalf("leads: %t, %v", leads, err)
			}
			if err := p.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p
		}
		claim := func() Claim {
			if err := store.newWatch(journal).once(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := store.Claim(t.Context(), "r0", fingerprintOf("r0"), time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			(&ground{rdb: rdb}).reach(t, c.Until)
			return c
		}

		held := begin()
		read, err := store.fold(t.Context(), held.left, journal.entries[:2])
		if err != nil {
			t.Fatal(err)
		}
		held.resign() // its lease is over
		second := begin()
		if err := errors.Join(second.project(t.Context(), journal.entries), second.promote(t.Context())); err != nil {
			t.Fatal(err)
		}
		if c := claim(); c.Answer != Doubt || c.Head != 3 {
			t.Fatalf("rebuilt: %s at %d, want DOUBT at 3", c.Answer, c.Head)
		}

		to := position{Seq: 2, ID: journal.entries[1].ID, Created: journal.created.UnixNano()}
		if _, err := read.write(held.where, to); !errors.Is(err, errMoved) {
			t.Errorf("the projector that was held up stores: %v, want %v", err, errMoved)
		}
		if c := claim(); c.Answer != Doubt || c.Head != 3 {
			t.Errorf("afterwards: %s at %d, want DOUBT at 3, for attempt 2 may have moved money", c.Answer, c.Head)
		}
	})
}

// A rebuild has reached the end of the stream, and Redis falls back to when it had not: the position of then is not
// given back.
func TestMachineGivesBackOnlyThePositionItReached(t *testing.T) {
	onEachRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		journal := newMemoryJournal()
		journal.add(event("r0", schemas.KindDispatched, attempt(1)))
		journal.add(event("r0", schemas.KindFailed))
		store, err := New(rdb, Config{Namespace: "fell-back", Volatile: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		g, p := &ground{rdb: rdb}, store.NewProjector(journal, slog.New(slog.DiscardHandler))
		if err := errors.Join(p.begin(t.Context()), p.project(t.Context(), journal.entries[:1])); err != nil {
			t.Fatal(err)
		}
		before := g.keys(t, "")
		if err := p.project(t.Context(), journal.entries[1:]); err != nil {
			t.Fatal(err)
		}
		g.put(t, before)
		if err := p.promote(t.Context()); !errors.Is(err, errMoved) {
			t.Errorf("promote: %v, want %v", err, errMoved)
		}
		if at, err := store.positions.at(t.Context(), store.keys.position(0)); err != nil || !at.missing() {
			t.Errorf("the position is %d, %v; want none", at.Seq, err)
		}
	})
}
