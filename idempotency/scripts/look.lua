-- Reads one field of a key together with the position as of which it stands.
-- KEYS  key, pos
-- ARGV  1 field  2 floor  3 1 when Redis may have dropped keys behind our back: absence then proves nothing
-- Returns pos and the field's text ('' for none), or nothing when the projection cannot be trusted.
local at = redis.call('HMGET', KEYS[2], POSITION, EVICTED)
local pos = tonumber(at[1] or -1)
if pos < 0 or pos < tonumber(ARGV[2]) then return {} end
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text and ARGV[3] == '1' and string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') ~= at[2] then
  return {}
end
return {pos, text or ''}
