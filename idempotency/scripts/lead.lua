-- Takes or renews the lease of the one projector.
-- KEYS  lease
-- ARGV  1 token  2 length (ms; 0 gives it back)
-- Returns 1 when this token holds the lease (or gave it back), else 0.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
