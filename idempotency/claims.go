package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// Answer says what a claim found. From PARKED on, and with BEHIND, it comes with the lease. What is to be done is for the
// journal to say: these names tell an operator what there was to do.
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
	// Busy: another claim's lease runs, or a pause, until Until.
	Busy Answer = "BUSY"
	// Parked: a person must decide.
	Parked Answer = "PARKED"
	// Wait: deferred.
	Wait Answer = "WAIT"
	// Pending: acknowledged, the provider's result is due.
	Pending Answer = "PENDING"
	// Doubt: some journalled attempt may have moved money.
	Doubt Answer = "DOUBT"
	// Retry: attempts were journalled and each surely did nothing.
	Retry Answer = "RETRY"
	// Fresh: nothing was dispatched.
	Fresh Answer = "FRESH"
)

// Answers lists every answer.
var Answers = []Answer{NotReady, Behind, Conflict, Settled, Busy, Parked, Wait, Pending, Doubt, Retry, Fresh}

// unjournalledTTL is how long the record of a claim stays under which nothing is ever journalled. It keeps
// the fingerprint for duplicates and is far longer than any lease.
const unjournalledTTL = 24 * time.Hour

// Claim is the answer to one claim. It is a value: the lease behind it lives in Redis.
type Claim struct {
	RequestID schemas.RequestID
	Answer    Answer
	// Token proves the lease; each claim mints its own.
	Token string
	// Until is the lease's end, or that of what keeps the refund busy, in Redis's time.
	Until time.Time
	// Answered is when the answer came, on this process's clock: Redis's time is counted on from here.
	Answered time.Time
	// RedisTime and Pos are Redis's clock and the projection's position when the claim was answered.
	RedisTime time.Time
	Pos       uint64
	// Deadline is the end of the lease on this process's monotonic clock, counted from before the claim was sent.
	Deadline time.Time
	// Head is the sequence of the refund's last event that is known here; 0 when there is none.
	Head uint64
	// Clean is the sequence up to which every attempt surely did nothing, as its owners have said; 0 when none has. What the
	// journal says of it is not counted in.
	Clean uint64
}

// Held reports whether the claim took the lease.
func (c Claim) Held() bool {
	switch c.Answer {
	case Fresh, Retry, Doubt, Pending, Parked, Wait, Behind:
		return true
	}
	return false
}

// Claim asks for the lease of one refund. One round trip, shared with other claims that wait. An error leaves
// open whether a lease was taken; it then runs out by itself.
func (s *Store) Claim(ctx context.Context, id schemas.RequestID, fp schemas.Fingerprint,
	lease time.Duration) (Claim, error) {
	claim := Claim{RequestID: id, Answer: NotReady, Token: newToken(), Deadline: time.Now().Add(lease)}
	if s.gate.Closed() != Ready {
		return claim, nil
	}
	key, partition := s.keys.record(id)
	reply, err := s.scripts.do(ctx, claimScript, []string{key, s.keys.position(partition)},
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
	if time.Since(claim.RedisTime).Abs() > s.cfg.ClockBound {
		// The lease, if one was taken, was measured by a clock that cannot be trusted: it is given back.
		claim.Answer = NotReady
		_, err = s.Release(ctx, claim, 0, 0)
	}
	return claim, err
}

func (c *Claim) read(reply any) error {
	values, ok := reply.([]any)
	if !ok || len(values) != 6 {
		return errors.New("the claim script's reply cannot be read")
	}
	name, _ := values[0].(string)
	number := func(i int) int64 { n, _ := values[i].(int64); return n }
	c.Answer = Answer(name)
	c.RedisTime = time.UnixMilli(number(1)).UTC()
	if number(2) > 0 {
		c.Pos = uint64(number(2))
	}
	if number(3) > 0 {
		c.Until = time.UnixMilli(number(3)).UTC()
	}
	c.Head, c.Clean = uint64(number(4)), uint64(number(5))
	return nil
}

// Release gives the lease back. Clean, unless it is 0, is the sequence up to which every attempt surely did nothing. Until
// pause has passed, claims of a refund that is not in doubt answer BUSY, so that duplicates do not cut a backoff short. It
// reports false when the lease was not this claim's any more.
func (s *Store) Release(ctx context.Context, c Claim, clean uint64, pause time.Duration) (bool, error) {
	key, _ := s.keys.record(c.RequestID)
	reply, err := s.scripts.do(ctx, releaseScript, []string{key}, c.Token, clean, pause.Milliseconds())
	if err != nil {
		return false, fmt.Errorf("release %s: %w", c.RequestID, err)
	}
	n, _ := reply.(int64)
	return n == 1, nil
}

// ErrNotReady says that the projection cannot be trusted now.
var ErrNotReady = errors.New("the projection is not ready")

// Read returns what the projection knows about a refund, and the position it was read at, whether or not that can be
// trusted. It takes no lease.
func (s *Store) Read(ctx context.Context, id schemas.RequestID) (ledger.Record, uint64, error) {
	key, partition := s.keys.record(id)
	pipe := s.rdb.Pipeline()
	pos := pipe.HGet(ctx, s.keys.position(partition), posSeq)
	values := pipe.HMGet(ctx, key, recordFields...)
	if _, err := pipe.Exec(ctx); err != nil {
		return ledger.Record{}, 0, fmt.Errorf("read %s: %w", id, err)
	}
	at, err := pos.Uint64()
	if err != nil {
		return ledger.Record{}, 0, fmt.Errorf("read %s: %w", id, err)
	}
	return readRecord(values.Val()), at, nil
}

// IsInDoubt reports whether, as far as was applied, a refund waits for a lookup or a person because an attempt of it is not
// proven to have done nothing. One that is being made is not in doubt yet.
func (s *Store) IsInDoubt(ctx context.Context, id schemas.RequestID) (bool, error) {
	key, _ := s.keys.record(id)
	values, err := s.rdb.HMGet(ctx, key, append(slices.Clone(recordFields), fieldLease, fieldUndone)...).Result()
	if err != nil {
		return false, fmt.Errorf("read %s: %w", id, err)
	}
	record, lease := readClaimed(values)
	return record.InDoubt() && (record.State == schemas.KindParked || lease.Before(time.Now())), nil
}

func newToken() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
