-- Takes the lease of one refund, or says why not.
-- KEYS  record, pos
-- ARGV  1 token  2 fingerprint  3 lease (ms)  4 floor  5 how long a record that is never journalled stays (ms)
--       6 1 when Redis may have dropped keys behind our back: absence then proves nothing unless it says that it did not
-- Returns answer, Redis time (ms), pos, attempt to use, until (ms), the record's fields, the sequence that the last owner
-- told (0: none that is ahead of pos), and the sequence up to which every intent surely did nothing. The answer BEHIND takes
-- the lease, and says that what is known of the refund is not all that was known before.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local at = redis.call('HMGET', KEYS[2], 's', 'e')
local pos = tonumber(at[1] or -1)
local behind = pos < 0 or pos < tonumber(ARGV[4])

local r = redis.call('HMGET', KEYS[1], 'f', 's', 'c', 'd', 'u', 'v', 'q', 'o', 'l', 'b', 'y', 'x', 'n', 'k')
local journalled = r[7]
if not journalled and ARGV[6] == '1' and string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') ~= at[2] then
  behind = true
end
local fingerprint, state = r[1] and string.sub(r[1], 1, #ARGV[2]), string.sub(r[2] or '', 1, 1)
local attempts, clean = tonumber(string.sub(r[2] or '', 2)) or 0, tonumber(r[3] or 0)
local due, owner, lease, pause = tonumber(r[5] or 0), r[8], tonumber(r[9] or 0), tonumber(r[10] or 0)

-- What the last owner journalled may not be applied yet. What the projection has passed speaks for itself.
local told = tonumber(r[11] or 0)
if told <= pos then told = 0 end

local function answer(name, untilms)
  local out = {name, now, pos, math.max(attempts, clean) + 1, untilms}
  for i = 1, 6 do out[5 + i] = r[i] or '' end
  out[12], out[13] = journalled or '0', r[13] or ''
  out[14], out[15] = string.format('%d', told), r[14] or '0'
  return out
end

if not behind and fingerprint and fingerprint ~= ARGV[2] then return answer('CONFLICT', 0) end
if not behind and (state == 's' or state == 'c' or state == 'f') then return answer('SETTLED', 0) end
if owner and owner ~= ARGV[1] and lease > now then return answer('BUSY', lease) end
-- This very claim has been given back: what is run here is a second, late sending of it, and nobody hears the answer.
if r[12] == ARGV[1] then return answer('BUSY', now) end
if not behind and state == 'p' then return answer('PARKED', due) end
if not behind and state == 'w' and due > now then return answer('WAIT', due) end
if attempts <= clean and pause > now then return answer('WAIT', pause) end

local name = 'FRESH'
if behind then
  name = 'BEHIND'
elseif state == 'a' then
  name = 'PENDING'
elseif attempts > clean then
  name = 'DOUBT'
elseif math.max(attempts, clean) > 0 then
  name = 'RETRY'
end
lease = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'f', r[1] or ARGV[2], 'o', ARGV[1], 'l', lease)
if not journalled then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
return answer(name, lease)
