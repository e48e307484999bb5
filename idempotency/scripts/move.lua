-- Names a position aside, or back, if it is what it was left at.
-- KEYS  from, to
-- ARGV  1 sequence it was left at  2 id it was left at
-- Returns 1, or 0 when it was moved by somebody else.
local at = redis.call('HMGET', KEYS[1], POSITION, POSITION_ID)
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
