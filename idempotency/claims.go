package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"refundworker/schemas"
)

// Answer says what a claim found. FRESH, RETRY, DOUBT and PENDING come with the lease.
type Answer string

// Answers, in the order in which they are tried.
const (
	// NotReady: claims are not to be relied on now; nothing was read or taken.
	NotReady Answer = "NOT_READY"
	// Behind: what is known here of the refund is not all that was known before: the journal has to be asked. The lease is
	// taken.
	Behind Answer = "BEHIND"
	// Conflict: the requestId belongs to other content.
	Conflict Answer = "CONFLICT"
	// Settled: an outcome is there.
	Settled Answer = "SETTLED"
	// Busy: another claim's lease runs, until Until.
	Busy Answer = "BUSY"
	// Parked: a person must decide; Until says when to journal it again.
	Parked Answer = "PARKED"
	// Pending: acknowledged, the provider's result is due.
	Pending Answer = "PENDING"
	// Wait: deferred, not before Until.
	Wait Answer = "WAIT"
	// Doubt: some journalled attempt may have moved money.
	Doubt Answer = "DOUBT"
	// Retry: attempts were journalled and each surely did nothing.
	Retry Answer = "RETRY"
	// Fresh: nothing was dispatched.
	Fresh Answer = "FRESH"
)

// Answers lists every answer.
var Answers = []Answer{NotReady, Behind, Conflict, Settled, Busy, Parked, Pending, Wait, Doubt, Retry, Fresh}

// unjournalledTTL is how long the record of a claim stays under which nothing is ever journalled. It keeps
// the fingerprint for duplicates and is far longer than any lease, lag and fence window together.
const unjournalledTTL = 24 * time.Hour

// Claim is the answer to one claim. It is a value: the lease behind it lives in Redis.
type Claim struct {
	RequestID schemas.RequestID
	Answer    Answer
	// Token proves the lease; each claim mints its own.
	Token string
	// Attempt is the number to use for the next attempt, as the record stood when the claim was answered.
	// It is never read again: that is what lets the journal stop the second of two workers.
	Attempt int
	// Until is the lease's end, or what a busy, parked or waiting refund waits for, in Redis's time.
	Until time.Time
	// Answered is when the answer came, on this process's clock: Redis's time is counted on from here.
	Answered time.Time
	// RedisTime and Pos are Redis's clock and the projection's position when the claim was answered.
	RedisTime time.Time
	Pos       uint64
	// Deadline is the end of the lease on this process's monotonic clock, counted from before the claim was sent.
	Deadline time.Time
	// Record is what the journal says about the refund, as far as it was applied.
	Record Record
	// Told is the sequence, ahead of Pos, at which the last owner said that it journalled the refund's last event; 0 when
	// there is none. Whoever relies on it looks whether that event is there: the owner may have written to a stream that was
	// replaced since.
	Told uint64
	// CleanTo is the sequence up to which every intent surely did nothing, as an owner has said; 0 when none has.
	CleanTo uint64
}

// Held reports whether the claim took the lease.
func (c Claim) Held() bool {
	switch c.Answer {
	case Fresh, Retry, Doubt, Pending, Behind:
		return true
	}
	return false
}

// Claim asks for the lease of one refund. One round trip, shared with other claims that wait. An error leaves
// open whether a lease was taken; it then runs out by itself.
func (s *Store) Claim(ctx context.Context, id schemas.RequestID, fp schemas.Fingerprint,
	lease time.Duration) (Claim, error) {
	claim := Claim{RequestID: id, Answer: NotReady, Token: newToken(), Deadline: time.Now().Add(lease)}
	if s.gate.Reason() != Ready {
		return claim, nil
	}
	key, partition := s.recordKey(id)
	reply, err := s.scripts.do(ctx, claimScript, []string{key, s.posKey(partition)},
		claim.Token, string(fp[:]), lease.Milliseconds(), s.gate.floorOf(partition), unjournalledTTL.Milliseconds(), s.mayEvict())
	if err != nil {
		return claim, fmt.Errorf("claim %s: %w", id, err)
	}
	claim.Answered = time.Now()
	if err := claim.read(reply); err != nil {
		return claim, fmt.Errorf("claim %s: %w", id, err)
	}
	if claim.Answer == Behind {
		s.gate.distrust()
	}
	if !s.gate.clockAgrees(claim.RedisTime) {
		// The lease, if one was taken, was measured by a clock that cannot be trusted: it is given back.
		claim.Answer = NotReady
		_, err = s.Abandon(ctx, claim)
	}
	return claim, err
}

func (c *Claim) read(reply any) error {
	values, ok := reply.([]any)
	if !ok || len(values) < 5 {
		return errors.New("the claim script's reply cannot be read")
	}
	name, _ := values[0].(string)
	number := func(i int) int64 { n, _ := values[i].(int64); return n }
	c.Answer = Answer(name)
	c.RedisTime = time.UnixMilli(number(1)).UTC()
	if number(2) > 0 {
		c.Pos = uint64(number(2))
	}
	c.Attempt = int(number(3))
	if number(4) > 0 {
		c.Until = time.UnixMilli(number(4)).UTC()
	}
	if n := 5 + len(recordFields); len(values) == n+2 {
		c.Record = readRecord(values[5:n])
		told, _ := values[n].(string)
		c.Told, _ = strconv.ParseUint(told, 10, 64)
		clean, _ := values[n+1].(string)
		c.CleanTo, _ = strconv.ParseUint(clean, 10, 64)
	}
	return nil
}

// Abandon gives the lease back when nothing was journalled under the claim. It changes nothing else. It
// reports false when the lease was not this claim's any more.
func (s *Store) Abandon(ctx context.Context, c Claim) (bool, error) {
	return s.release(ctx, c, 0, Undone{})
}

// Undo gives the lease back after the attempt was journalled and surely did nothing. With clean set, every
// attempt up to the claim's own counts as having done nothing: true only when the claim was FRESH or RETRY,
// or when what was in doubt before has been looked up conclusively under this very claim. Until pause has
// passed, claims of a refund that is not in doubt answer WAIT, so that duplicates do not cut a backoff short. Last
// is the sequence of the attempt's event, for the next claim to be told until the projection has passed it.
func (s *Store) Undo(ctx context.Context, c Claim, u Undone) (bool, error) {
	if u.Clean {
		return s.release(ctx, c, c.Attempt, u)
	}
	return s.release(ctx, c, 0, u)
}

// Undone says what an undone attempt leaves behind.
type Undone struct {
	Clean bool
	Pause time.Duration
	Last  uint64
	// CleanTo is the sequence up to which every intent surely did nothing; 0 says nothing about any.
	CleanTo uint64
}

func (s *Store) release(ctx context.Context, c Claim, cleanUpTo int, u Undone) (bool, error) {
	key, _ := s.recordKey(c.RequestID)
	reply, err := s.scripts.do(ctx, releaseScript, []string{key}, c.Token, cleanUpTo, u.Pause.Milliseconds(),
		u.Last, u.CleanTo)
	if err != nil {
		return false, fmt.Errorf("release %s: %w", c.RequestID, err)
	}
	n, _ := reply.(int64)
	return n == 1, nil
}

// ErrNotReady says that the projection cannot be trusted now.
var ErrNotReady = errors.New("the projection is not ready")

// Look is Read for whoever decides by what it returns: it answers ErrNotReady when a claim would be answered NOT_READY.
func (s *Store) Look(ctx context.Context, id schemas.RequestID) (Record, uint64, error) {
	if reason := s.gate.Reason(); reason != Ready {
		return Record{}, 0, fmt.Errorf("look at %s: %w: %s", id, ErrNotReady, reason)
	}
	record, pos, err := s.Read(ctx, id)
	if err != nil {
		return Record{}, 0, err
	}
	if pos < s.gate.floorOf(s.partition(string(id))) {
		return Record{}, 0, fmt.Errorf("look at %s: %w: %s", id, ErrNotReady, ProjectionBehind)
	}
	return record, pos, nil
}

// Read returns what the projection knows about a refund, and the position it was read at, whether or not that can be
// trusted. It takes no lease.
func (s *Store) Read(ctx context.Context, id schemas.RequestID) (Record, uint64, error) {
	key, partition := s.recordKey(id)
	pipe := s.rdb.Pipeline()
	pos := pipe.HGet(ctx, s.posKey(partition), posSeq)
	values := pipe.HMGet(ctx, key, recordFields...)
	if _, err := pipe.Exec(ctx); err != nil {
		return Record{}, 0, fmt.Errorf("read %s: %w", id, err)
	}
	at, err := pos.Uint64()
	if err != nil {
		return Record{}, 0, fmt.Errorf("read %s: %w", id, err)
	}
	return readRecord(values.Val()), at, nil
}

// IsInDoubt reports whether, as far as was applied, a refund waits for a lookup or a person because an attempt of it is not
// proven to have done nothing. One that is being made is not in doubt yet.
func (s *Store) IsInDoubt(ctx context.Context, id schemas.RequestID) (bool, error) {
	key, _ := s.recordKey(id)
	values, err := s.rdb.HMGet(ctx, key, append(slices.Clone(recordFields), fieldCleanTo, fieldLease)...).Result()
	if err != nil {
		return false, fmt.Errorf("read %s: %w", id, err)
	}
	number := func(value any) int64 {
		text, _ := value.(string)
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	record := readRecord(values)
	cleanTo, lease := number(values[len(recordFields)]), number(values[len(recordFields)+1])
	switch record.State {
	case StateDispatched:
		return record.Last > uint64(cleanTo) && lease < time.Now().UnixMilli(), nil
	case StateParked:
		return record.Last > uint64(cleanTo), nil
	}
	return false, nil
}

func newToken() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
