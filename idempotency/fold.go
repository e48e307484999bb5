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
	// member names a refund among the open ones.
	member string

	record   ledger.Record
	payment  ledger.Payment
	velocity ledger.Velocity
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
		if isPaced(e) || binds(e) {
			b.add(aProvider, e)
		}
		if e.Event.RequestID == "" {
			continue
		}
		b.add(aRefund, e)
		if ledger.Touches(e) {
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

// binds reports whether an intent says what was captured of its payment.
func binds(e ledger.Entry) bool {
	return e.Event.Kind == schemas.KindDispatched && ledger.Touches(e) && e.Event.Payment.Amount != nil
}

// isPaced reports whether an event may change its provider's velocity.
func isPaced(e ledger.Entry) bool {
	if e.Event.Kind == schemas.KindStopped || e.Event.Kind == schemas.KindStarted {
		return true
	}
	return e.Event.Kind == schemas.KindDispatched && e.Hold != nil && e.Hold.Velocity != nil && ledger.Touches(e)
}

func (b *batch) add(of subject, e ledger.Entry) {
	key, partition := b.store.keys.of(of, e)
	if b.changes[key] == nil {
		c := &change{partition: partition, key: key, of: of}
		if of == aRefund {
			c.member = openMember(e.Event.Provider, e.Event.RequestID)
		}
		b.changes[key] = c
		b.order = append(b.order, c)
	}
}

func (b *batch) change(of subject, e ledger.Entry) *change {
	key, _ := b.store.keys.of(of, e)
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
			c.velocity.Hear(e)
			c.touched = true
		}
		return
	}
	refund, retain := b.change(aRefund, e), b.store.cfg.Retain
	before := refund.record
	record, legal := before.Apply(e, retain)
	if !legal { // an intent after the refund's own outcome, for one, must hold nothing: no outcome would end it
		b.ignored++
		return
	}
	refund.record, refund.touched = record, true
	if !ledger.Touches(e) {
		return
	}
	if binds(e) {
		provider := b.change(aProvider, e)
		provider.touched = provider.velocity.Bind(e) || provider.touched
	}
	c := b.change(aPayment, e)
	if payment, touched := c.payment.Apply(e, before, retain, func() bool { return !isPaced(e) || b.admit(e) }); touched {
		c.payment, c.touched = payment, true
	}
}

// admit tells whether the provider's pace lets an intent go ahead.
func (b *batch) admit(e ledger.Entry) bool {
	c := b.change(aProvider, e)
	c.touched = true
	return c.velocity.Admit(e)
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
		call := &scriptCall{script: applyScript, keys: []string{b.store.keys.position(p), where(p), b.store.keys.open(p)}, done: make(chan struct{})}
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

// arguments lists what the script takes of the change.
func (c *change) arguments(args []any, retain time.Duration) []any {
	var pairs []any
	var until time.Time
	var begun any = ""
	switch c.of {
	case aRefund:
		pairs = recordPairs(c.record)
		if c.record.Settled() {
			until = c.record.Since.Add(retain)
		} else {
			begun = c.record.Begun.UnixMilli()
		}
	case aPayment:
		pairs, until = []any{paymentField, paymentText(c.payment)}, c.payment.Until(retain)
	case aProvider:
		pairs = []any{velocityField, velocityText(c.velocity)}
	}
	args = append(args, len(pairs)/2)
	args = append(args, pairs...)
	return append(args, expiry(until), c.member, begun)
}

// expirySlack is how much longer a key stays than what it says counts, and at least from when it was written: what counts
// is told by the events' own times, and a rebuild of an old journal takes less than this.
const expirySlack = 24 * time.Hour

// expiry is when a key goes: never for the zero time.
func expiry(until time.Time) string {
	if until.IsZero() {
		return "0"
	}
	if now := time.Now(); until.Before(now) {
		until = now
	}
	return strconv.FormatInt(until.Add(expirySlack).UnixMilli(), 10)
}
