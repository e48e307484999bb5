-- Reserves turns of a rate that all workers share, unless they would come too late.
-- KEYS  turns spent
-- ARGV  1 turns  2 length of a turn (µs)  3 turns that a rested provider takes at once  4 longest wait (µs)
-- Returns how long to wait (µs), and 1 when the turns are reserved, else 0.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local turn, burst = tonumber(ARGV[2]), ARGV[2] * ARGV[3]

-- The time up to which turns are spent. Rest is saved up for one burst, not for longer.
local spent = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now - burst) + ARGV[1] * turn
local wait = math.max(0, spent - now)
if wait > tonumber(ARGV[4]) then return {wait, 0} end

-- Gone once a whole burst is saved up, which is what no key means.
redis.call('SET', KEYS[1], spent, 'PX', math.ceil((spent + burst - now) / 1000))
return {wait, 1}
