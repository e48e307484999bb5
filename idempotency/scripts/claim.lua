-- Takes the lease of one refund, or says why not.
-- KEYS  record, pos
-- ARGV  1 token  2 fingerprint  3 lease (ms)  4 floor  5 how long a record that is never journalled stays (ms)
--       6 1 when Redis may have dropped keys behind our back: absence then proves nothing unless it says that it did not
-- Returns answer, Redis time (ms), pos, until (ms), the sequence of the last event that is known, and the one up to which
-- every attempt surely did nothing, as owners have said. The answer BEHIND says that what is known of the refund is not all that was known before.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local at = redis.call('HMGET', KEYS[2], POSITION, EVICTED)
local pos = tonumber(at[1] or -1)
local behind = pos < 0 or pos < tonumber(ARGV[4])

local r = redis.call('HMGET', KEYS[1], IDENTITY, STATE, INTENT, CLEAN, LAST, OWNER, LEASE, PAUSE, RELEASED, UNDONE)
local identity, state, owner, released = r[1], string.sub(r[2] or '', 1, 1), r[6], r[9]
local intent, clean, last = tonumber(r[3] or 0), tonumber(r[4] or 0), tonumber(r[5] or 0)
local lease, pause, undone = tonumber(r[7] or 0), tonumber(r[8] or 0), tonumber(r[10] or 0)
local doubt = intent > math.max(clean, undone)
if last == 0 and ARGV[6] == '1' and string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') ~= at[2] then
  behind = true
end

-- What an owner says did nothing, it had journalled: the projection may not have come so far.
local function answer(name, untilms) return {name, now, pos, untilms, math.max(last, undone), undone} end

-- A requestId belongs to the content that was journalled first. What was only ever claimed owns nothing: it may have been rejected.
local owned = last > 0 or undone > 0
if not behind and owned and identity and string.sub(identity, 1, #ARGV[2]) ~= ARGV[2] then return answer('CONFLICT', 0) end
if not behind and SETTLED[state] then return answer('SETTLED', 0) end
if owner and owner ~= ARGV[1] and lease > now then return answer('BUSY', lease) end
-- This very claim has been given back: what is run here is a second, late sending of it, and nobody hears the answer.
if released == ARGV[1] then return answer('BUSY', now) end
if not doubt and pause > now then return answer('BUSY', pause) end

local name = 'FRESH'
if behind then
  name = 'BEHIND'
elseif state == 'p' then
  name = 'PARKED'
elseif state == 'w' then
  name = 'WAIT'
elseif state == 'a' then
  name = 'PENDING'
elseif doubt then
  name = 'DOUBT'
elseif last > 0 or undone > 0 then
  name = 'RETRY'
end
lease = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], IDENTITY, owned and identity or ARGV[2], OWNER, ARGV[1], LEASE, lease)
if last == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
return answer(name, lease)
