-- Gives a lease back. Only the current owner may, and only before its deadline.
-- KEYS  record
-- ARGV  1 token  2 sequence up to which every attempt surely did nothing (0: nothing is said)
--       3 how long to pause before the next attempt (ms; duplicates that arrive meanwhile wait, too)
-- Returns 1 when the lease is given back, now or by an earlier run with the same token, else 0.
local r = redis.call('HMGET', KEYS[1], OWNER, LEASE, UNDONE, RELEASED)
if r[4] == ARGV[1] and r[1] ~= ARGV[1] then return 1 end
if r[1] ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if tonumber(r[2] or 0) <= now then return 0 end
if tonumber(ARGV[2]) > tonumber(r[3] or 0) then redis.call('HSET', KEYS[1], UNDONE, ARGV[2]) end
if tonumber(ARGV[3]) > 0 then redis.call('HSET', KEYS[1], PAUSE, now + tonumber(ARGV[3])) end
redis.call('HDEL', KEYS[1], OWNER, LEASE)
redis.call('HSET', KEYS[1], RELEASED, ARGV[1])
return 1
