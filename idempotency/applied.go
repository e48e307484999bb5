package idempotency

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// appliedFirst and appliedMost space out looks at the position while somebody waits for it.
	appliedFirst = time.Millisecond
	appliedMost  = 20 * time.Millisecond
)

// waits lets any number of goroutines wait for the projection to reach a sequence, with one look at Redis for all of
// them. The process whose projector applies the events needs no look. It is safe for concurrent use.
type waits struct {
	look func(ctx context.Context, partitions []int) ([]position, error)
	gate *Gate

	mu      sync.Mutex
	reached []uint64 // by partition, as far as known
	waiting map[*waiter]bool
	looking bool
}

type waiter struct {
	partition int
	seq       uint64
	done      chan struct{}
}

func newWaits(p *positions, gate *Gate) *waits {
	return &waits{look: p.of, gate: gate, reached: make([]uint64, p.keys.partitions), waiting: map[*waiter]bool{}}
}

// until returns once a partition was seen at seq or above.
func (w *waits) until(ctx context.Context, partition int, seq uint64) error {
	own := &waiter{partition: partition, seq: seq, done: make(chan struct{})}
	if !w.join(own) {
		return nil
	}
	defer w.leave(own)
	for {
		changed := w.gate.Changed()
		if w.gate.Reason() == Stopped {
			return errStopped
		}
		select {
		case <-own.done:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errStopped ends the waits of a worker that must not go on: nothing is applied any more.
var errStopped = errors.New("the worker is stopped")

// join reports false when there is nothing to wait for.
func (w *waits) join(own *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reached[own.partition] >= own.seq {
		return false
	}
	w.waiting[own] = true
	if !w.looking {
		w.looking = true
		go w.run()
	}
	return true
}

func (w *waits) leave(own *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, own)
}

// run looks while somebody waits.
func (w *waits) run() {
	pause := appliedFirst
	for {
		time.Sleep(pause)
		awaited := w.awaited()
		if len(awaited) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
		positions, err := w.look(ctx, awaited)
		cancel()
		pause = min(2*pause, appliedMost)
		if err != nil {
			continue
		}
		ended := 0
		for i, p := range awaited {
			ended += w.note(p, positions[i])
		}
		if ended > 0 {
			pause = appliedFirst
		}
	}
}

// awaited lists the partitions that somebody waits for; with none the looks end.
func (w *waits) awaited() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var partitions []int
	for waiter := range w.waiting {
		if !slices.Contains(partitions, waiter.partition) {
			partitions = append(partitions, waiter.partition)
		}
	}
	w.looking = len(partitions) > 0
	return partitions
}

// note takes in where a partition stands and tells how many waits that ended.
func (w *waits) note(partition int, at position) (ended int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !at.missing() {
		w.reached[partition] = max(w.reached[partition], at.Seq)
	}
	for waiter := range w.waiting {
		if waiter.partition == partition && w.reached[partition] >= waiter.seq {
			close(waiter.done)
			delete(w.waiting, waiter)
			ended++
		}
	}
	return ended
}

// forget drops what is known of a partition: it turned out not to be so any more.
func (w *waits) forget(partition int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reached[partition] = 0
}
