package idempotency

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// change is what a batch of events makes of one key: of a refund's record, a payment, or a provider's velocity.
type change struct {
	partition int
	key       string
	of        subject
	touched   bool
	ended     time.Time // when what may let the key go occurred

	record   Record
	lease    []any // steps, flattened: "L" token until, or "E" token
	steps    int
	payment  payment
	velocity velocity
}

// subject says what a key is about.
type subject int

const (
	aRefund subject = iota
	aPayment
	aProvider
)

// fieldsOf are the stored fields of each subject.
var fieldsOf = map[subject][]string{aRefund: recordFields, aPayment: {paymentField}, aProvider: {velocityField}}

// read takes in what is stored. What is from after the position, of a projection that was given up, is built anew: what
// was legal, or had room, can only be told by what came before.
func (c *change) read(values []any, left position) {
	text, _ := values[0].(string)
	switch c.of {
	case aRefund:
		if r := readRecord(values); r.Last <= left.Seq {
			c.record = r
		}
	case aPayment:
		if p := readPayment(text); p.Last <= left.Seq {
			c.payment = p
		}
	case aProvider:
		if v := readVelocity(text); v.Last <= left.Seq {
			c.velocity = v
		}
	}
}

// batch folds entries that follow what was applied. Reading is one round trip, folding is pure.
type batch struct {
	store   *Store
	left    []position
	changes map[string]*change
	order   []*change
	// ignored counts events that were not legal where they stand.
	ignored int
}

// fold reads what the entries touch and applies them in stream order.
func (s *Store) fold(ctx context.Context, left []position, entries []ledger.Entry) (*batch, error) {
	b := &batch{store: s, left: left, changes: map[string]*change{}}
	for _, e := range entries {
		if !tells(e) {
			continue
		}
		if isPaced(e) {
			b.add(aProvider, e)
		}
		if e.Event.RequestID == "" {
			continue
		}
		b.add(aRefund, e)
		if touchesPayment(e) {
			b.add(aPayment, e)
		}
	}
	if err := b.read(ctx); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if tells(e) {
			b.apply(e)
		}
	}
	return b, nil
}

// tells reports whether an entry says anything that is kept here.
func tells(e ledger.Entry) bool { return !e.Foreign && e.Event.Kind != schemas.KindRejected }

// isPaced reports whether an event may change its provider's velocity.
func isPaced(e ledger.Entry) bool {
	if e.Event.Kind == schemas.KindStopped || e.Event.Kind == schemas.KindStarted {
		return true
	}
	return e.Event.Kind == schemas.KindDispatched && e.Hold != nil && e.Hold.Velocity != nil && touchesPayment(e)
}

// keyOf names what an event changes of a subject.
func (s *Store) keyOf(of subject, e ledger.Entry) (key string, partition int) {
	switch of {
	case aPayment:
		return s.paymentKey(e.Event.Provider, e.Event.Payment.Reference)
	case aProvider:
		return s.velocityKey(e.Event.Provider)
	}
	return s.recordKey(e.Event.RequestID)
}

func (b *batch) add(of subject, e ledger.Entry) {
	key, partition := b.store.keyOf(of, e)
	if b.changes[key] == nil {
		c := &change{partition: partition, key: key, of: of}
		b.changes[key] = c
		b.order = append(b.order, c)
	}
}

func (b *batch) change(of subject, e ledger.Entry) *change {
	key, _ := b.store.keyOf(of, e)
	return b.changes[key]
}

func (b *batch) read(ctx context.Context) error {
	if len(b.order) == 0 {
		return nil
	}
	pipe := b.store.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(b.order))
	for i, c := range b.order {
		reads[i] = pipe.HMGet(ctx, c.key, fieldsOf[c.of]...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for i, c := range b.order {
		c.read(reads[i].Val(), b.left[c.partition])
	}
	return nil
}

func (b *batch) apply(e ledger.Entry) {
	if e.Event.RequestID == "" {
		if c := b.change(aProvider, e); c != nil {
			c.velocity.heard(e)
			c.touched = true
		}
		return
	}
	// An intent after the refund's own outcome, for one, must hold nothing: no outcome would end it.
	refund := b.change(aRefund, e)
	if b.applyRecord(refund, e) && touchesPayment(e) {
		b.applyPayment(refund, e)
	}
}

func (b *batch) applyPayment(refund *change, e ledger.Entry) {
	c := b.change(aPayment, e)
	next, touched := c.payment.apply(e, func() bool { return !isPaced(e) || b.admit(e) })
	if !touched {
		return
	}
	c.payment, c.touched, c.ended = next, true, e.Event.OccurredAt
	asked := e.Event.Kind == schemas.KindDispatched && e.Hold != nil && e.Hold.Kind != ledger.NoHold
	if asked && !next.holds(e.Event.RequestID) {
		refund.record.Denied++
	}
}

// admit tells whether the provider's pace lets an intent go ahead.
func (b *batch) admit(e ledger.Entry) bool {
	c := b.change(aProvider, e)
	c.touched = true
	return c.velocity.admit(e)
}

// applyRecord reports whether the event is legal for its refund.
func (b *batch) applyRecord(c *change, e ledger.Entry) bool {
	next, legal := c.record.Apply(e)
	if !legal {
		b.ignored++
		return false
	}
	c.record, c.touched = next, true
	if e.Event.Kind.Outcome() {
		c.ended = e.Event.OccurredAt
	}
	if e.Owner == "" {
		return true
	}
	switch e.Event.Kind {
	case schemas.KindDispatched:
		if e.Event.LeaseUntil != nil {
			c.lease = append(c.lease, "L", e.Owner, e.Event.LeaseUntil.UnixMilli())
			c.steps++
		}
	case schemas.KindDeferred, schemas.KindAcknowledged, schemas.KindParked:
		c.lease = append(c.lease, "E", e.Owner)
		c.steps++
	}
	return true
}

// write stores what each partition's records became, and moves every partition's position, also idle ones'.
// It returns the partitions' new positions, or errMoved when somebody else moved one.
func (b *batch) write(where func(partition int) string, to position) ([]position, error) {
	calls := make([]*scriptCall, 0, len(b.left))
	moved := make([]position, len(b.left))
	copy(moved, b.left)
	for p, left := range b.left {
		if to.Seq <= left.Seq && !left.missing() {
			continue
		}
		call := &scriptCall{script: applyScript, keys: []string{b.store.posKey(p), where(p)}, done: make(chan struct{})}
		call.args = append(call.args, left.expected(), left.ID, to.Seq, to.ID, to.Created, b.store.mayEvict())
		for _, c := range b.order {
			if c.partition == p && c.touched {
				call.keys = append(call.keys, c.key)
				call.args = c.arguments(call.args, b.store.cfg.Retain)
			}
		}
		calls = append(calls, call)
		moved[p] = to
	}
	for start := 0; start < len(calls); start += batchMax {
		b.store.scripts.send(calls[start:min(start+batchMax, len(calls))])
	}
	for _, call := range calls {
		if call.err != nil {
			return nil, fmt.Errorf("store the projection: %w", call.err)
		}
		if n, _ := call.reply.(int64); n != 1 {
			return nil, errMoved
		}
	}
	return moved, nil
}

func (c *change) arguments(args []any, retain time.Duration) []any {
	var fields []any
	settled, clean := false, 0
	switch c.of {
	case aRefund:
		fields, settled, clean = c.record.fields(), c.record.State.Settled(), c.record.Clean
	case aPayment:
		fields, settled = []any{paymentField, c.payment.text()}, len(c.payment.Holds) == 0
	case aProvider:
		fields = []any{velocityField, c.velocity.text()}
	}
	args = append(args, len(fields)/2)
	args = append(args, fields...)
	args = append(args, clean, expiry(settled, c.ended, retain), c.steps)
	return append(args, c.lease...)
}

// expiry is when a key goes: never while it is open. A reversal leaves the settled record's own expiry to be
// counted from now, which only keeps it longer.
func expiry(settled bool, ended time.Time, retain time.Duration) string {
	if !settled {
		return "0"
	}
	if ended.IsZero() {
		ended = time.Now()
	}
	return strconv.FormatInt(ended.Add(retain).UnixMilli(), 10)
}

// expected is the sequence as the script compares it; empty when there must be no position.
func (p position) expected() string {
	if p.missing() {
		return ""
	}
	return strconv.FormatUint(p.Seq, 10)
}
