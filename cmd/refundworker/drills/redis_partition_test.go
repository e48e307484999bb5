package drills

import (
	"testing"
)

// partitioned spreads records over four partitions.
func partitioned(settings map[string]any) { settings["redis"] = map[string]any{"partitions": 4} }

// One of four partitions is lost with all it holds, as when one master of a cluster dies without a replica.
func TestRedisPartitionLost(t *testing.T) {
	r := newOutage(t)
	r.slowBank()
	r.begin(partitioned)
	before := r.load.all()
	release := r.holdRebuild()
	r.breaks(func() {
		r.redis.do("EVAL", `for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end return 1`, 0, "{*:2}*")
	}, "projection_missing")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}

// Of one partition only the position is lost: its records are there and cannot be trusted.
func TestRedisPositionOfOnePartitionLost(t *testing.T) {
	r := newOutage(t)
	r.begin(partitioned)
	before := r.load.all()
	release := r.holdRebuild()
	r.breaks(func() { r.redis.do("DEL", "{refunds.5.4:0}:pos") }, "projection_missing")
	r.again(before)
	r.silent()
	release()
	r.over()
	r.end()
}
