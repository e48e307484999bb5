package idempotency

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/schemas"
)

// change is what a batch of events makes of one key.
type change struct {
	partition int
	key       string

	record  Record
	lease   []any // steps, flattened: "L" token until, or "E" token
	steps   int
	payment payment
	isRef   bool // a refund's record, else a payment
	touched bool
	ended   time.Time // when the last outcome occurred
}

// batch folds entries that partitions have not seen yet. Reading is one round trip, folding is pure.
type batch struct {
	store   *Store
	left    []position
	changes map[string]*change
	order   []*change
	// ignored counts events that were not legal where they stand.
	ignored int
}

// fold reads what the entries touch and applies them in stream order.
func (s *Store) fold(ctx context.Context, left []position, entries []Entry) (*batch, error) {
	b := &batch{store: s, left: left, changes: map[string]*change{}}
	for _, e := range entries {
		if e.Event.RequestID == "" || e.Event.Kind == schemas.KindRejected {
			continue
		}
		key, partition := s.recordKey(e.Event.RequestID)
		b.add(key, partition, true)
		if key, partition, ok := s.paymentOf(e); ok {
			b.add(key, partition, false)
		}
	}
	if err := b.read(ctx); err != nil {
		return nil, err
	}
	for _, e := range entries {
		b.apply(e)
	}
	return b, nil
}

func (b *batch) add(key string, partition int, isRef bool) {
	if b.changes[key] == nil {
		c := &change{partition: partition, key: key, isRef: isRef}
		b.changes[key] = c
		b.order = append(b.order, c)
	}
}

func (b *batch) read(ctx context.Context) error {
	if len(b.order) == 0 {
		return nil
	}
	pipe := b.store.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(b.order))
	for i, c := range b.order {
		if c.isRef {
			reads[i] = pipe.HMGet(ctx, c.key, recordFields...)
		} else {
			reads[i] = pipe.HMGet(ctx, c.key, paymentFields...)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for i, c := range b.order {
		if c.isRef {
			c.record = readRecord(reads[i].Val())
		} else {
			c.payment = readPayment(reads[i].Val())
		}
	}
	return nil
}

func (b *batch) apply(e Entry) {
	if e.Event.RequestID == "" || e.Event.Kind == schemas.KindRejected {
		return
	}
	key, partition := b.store.recordKey(e.Event.RequestID)
	record := b.changes[key]
	if e.Seq > b.left[partition].Seq {
		b.applyRecord(record, e)
	}
	if e.Event.Kind == schemas.KindDispatched && record.record.State.Settled() && record.record.Last < e.Seq {
		return // an intent after the refund's own outcome must hold nothing: no outcome would end it
	}
	if key, partition, ok := b.store.paymentOf(e); ok && e.Seq > b.left[partition].Seq {
		c := b.changes[key]
		if next, touched := c.payment.apply(e); touched {
			c.payment, c.touched, c.ended = next, true, e.Event.OccurredAt
		}
	}
}

func (b *batch) applyRecord(c *change, e Entry) {
	next, legal := c.record.Apply(e)
	if !legal {
		b.ignored++
		return
	}
	c.record, c.touched = next, true
	if e.Event.Kind.Outcome() {
		c.ended = e.Event.OccurredAt
	}
	if e.Owner == "" {
		return
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
	if c.isRef {
		fields, settled, clean = c.record.fields(), c.record.State.Settled(), c.record.Clean
	} else {
		fields, settled = c.payment.fields(), c.payment.Holder == ""
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
