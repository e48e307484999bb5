package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
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

// position is where a partition's projection stands: a sequence, its event's id, and the stream's birth.
type position struct {
	Seq     uint64
	ID      string
	Created int64 // Unix nanoseconds; 0 when there is no position
}

// Stored fields of a position.
const (
	posSeq     = "s"
	posID      = "i"
	posCreated = "j"
	// posEvicted is how many keys the server had dropped when the position was first stored.
	posEvicted = "e"
)

var positionFields = []string{posSeq, posID, posCreated}

func (p position) missing() bool { return p.Created == 0 }

func readPosition(values []any) position {
	text := func(i int) string { s, _ := values[i].(string); return s }
	var p position
	p.Seq, _ = strconv.ParseUint(text(0), 10, 64)
	p.ID = text(1)
	p.Created, _ = strconv.ParseInt(text(2), 10, 64)
	return p
}

// Watch refreshes the gate every second, also when there is no work, until ctx ends. Every worker runs one.
// It returns a *JournalError when the stream turns out to be another one or to have lost events.
func (s *Store) Watch(ctx context.Context, journal Journal) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := s.watchOnce(ctx, journal); err != nil {
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

func (s *Store) watchOnce(ctx context.Context, journal Journal) error {
	// Redis first: no position that it tells can be above what the stream says after it.
	l := s.look(ctx)
	if ctx.Err() != nil {
		return nil // a look that was broken off says nothing about Redis
	}
	now, known := time.Now(), s.gate.Highest() // read before the stream is: it grows meanwhile
	state, err := stateOf(ctx, journal)
	if !state.Clock.IsZero() { // asked for a moment ago: the time of the answer is known no better than that
		state.Clock = state.Clock.Add(-time.Since(now) / 2)
	}
	if err == nil {
		err = s.gate.sawJournal(state, now)
	}
	if err == nil {
		err = s.compare(ctx, journal, state, l)
		var wrong *JournalError
		if state.Last < known && !errors.As(err, &wrong) {
			err = &JournalError{Found: fmt.Sprintf("it ends at sequence %d, and this worker has seen %d", state.Last, known),
				Position: known}
		}
	}
	err = s.believe(err, state.Connection) // first: what Redis says may open the gate
	s.gate.sawRedis(l)
	return err
}

// compare holds what Redis knows of the stream against the stream, and has it know the oldest event.
func (s *Store) compare(ctx context.Context, journal Journal, state JournalState, l look) error {
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
		if err := at.check(ctx, journal, state); err != nil {
			return err
		}
	}
	return s.noteOldest(ctx, l.oldest, oldest{state.First, state.FirstAt, s.cfg.Retain})
}

// noteOldest keeps what a later process needs to know that no event left before its time.
func (s *Store) noteOldest(ctx context.Context, noted, now oldest) error {
	if now.at.IsZero() || noted.seq == now.seq && noted.retain == now.retain {
		return nil
	}
	if err := s.rdb.Set(ctx, s.oldestKey(), now.String(), 0).Err(); err != nil {
		return fmt.Errorf("note the oldest event: %w", err)
	}
	return nil
}

// believe returns what is wrong with the stream once it was seen often enough in a row: a server that starts may not
// know its streams yet, and a new leader not yet all of their events. Until then no claim is answered.
func (s *Store) believe(err error, connection uint64) error {
	var wrong *JournalError
	switch {
	case errors.Is(err, ErrNoJournal):
		wrong = &JournalError{Found: "it does not exist any more", Position: s.gate.Highest()}
	case err == nil:
		s.suspicions = 0
		s.gate.trustJournal(time.Now(), connection)
		return nil
	case !errors.As(err, &wrong): // no answer: whatever was suspected stays so
		return nil
	}
	s.gate.suspectJournal()
	if s.suspicions++; s.suspicions < suspicionsMax {
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
func (s *Store) look(ctx context.Context) look {
	var l look
	step := func(do func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, watchTimeout)
		defer cancel()
		return do(ctx)
	}
	l.err = step(func(ctx context.Context) error { return s.readPositions(ctx, &l) })
	l.at = time.Now()
	if l.err == nil {
		l.err = step(func(ctx context.Context) (err error) { l.evicts, err = s.evicts(ctx); return err })
	}
	if l.err == nil {
		l.unwritten = step(s.beat)
	}
	return l
}

// beat writes to every partition: a Redis that can only be read answers everything else as usual.
func (s *Store) beat(ctx context.Context) error {
	pipe := s.rdb.Pipeline()
	for p := range s.cfg.Partitions {
		pipe.Set(ctx, s.beatKey(p), 1, beatTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}

// positionsOf reads the positions of some partitions.
func (s *Store) positionsOf(ctx context.Context, partitions []int) ([]position, error) {
	pipe := s.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(partitions))
	for i, p := range partitions {
		reads[i] = pipe.HMGet(ctx, s.posKey(p), positionFields...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	out := make([]position, len(reads))
	for i, read := range reads {
		out[i] = readPosition(read.Val())
	}
	return out, nil
}

// readPositions reads what the watch compares: Redis's clock, every partition's position, the oldest event noted.
func (s *Store) readPositions(ctx context.Context, l *look) error {
	pipe := s.rdb.Pipeline()
	clock, noted := pipe.Time(ctx), pipe.Get(ctx, s.oldestKey())
	reads := make([]*redis.SliceCmd, s.cfg.Partitions)
	for p := range reads {
		reads[p] = pipe.HMGet(ctx, s.posKey(p), positionFields...)
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

// evicts tells whether Redis may drop keys behind our back. Keys dropped since anybody last looked make the
// projection untrustworthy: it is then built anew.
func (s *Store) evicts(ctx context.Context) (bool, error) {
	if s.cfg.Volatile {
		return false, nil
	}
	var evicted int64
	var may bool
	err := s.eachMaster(ctx, func(ctx context.Context, rdb redis.Cmdable) error {
		info, err := rdb.Info(ctx, "memory", "stats").Result()
		if err != nil {
			return fmt.Errorf("ask redis for its memory settings: %w", err)
		}
		if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
			may = true
		}
		n, _ := strconv.ParseInt(infoField(info, "evicted_keys"), 10, 64)
		evicted += n
		return nil
	})
	if err != nil {
		return false, err
	}
	return may, s.noteEvicted(ctx, evicted)
}

// mayEvict is what scripts are told: whether they must ask if keys were dropped since the position was first stored.
func (s *Store) mayEvict() int {
	if s.cfg.Volatile {
		return 0
	}
	return 1
}

// noteEvicted compares the number of keys that Redis ever dropped with the one noted last. Any other number means that
// the projection is built anew: more keys are gone, or it is another server, which counts for itself.
func (s *Store) noteEvicted(ctx context.Context, evicted int64) error {
	noted, err := s.rdb.Get(ctx, s.evictedKey()).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the number of evicted keys: %w", err)
	}
	if evicted == noted {
		return nil
	}
	if err := s.forgetPositions(ctx); err != nil {
		return err
	}
	return s.rdb.Set(ctx, s.evictedKey(), evicted, 0).Err()
}

// eachMaster calls ask for every master, one at a time.
func (s *Store) eachMaster(ctx context.Context, ask func(context.Context, redis.Cmdable) error) error {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return ask(ctx, s.rdb)
	}
	var one sync.Mutex
	return cluster.ForEachMaster(ctx, func(ctx context.Context, rdb *redis.Client) error {
		one.Lock()
		defer one.Unlock()
		return ask(ctx, rdb)
	})
}

// forgetPositions makes every worker stop claiming and the projector build anew from nothing.
func (s *Store) forgetPositions(ctx context.Context) error {
	pipe := s.rdb.Pipeline()
	for p := range s.cfg.Partitions {
		pipe.Del(ctx, s.posKey(p), s.rebuildKey(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("forget positions: %w", err)
	}
	return nil
}

func infoField(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), name+":"); ok {
			return value
		}
	}
	return ""
}
