-- Stores what a batch of events made of the records of one partition, if the position is where it was left.
-- KEYS  the partition's position, where it is kept now (the same, or apart during a rebuild), then one key a change
-- ARGV  1 sequence it was left at ('' when there must be no position)  2 id it was left at
--       3 new sequence  4 its event's id  5 when the stream was created
--       6 1 when Redis may drop keys: what was folded from a record that is gone must not be stored
--       then for each change: number of pairs, the pairs, clean, expiry (Unix ms; 0 never),
--       number of lease steps, and each step: 'L' token until, or 'E' token
-- Returns 1, or 0 when the position was moved by somebody else, or keys were dropped since it was first stored.
-- A rebuild that was held up must not go on once another one has come to its end, though its own key is gone again.
if KEYS[1] ~= KEYS[2] and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local at = redis.call('HMGET', KEYS[2], 's', 'i', 'e')
if (at[1] or '') ~= ARGV[1] or (at[2] or '') ~= ARGV[2] then return 0 end
local evicted = ARGV[6] == '1' and string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') or '0'
if at[1] and at[3] ~= evicted then return 0 end

local i = 7
local function take() i = i + 1; return ARGV[i - 1] end

for k = 3, #KEYS do
  local key, pairs_ = KEYS[k], {}
  for _ = 1, 2 * tonumber(take()) do pairs_[#pairs_ + 1] = take() end
  redis.call('HDEL', key, 'd', 'u', 'v', 'n')
  redis.call('HSET', key, unpack(pairs_))
  local clean = tonumber(take())
  if clean > tonumber(redis.call('HGET', key, 'c') or 0) then redis.call('HSET', key, 'c', clean) end
  local expiry = take()
  for _ = 1, tonumber(take()) do
    local step, token = take(), take()
    local lease = redis.call('HMGET', key, 'o', 'l', 'x')
    if step == 'L' then
      local untilms = tonumber(take())
      if lease[3] ~= token then
        redis.call('HSET', key, 'o', lease[1] or token, 'l', math.max(untilms, tonumber(lease[2] or 0)))
      end
    elseif lease[1] == token then
      redis.call('HDEL', key, 'o', 'l')
      redis.call('HSET', key, 'x', token)
    end
  end
  if expiry == '0' then
    redis.call('PERSIST', key)
  else
    redis.call('HDEL', key, 'o', 'l', 'x', 'b', 'y', 'k')
    redis.call('PEXPIREAT', key, expiry)
  end
end
redis.call('HSET', KEYS[2], 's', ARGV[3], 'i', ARGV[4], 'j', ARGV[5], 'e', evicted)
return 1
