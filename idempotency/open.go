package idempotency

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"

	"github.com/redis/go-redis/v9"
)

// Open is a refund that has begun and has no outcome.
type Open struct {
	Provider  schemas.ProviderName
	RequestID schemas.RequestID
	ledger.Record
	// Leased is set while a claim is at work on it.
	Leased bool
}

// openPage is how many open refunds are read at once.
const openPage = 500

// EachOpen shows every refund that has begun and has no outcome, as far as was applied, in no order. One that is begun or
// ends meanwhile may be among them or not; one that is neither is, once or more often. It answers ErrNotReady while that
// cannot be told.
func (s *Store) EachOpen(ctx context.Context, show func(Open)) error {
	for partition := range s.cfg.Partitions {
		for cursor, begun := uint64(0), true; begun || cursor != 0; begun = false {
			if reason := s.gate.Reason(); reason != Ready {
				return fmt.Errorf("list open refunds: %w: %s", ErrNotReady, reason)
			}
			found, next, err := s.rdb.ZScan(ctx, s.keys.open(partition), cursor, "", openPage).Result()
			if err != nil {
				return fmt.Errorf("list open refunds: %w", err)
			}
			members := make([]string, 0, len(found)/2)
			for i := 0; i < len(found); i += 2 { // each is followed by its score
				members = append(members, found[i])
			}
			if err := s.readOpen(ctx, members, show); err != nil {
				return err
			}
			cursor = next
		}
	}
	return nil
}

// readOpen shows those of the members that are open.
func (s *Store) readOpen(ctx context.Context, members []string, show func(Open)) error {
	if len(members) == 0 {
		return nil
	}
	fields := append(slices.Clone(recordFields), fieldLease, fieldUndone)
	pipe := s.rdb.Pipeline()
	reads := make([]*redis.SliceCmd, len(members))
	for i, member := range members {
		_, id := readMember(member)
		key, _ := s.keys.record(id)
		reads[i] = pipe.HMGet(ctx, key, fields...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read open refunds: %w", err)
	}
	now := time.Now()
	for i, member := range members {
		provider, id := readMember(member)
		record, lease := readClaimed(reads[i].Val())
		if record.Last > 0 && !record.Settled() {
			show(Open{Provider: provider, RequestID: id, Record: record, Leased: lease.After(now)})
		}
	}
	return nil
}

// readClaimed decodes the values of recordFields, fieldLease and fieldUndone: a record that counts as clean what owners
// have said, too, and the end of the lease.
func readClaimed(values []any) (ledger.Record, time.Time) {
	record := readRecord(values)
	lease, _ := values[len(recordFields)].(string)
	undone, _ := values[len(recordFields)+1].(string)
	record.Clean = max(record.Clean, readNumber(undone))
	return record, readTime(lease)
}

// openMember names an open refund among those of its partition.
func openMember(p schemas.ProviderName, id schemas.RequestID) string {
	return string(p) + " " + string(id)
}

// readMember is openMember's opposite.
func readMember(member string) (schemas.ProviderName, schemas.RequestID) {
	provider, id, _ := strings.Cut(member, " ")
	return schemas.ProviderName(provider), schemas.RequestID(id)
}
