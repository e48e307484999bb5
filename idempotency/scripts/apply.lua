-- Stores what a batch of events made of the keys of one partition, if the position is where it was left.
-- KEYS  the partition's position, where it is kept now (the same, or apart during a rebuild), the partition's open refunds,
--       then one key a change
-- ARGV  1 sequence it was left at ('' when there must be no position)  2 id it was left at
--       3 new sequence  4 its event's id  5 when the stream was created
--       6 1 when Redis may drop keys: what was folded from a record that is gone must not be stored
--       then for each change: number of pairs, the pairs, expiry (Unix ms; 0 never), and for a refund its member among the
--       open ones ('' for anything else) and since when it is open ('' once it is settled)
-- Returns 1, or 0 when the position was moved by somebody else, or keys were dropped since it was first stored.
-- A rebuild that was held up must not go on once another one has come to its end, though its own key is gone again.
if KEYS[1] ~= KEYS[2] and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local at = redis.call('HMGET', KEYS[2], POSITION, POSITION_ID, EVICTED)
if (at[1] or '') ~= ARGV[1] or (at[2] or '') ~= ARGV[2] then return 0 end
local evicted = ARGV[6] == '1' and string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') or '0'
if at[1] and at[3] ~= evicted then return 0 end

local i = 7
local function take() i = i + 1; return ARGV[i - 1] end

local function index(key, member, begun)
  if begun ~= '' then
    redis.call('ZADD', KEYS[3], begun, member)
  else
    redis.call('ZREM', KEYS[3], member)
    redis.call('HDEL', key, unpack(CLAIMED))
  end
end

for k = 4, #KEYS do
  local key, fields = KEYS[k], {}
  for _ = 1, 2 * tonumber(take()) do fields[#fields + 1] = take() end
  local expiry, member, begun = take(), take(), take()
  if member ~= '' then redis.call('HDEL', key, unpack(FOLDED)) end
  redis.call('HSET', key, unpack(fields))
  if member ~= '' then index(key, member, begun) end
  if expiry == '0' then redis.call('PERSIST', key) else redis.call('PEXPIREAT', key, expiry) end
end
redis.call('HSET', KEYS[2], POSITION, ARGV[3], POSITION_ID, ARGV[4], STREAM, ARGV[5], EVICTED, evicted)
return 1
