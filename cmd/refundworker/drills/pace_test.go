package drills

import (
	"sync/atomic"
	"time"
)

// lateness is how late the machine let this process run at worst lately, beside all that the drills have running.
var lateness struct {
	worst, before atomic.Int64 // nanoseconds, of the present period and of the one before
}

// measureLateness looks every few milliseconds how late a timer fires, for as long as the process lives.
func measureLateness() {
	const every, period = 5 * time.Millisecond, 20 * time.Second
	began := time.Now()
	for {
		due := time.Now().Add(every)
		time.Sleep(every)
		if late := int64(time.Since(due)); late > lateness.worst.Load() {
			lateness.worst.Store(late)
		}
		if time.Since(began) > period {
			began = time.Now()
			lateness.before.Store(lateness.worst.Swap(0))
		}
	}
}

// leaving is how long what had passed every check may still be on its way to the provider: a moment, and longer on a
// machine that lets processes wait.
func leaving() time.Duration {
	const moment, turns = time.Second, 10
	return moment + turns*time.Duration(max(lateness.worst.Load(), lateness.before.Load()))
}
