package ledger

import (
	"testing"
	"time"

	"refundworker/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func entry(seq uint64, k schemas.Kind, attempt int, key string) Entry {
	at := noon.Add(time.Duration(seq) * time.Minute)
	e := schemas.Event{Kind: k, RequestID: "r", OccurredAt: at, Attempt: attempt, IdempotencyKey: key}
	if k == schemas.KindDispatched {
		until := at.Add(50 * time.Second)
		e.LeaseUntil = &until
	}
	return Entry{Seq: seq, Event: e}
}

// What surely did not reach the provider is known by the chain alone, once a later attempt says so.
func TestUndoneAttempts(t *testing.T) {
	var chain []Entry
	for n := range 12 {
		e := entry(uint64(n+1), schemas.KindDispatched, n+1, "r")
		e.Undone = uint64(n) // each says that those before it did nothing
		chain = append(chain, e)
	}
	r := Fold(chain, 0)
	if n := len(r.Doubt()); n != 1 || r.Reached() != 1 || r.Tried() != 12 || r.Undone != 11 {
		t.Errorf("%d in doubt, %d may have reached the provider of %d, undone up to %d; want 1, 1 of 12, 11", n, r.Reached(), r.Tried(), r.Undone)
	}
	if r = Fold(chain, 12); len(r.Doubt()) != 0 || r.Reached() != 0 {
		t.Errorf("by Redis's word: %d in doubt, %d may have reached it; want none", len(r.Doubt()), r.Reached())
	}
	r = Fold(append(chain, entry(13, schemas.KindParked, 12, ""), entry(14, schemas.KindResumed, 0, "")), 0)
	if r.Reached() != 0 || r.Tried() != 0 {
		t.Errorf("after a person let it go on: %d and %d, want none", r.Reached(), r.Tried())
	}
}

// The attempts have aged out of the chain, and the number of the last has not.
func TestAttemptsThatAgedOutAreCounted(t *testing.T) {
	if r := Fold([]Entry{entry(7, schemas.KindParked, 3, "")}, 0); r.Attempts != 3 {
		t.Errorf("%d attempts, want 3", r.Attempts)
	}
}

// What a chain says of doubt, keys and states.
func TestFold(t *testing.T) {
	dispatched := func(seq uint64, attempt int, key string) Entry {
		return entry(seq, schemas.KindDispatched, attempt, key)
	}
	for _, row := range []struct {
		name  string
		chain []Entry
		clean uint64
		state schemas.Kind
		doubt int
		key   string
		since uint64 // the entry under which the key was first used
	}{
		{"nothing", nil, 0, "", 0, "", 0},
		{"an attempt", []Entry{dispatched(1, 1, "r")}, 0, schemas.KindDispatched, 1, "r", 1},
		{"an attempt that surely did nothing", []Entry{dispatched(1, 1, "r")}, 1, schemas.KindDispatched, 0, "r", 1},
		{"two, of which the first did nothing", []Entry{dispatched(1, 1, "r"), dispatched(2, 2, "r")}, 1, schemas.KindDispatched, 1, "r", 1},
		{"put off, and tried again", []Entry{dispatched(1, 1, "r"), entry(2, schemas.KindDeferred, 1, ""), dispatched(3, 2, "r:r1")}, 0,
			schemas.KindDispatched, 1, "r:r1", 3},
		{"a person vouched for all before", []Entry{dispatched(1, 1, "r"), entry(2, schemas.KindParked, 1, ""),
			entry(3, schemas.KindResumed, 0, "")}, 0, schemas.KindResumed, 0, "r", 1},
		{"an entry that no worker wrote says nothing", []Entry{dispatched(1, 1, "r"), {Seq: 2}}, 0, schemas.KindDispatched, 1, "r", 1},
		{"an outcome stays", []Entry{dispatched(1, 1, "r"), entry(2, schemas.KindFailed, 0, ""), entry(3, schemas.KindParked, 1, "")}, 0,
			schemas.KindFailed, 1, "r", 1},
	} {
		r := Fold(row.chain, row.clean)
		if r.State != row.state || len(r.Doubt()) != row.doubt || r.Key != row.key {
			t.Errorf("%s: %s, %d in doubt, key %q; want %s, %d, %q", row.name, r.State, len(r.Doubt()), r.Key, row.state, row.doubt, row.key)
		}
		if want := noon.Add(time.Duration(row.since) * time.Minute); row.since > 0 && !r.KeySince.Equal(want) {
			t.Errorf("%s: the key is known since %s, want %s", row.name, r.KeySince, want)
		}
		if n := len(row.chain); n > 0 && r.Head != row.chain[n-1].Seq {
			t.Errorf("%s: head %d, want %d", row.name, r.Head, row.chain[n-1].Seq)
		}
	}
}
