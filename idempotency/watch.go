package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	watchEvery   = time.Second
	watchTimeout = 2 * time.Second
	// suspicionsMax is how often in a row the stream must look wrong until that is believed.
	suspicionsMax = 5
	// beatTTL is how long the proof stays that Redis took a write.
	beatTTL = time.Minute
)

// Watch refreshes the gate every second, also when there is no work, until ctx ends. Every worker runs one.
// It returns a *JournalError when the stream turns out to be another one or to have lost events.
func (s *Store) Watch(ctx context.Context, journal Journal) error {
	w := s.newWatch(journal)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := w.once(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.soon:
		}
	}
}

// lookSoon has this process's watch look again now rather than at the next second.
func (s *Store) lookSoon() {
	select {
	case s.soon <- struct{}{}:
	default:
	}
}

// watch compares Redis with the journal. One goroutine uses it.
type watch struct {
	*Store
	journal Journal
	// suspicions counts the looks in a row at which the stream was not as it must be.
	suspicions int
}

func (s *Store) newWatch(journal Journal) *watch { return &watch{Store: s, journal: journal} }

func (w *watch) once(ctx context.Context) error {
	// Redis first: no position that it tells can be above what the stream says after it.
	l := w.look(ctx)
	if ctx.Err() != nil {
		return nil // a look that was broken off says nothing about Redis
	}
	now, known := time.Now(), w.gate.Highest() // read before the stream is: it grows meanwhile
	state, err := stateOf(ctx, w.journal)
	if !state.Clock.IsZero() { // asked for a moment ago: the time of the answer is known no better than that
		state.Clock = state.Clock.Add(-time.Since(now) / 2)
	}
	if err == nil {
		err = w.gate.sawJournal(state, now)
	}
	if err == nil {
		err = w.compare(ctx, state, l)
		var wrong *JournalError
		if state.Last < known && !errors.As(err, &wrong) {
			err = &JournalError{Found: fmt.Sprintf("it ends at sequence %d, and this worker has seen %d", state.Last, known),
				Position: known}
		}
	}
	err = w.believe(err, state.Connection) // first: what Redis says may open the gate
	w.gate.sawRedis(l)
	return err
}

// compare holds what Redis knows of the stream against the stream, and has it know the oldest event.
func (w *watch) compare(ctx context.Context, state JournalState, l look) error {
	if l.err != nil {
		return fmt.Errorf("compare the event stream with redis: %w", l.err)
	}
	if err := l.oldest.compare(state, time.Now()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	checked := map[position]bool{}
	for _, at := range l.positions {
		if at.missing() || checked[at] {
			continue
		}
		checked[at] = true
		if err := at.check(ctx, w.journal, state); err != nil {
			return err
		}
	}
	return w.noteOldest(ctx, l.oldest, oldest{state.First, state.FirstAt, w.cfg.Retain})
}

// noteOldest keeps what a later process needs to know that no event left before its time.
func (w *watch) noteOldest(ctx context.Context, noted, now oldest) error {
	if now.at.IsZero() || noted.seq == now.seq && noted.retain == now.retain {
		return nil
	}
	if err := w.rdb.Set(ctx, w.keys.oldest(), now.String(), 0).Err(); err != nil {
		return fmt.Errorf("note the oldest event: %w", err)
	}
	return nil
}

// believe returns what is wrong with the stream once it was seen often enough in a row: a server that starts may not
// know its streams yet, and a new leader not yet all of their events. Until then no claim is answered.
func (w *watch) believe(err error, connection uint64) error {
	var wrong *JournalError
	switch {
	case errors.Is(err, ErrNoJournal):
		wrong = &JournalError{Found: "it does not exist any more", Position: w.gate.Highest()}
	case err == nil:
		w.suspicions = 0
		w.gate.trustJournal(time.Now(), connection)
		return nil
	case !errors.As(err, &wrong): // no answer: whatever was suspected stays so
		return nil
	}
	w.gate.suspectJournal()
	if w.suspicions++; w.suspicions < suspicionsMax {
		return nil
	}
	return wrong
}

// stateOf asks the stream, within a time of its own: a server that hangs must not hide the other one.
func stateOf(ctx context.Context, journal Journal) (JournalState, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	return journal.State(ctx)
}

// look reads Redis, and proves that it takes writes. Each step has a time of its own: what is slow is not away.
func (w *watch) look(ctx context.Context) look {
	var l look
	step := func(do func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, watchTimeout)
		defer cancel()
		return do(ctx)
	}
	l.err = step(func(ctx context.Context) error { return w.readPositions(ctx, &l) })
	l.at = time.Now()
	if l.err == nil {
		l.err = step(func(ctx context.Context) (err error) { l.evicts, err = w.evicts(ctx); return err })
	}
	if l.err == nil {
		l.unwritten = step(w.beat)
	}
	return l
}

// beat writes to every partition: a Redis that can only be read answers everything else as usual.
func (w *watch) beat(ctx context.Context) error {
	pipe := w.rdb.Pipeline()
	for p := range w.cfg.Partitions {
		pipe.Set(ctx, w.keys.beat(p), 1, beatTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}

// readPositions reads what the watch compares: Redis's clock, every partition's position, the oldest event noted.
func (w *watch) readPositions(ctx context.Context, l *look) error {
	pipe := w.rdb.Pipeline()
	clock, noted := pipe.Time(ctx), pipe.Get(ctx, w.keys.oldest())
	reads := make([]*redis.SliceCmd, w.cfg.Partitions)
	for p := range reads {
		reads[p] = pipe.HMGet(ctx, w.keys.position(p), positionFields...)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read positions: %w", err)
	}
	l.positions = make([]position, len(reads))
	for p, read := range reads {
		if err := read.Err(); err != nil {
			return fmt.Errorf("read positions: %w", err)
		}
		l.positions[p] = readPosition(read.Val())
	}
	l.redisTime, l.oldest = clock.Val(), readOldest(noted.Val())
	return clock.Err()
}

// look is one second's reading of Redis.
type look struct {
	at        time.Time
	positions []position
	redisTime time.Time
	oldest    oldest
	evicts    bool
	// err is what went wrong with a read, unwritten with a write.
	err, unwritten error
}

// trouble is why Redis cannot be relied on after what it answered, or did not answer.
func (l look) trouble() Reason {
	switch {
	case l.err == nil && l.unwritten == nil:
		return Ready
	case refusesWrites(l.err), refusesWrites(l.unwritten), redis.IsPermissionError(l.unwritten):
		return RedisReadOnly
	case l.err != nil:
		return troubleReading(l.err)
	}
	return troubleReading(l.unwritten)
}

// words is what Redis said, or what the client says in its place.
func (l look) words() string {
	if err := errors.Join(l.err, l.unwritten); err != nil {
		return err.Error()
	}
	return ""
}

// refusesWrites reports whether Redis itself said that it takes no writes: it is a replica, has no memory left, cannot
// save, or misses its replicas.
func refusesWrites(err error) bool {
	return redis.IsReadOnlyError(err) || redis.IsOOMError(err) || redis.IsNoReplicasError(err) ||
		redis.HasErrorPrefix(err, "MISCONF")
}

// troubleReading tells a Redis that answers with a refusal from one that does not answer, or says that it cannot yet.
func troubleReading(err error) Reason {
	var said redis.Error
	if !errors.As(err, &said) || redis.IsLoadingError(err) || redis.IsMasterDownError(err) || redis.IsClusterDownError(err) ||
		redis.IsTryAgainError(err) || redis.IsMaxClientsError(err) {
		return RedisUnreachable
	}
	return RedisRefuses
}
