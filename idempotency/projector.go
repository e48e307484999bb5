package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"refundworker/idempotency/ledger"

	"github.com/redis/go-redis/v9"
)

const (
	projectorLease = 5 * time.Second
	projectorBatch = 512
	projectorPause = time.Second
	writeTimeout   = 5 * time.Second
)

// errMoved means that a position was not what this projector left: Redis lost data, or another projector is
// at work. It is answered by looking again from the start.
var errMoved = errors.New("the projection's position was moved by something else")

// Projector applies the journal to Redis. Every worker runs one; a lease in Redis lets one at a time work.
// The lease only saves work: each write is refused unless the position is what this projector left behind.
type Projector struct {
	store   *Store
	journal Journal
	log     *slog.Logger
	token   string
	leads   atomic.Bool

	left       []position
	rebuilding []bool // by partition: its position is under its rebuild key until it has caught up
	state      JournalState
}

// NewProjector returns a projector that has not started.
func (s *Store) NewProjector(journal Journal, log *slog.Logger) *Projector {
	return &Projector{store: s, journal: journal, log: log, token: newToken()}
}

// Run projects until ctx ends. It returns a *JournalError when the stream is not the one that was projected;
// every other trouble is logged and tried again.
func (p *Projector) Run(ctx context.Context) error {
	defer p.resign()
	told, suspicions := "", 0
	for ctx.Err() == nil {
		began := time.Now()
		err := p.term(ctx)
		var wrong *JournalError
		if !errors.As(err, &wrong) || time.Since(began) > suspicionsMax*projectorPause {
			suspicions = 0
		}
		if wrong != nil {
			if suspicions++; suspicions == suspicionsMax {
				return err
			}
		} else if err != nil { // another worker may fare better
			p.resign()
		}
		switch {
		case err == nil || ctx.Err() != nil:
			told = ""
		case err.Error() != told: // not once a second for as long as a server is away
			told = err.Error()
			p.log.Warn("projection interrupted, starting over", "error", told)
		}
		select {
		case <-ctx.Done():
		case <-time.After(projectorPause):
		}
	}
	return nil
}

// term is one spell as the leading projector; it returns at once when another one leads.
func (p *Projector) term(ctx context.Context) error {
	if leads, err := p.lead(ctx); err != nil || !leads {
		return err
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	reader, err := p.journal.Read(ctx, max(p.lowest().Seq+1, p.state.First, 1))
	if err != nil {
		return fmt.Errorf("read the event stream: %w", err)
	}
	defer reader.Stop()
	checked, idle := time.Now(), true
	for ctx.Err() == nil {
		if idle && p.anyRebuilding() {
			if err := p.promote(ctx); err != nil {
				return err
			}
		}
		entries, err := reader.Next(ctx, projectorBatch, projectorPause)
		if err != nil {
			return fmt.Errorf("read the event stream: %w", err)
		}
		if time.Since(checked) >= projectorPause { // before anything more is built on what was left
			if err := p.check(ctx); err != nil {
				return err
			}
			checked = time.Now()
		}
		if len(entries) > 0 {
			if err := p.project(ctx, entries); err != nil {
				return err
			}
		}
		idle = len(entries) < projectorBatch
	}
	return nil
}

// begin reads where every partition stands and compares it with the stream.
func (p *Projector) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	state, err := p.journal.State(ctx)
	if err != nil {
		return fmt.Errorf("read the event stream's state: %w", err)
	}
	p.state = state
	p.left = make([]position, p.store.cfg.Partitions)
	p.rebuilding = make([]bool, p.store.cfg.Partitions)
	for i := range p.left {
		if p.left[i], p.rebuilding[i], err = p.place(ctx, i); err != nil {
			return err
		}
		if p.left[i].missing() {
			continue
		}
		if err := p.left[i].check(ctx, p.journal, state); err != nil {
			return err
		}
	}
	// A refund, its payment and its provider are told by one another, so all of them stand at one position. They stand
	// apart after a write that reached only some partitions, or when one was lost.
	for _, left := range p.left {
		if left != p.left[0] {
			return errors.Join(errMoved, p.store.positions.forget(ctx))
		}
	}
	if p.anyRebuilding() {
		p.store.rebuilds.Add(1)
		p.log.Info("rebuilding the projection from the event stream", "from", p.lowest().Seq, "to", state.Last)
	}
	return nil
}

// place finds a partition's position. One that is missing, or lower than this process has seen it, is set
// aside under its rebuild key, so that no claim is answered before it has caught up.
func (p *Projector) place(ctx context.Context, partition int) (position, bool, error) {
	s := p.store
	at, err := s.positions.at(ctx, s.keys.position(partition))
	if err != nil {
		return at, false, err
	}
	if !at.missing() && at.Seq >= s.gate.floorOf(partition) {
		return at, false, p.intact(ctx, s.keys.position(partition))
	}
	if !at.missing() {
		return at, true, s.positions.move(ctx, at, s.keys.position(partition), s.keys.rebuild(partition))
	}
	if at, err = s.positions.at(ctx, s.keys.rebuild(partition)); err != nil || at.missing() {
		return at, true, err
	}
	return at, true, p.intact(ctx, s.keys.rebuild(partition))
}

// intact has the projection built anew when keys were dropped since a position of it was first stored, or when the
// position came to another server, which counts for itself.
func (p *Projector) intact(ctx context.Context, key string) error {
	if p.store.cfg.Volatile {
		return nil
	}
	reply, err := p.store.scripts.do(ctx, intactScript, []string{key})
	if err != nil {
		return fmt.Errorf("ask redis for dropped keys: %w", err)
	}
	if n, _ := reply.(int64); n == 1 {
		return nil
	}
	return errors.Join(errMoved, p.store.positions.forget(ctx))
}

func (p *Projector) where(partition int) string {
	if p.rebuilding[partition] {
		return p.store.keys.rebuild(partition)
	}
	return p.store.keys.position(partition)
}

func (p *Projector) project(ctx context.Context, entries []ledger.Entry) error {
	if err := p.unbroken(ctx, entries); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	b, err := p.fold(ctx, entries)
	if err != nil {
		return err
	}
	last := entries[len(entries)-1]
	to := position{Seq: last.Seq, ID: last.ID, Created: p.state.Created.UnixNano()}
	left, err := b.write(p.where, to)
	if err != nil {
		return err
	}
	p.left = left
	for i, at := range left {
		if !p.rebuilding[i] {
			p.store.waits.note(i, at)
		}
	}
	p.store.applied.Add(uint64(len(entries)))
	p.store.ignored.Add(uint64(b.ignored))
	p.tellForeign(entries)
	return nil
}

// tellForeign counts what no worker wrote: it counts as the head of its refund, and nobody but somebody who may not can have
// stored it.
func (p *Projector) tellForeign(entries []ledger.Entry) {
	n, first := uint64(0), uint64(0)
	for _, e := range entries {
		if e.Foreign {
			if n++; n == 1 {
				first = e.Seq
			}
		}
	}
	if n > 0 {
		p.store.foreign.Add(n)
		p.log.Error("entries of the journal that no worker wrote: they say nothing", "entries", n, "first", first)
	}
}

// fold makes of the entries what is to be stored. What was read is worth nothing once any partition has lost what it was
// left with, though only that one refuses the write.
func (p *Projector) fold(ctx context.Context, entries []ledger.Entry) (*batch, error) {
	b, err := p.store.fold(ctx, p.left, entries)
	if err == nil && len(p.left) > 1 {
		err = p.stand(ctx)
	}
	return b, err
}

// stand tells whether every partition is where it was left.
func (p *Projector) stand(ctx context.Context) error {
	pipe := p.store.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(p.left))
	for i := range p.left {
		reads[i] = pipe.HMGet(ctx, p.where(i), positionFields...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	for i, left := range p.left {
		if readPosition(reads[i].Val()) != left {
			return errMoved
		}
	}
	return nil
}

// promote gives rebuilt partitions their position back once they have reached the end of the stream.
func (p *Projector) promote(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	state, err := p.journal.State(ctx)
	if err != nil {
		return fmt.Errorf("read the event stream's state: %w", err)
	}
	lowest, empty := p.lowest(), state.First > state.Last || state.Last == 0
	if lowest.Seq < state.Last && !empty {
		return nil
	}
	if lowest.Seq < state.Last || lowest.missing() { // nothing is there to apply: the stream's end is a position too
		b := &batch{store: p.store, left: p.left}
		if p.left, err = b.write(p.where, position{Seq: state.Last, Created: state.Created.UnixNano()}); err != nil {
			return err
		}
	}
	for i, rebuilding := range p.rebuilding {
		if !rebuilding {
			continue
		}
		if err := p.store.positions.move(ctx, p.left[i], p.store.keys.rebuild(i), p.store.keys.position(i)); err != nil {
			return err
		}
		p.rebuilding[i] = false
	}
	p.log.Info("projection complete", "position", p.lowest().Seq)
	p.store.lookSoon()
	return nil
}

// check looks, every second and also when idle, whether Redis still holds what was left there and the stream
// still holds the event that it was made from; it renews the lease.
func (p *Projector) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if leads, err := p.lead(ctx); err != nil {
		return err
	} else if !leads {
		return errMoved
	}
	state, err := p.journal.State(ctx)
	if err != nil {
		return fmt.Errorf("read the event stream's state: %w", err)
	}
	if err := p.stand(ctx); err != nil {
		return err
	}
	for i, left := range p.left {
		if left.missing() { // nothing is stored yet
			continue
		}
		if err := p.intact(ctx, p.where(i)); err != nil {
			return err
		}
	}
	if lowest := p.lowest(); !lowest.missing() {
		return lowest.check(ctx, p.journal, state)
	}
	return nil
}

func (p *Projector) lowest() position {
	lowest := p.left[0]
	for _, at := range p.left[1:] {
		if at.Seq < lowest.Seq || at.missing() {
			lowest = at
		}
	}
	return lowest
}

func (p *Projector) anyRebuilding() bool {
	for _, r := range p.rebuilding {
		if r {
			return true
		}
	}
	return false
}

func (p *Projector) lead(ctx context.Context) (bool, error) {
	return p.claimLead(ctx, projectorLease)
}

func (p *Projector) claimLead(ctx context.Context, length time.Duration) (bool, error) {
	reply, err := p.store.scripts.do(ctx, leadScript, []string{p.store.keys.leader()}, p.token, length.Milliseconds())
	if err != nil {
		p.leads.Store(false)
		return false, fmt.Errorf("lease of the projector: %w", err)
	}
	n, _ := reply.(int64)
	p.leads.Store(n == 1 && length > 0)
	return n == 1, nil
}

// Leads reports whether this projector was, when it last asked, the one that works. Another one may be by now.
func (p *Projector) Leads() bool { return p.leads.Load() }

// resign lets another worker project at once.
func (p *Projector) resign() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = p.claimLead(ctx, 0) // the lease runs out by itself otherwise
}
