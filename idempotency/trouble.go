package idempotency

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

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
