-- Tells whether Redis dropped keys since a position was first stored.
-- KEYS  position
-- Returns 1 when it did not, else 0.
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
if redis.call('HGET', KEYS[1], EVICTED) == evicted then return 1 end
return 0
