package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// evicts tells whether Redis may drop keys behind our back. Keys dropped since anybody last looked make the
// projection untrustworthy: it is then built anew.
func (w *watch) evicts(ctx context.Context) (bool, error) {
	if w.cfg.Volatile {
		return false, nil
	}
	var evicted int64
	var may bool
	err := w.eachMaster(ctx, func(ctx context.Context, rdb redis.Cmdable) error {
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
	return may, w.noteEvicted(ctx, evicted)
}

// noteEvicted compares the number of keys that Redis ever dropped with the one noted last. Any other number means that
// the projection is built anew: more keys are gone, or it is another server, which counts for itself.
func (w *watch) noteEvicted(ctx context.Context, evicted int64) error {
	noted, err := w.rdb.Get(ctx, w.keys.evicted()).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the number of evicted keys: %w", err)
	}
	if evicted == noted {
		return nil
	}
	if err := w.positions.forget(ctx); err != nil {
		return err
	}
	return w.rdb.Set(ctx, w.keys.evicted(), evicted, 0).Err()
}

// eachMaster calls ask for every master, one at a time.
func (w *watch) eachMaster(ctx context.Context, ask func(context.Context, redis.Cmdable) error) error {
	cluster, ok := w.rdb.(*redis.ClusterClient)
	if !ok {
		return ask(ctx, w.rdb)
	}
	var one sync.Mutex
	return cluster.ForEachMaster(ctx, func(ctx context.Context, rdb *redis.Client) error {
		one.Lock()
		defer one.Unlock()
		return ask(ctx, rdb)
	})
}

func infoField(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), name+":"); ok {
			return value
		}
	}
	return ""
}
