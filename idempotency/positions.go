package idempotency

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
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

// expected is the sequence as the script compares it; empty when there must be no position.
func (p position) expected() string {
	if p.missing() {
		return ""
	}
	return strconv.FormatUint(p.Seq, 10)
}

// positions reads and moves them. It is safe for concurrent use.
type positions struct {
	rdb     redis.UniversalClient
	keys    keys
	scripts *batcher
}

// of reads the positions of some partitions.
func (p *positions) of(ctx context.Context, partitions []int) ([]position, error) {
	pipe := p.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(partitions))
	for i, partition := range partitions {
		reads[i] = pipe.HMGet(ctx, p.keys.position(partition), positionFields...)
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

// move names a position aside, or back.
func (p *positions) move(ctx context.Context, at position, from, to string) error {
	reply, err := p.scripts.do(ctx, moveScript, []string{from, to}, at.Seq, at.ID)
	if err != nil {
		return fmt.Errorf("move the position: %w", err)
	}
	if n, _ := reply.(int64); n != 1 {
		return errMoved
	}
	return nil
}

func (p *positions) at(ctx context.Context, key string) (position, error) {
	values, err := p.rdb.HMGet(ctx, key, positionFields...).Result()
	if err != nil {
		return position{}, fmt.Errorf("read position: %w", err)
	}
	return readPosition(values), nil
}

// forget makes every worker stop claiming and the projector build anew from nothing.
func (p *positions) forget(ctx context.Context) error {
	pipe := p.rdb.Pipeline()
	for partition := range p.keys.partitions {
		pipe.Del(ctx, p.keys.position(partition), p.keys.rebuild(partition))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("forget positions: %w", err)
	}
	return nil
}
