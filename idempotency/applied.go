package idempotency

import (
	"context"
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
	look func(ctx context.Context) ([]position, error)
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

func newWaits(partitions int, gate *Gate, look func(ctx context.Context) ([]position, error)) *waits {
	return &waits{look: look, gate: gate, reached: make([]uint64, partitions), waiting: map[*waiter]bool{}}
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
		if w.nobody() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
		positions, err := w.look(ctx)
		cancel()
		if pause = min(2*pause, appliedMost); err == nil && w.note(positions) > 0 {
			pause = appliedFirst
		}
	}
}

func (w *waits) nobody() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looking = len(w.waiting) > 0
	return !w.looking
}

// note takes in where the partitions stand and tells how many waits that ended.
func (w *waits) note(positions []position) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, at := range positions {
		if !at.missing() {
			w.reached[p] = max(w.reached[p], at.Seq)
		}
	}
	ended := 0
	for waiter := range w.waiting {
		if w.reached[waiter.partition] >= waiter.seq {
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
