package explore

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"
)

// found is what a search came to.
type found struct {
	err                 error
	schedule            []choice
	states, steps, runs int
	complete            bool
	took                time.Duration
}

var seed = maphash.MakeSeed()

const wide = 48

// exhaust visits every state once, depth first, until time is up.
func exhaust(sc *scenario, limit time.Duration) (f found) {
	began := time.Now()
	seen := map[uint64]struct{}{}
	var buf []byte
	var path []choice
	stop := false
	var visit func(w *world)
	visit = func(w *world) {
		buf = w.encode(buf[:0])
		h := maphash.Bytes(seed, buf)
		if _, ok := seen[h]; ok {
			return
		}
		seen[h] = struct{}{}
		if f.states++; f.states%1024 == 0 && time.Since(began) > limit {
			stop = true
		}
		var space [wide]choice
		for _, c := range w.choices(space[:0]) {
			if stop {
				return
			}
			next := *w
			next.take(c)
			f.steps++
			path = append(path, c)
			if err := next.check(); err != nil {
				f.err, f.schedule, stop = err, slices.Clone(path), true
				return
			}
			visit(&next)
			path = path[:len(path)-1]
		}
		if w.idle() {
			if err := w.settles(nil); err != nil {
				f.err, f.schedule, stop = err, slices.Clone(path), true
			}
		}
	}
	w := newWorld(sc)
	visit(&w)
	f.complete, f.took, f.runs = !stop, time.Since(began), sc.tree.runs
	return f
}

// walk takes random schedules until one fails, so many steps are taken, or time is up.
func walk(sc *scenario, from uint64, steps int, limit time.Duration) (f found) {
	began := time.Now()
	newWorld(sc)
	sc.tree.once = true
	defer func() { sc.tree.once = false }()
	for n := uint64(0); f.steps < steps && (n%64 != 0 || time.Since(began) < limit); n++ {
		if n%1024 == 0 { // no run of an earlier schedule is left to know them
			sc.chains = newChains()
		}
		rng := rand.New(rand.NewPCG(from, n))
		w := newWorld(sc)
		var path []choice
		for range 300 {
			var space [wide]choice
			choices := w.choices(space[:0])
			if len(choices) == 0 {
				break
			}
			c := pick(rng, choices)
			w.take(c)
			f.steps++
			path = append(path, c)
			if f.err = w.check(); f.err != nil {
				break
			}
		}
		if f.err == nil && w.idle() {
			f.err = w.settles(nil)
		}
		for i := range w.workers {
			w.workers[i].end()
		}
		if f.err != nil {
			f.schedule = path
			break
		}
	}
	f.complete, f.took, f.runs = f.err == nil && f.steps >= steps, time.Since(began), sc.tree.runs
	return f
}

// pick prefers the calm: a fault is a quarter as likely as a step.
func pick(rng *rand.Rand, choices []choice) choice {
	total := 0
	for _, c := range choices {
		total += c.weight()
	}
	n := rng.IntN(total)
	for _, c := range choices {
		if n -= c.weight(); n < 0 {
			return c
		}
	}
	panic("weights")
}

func (c choice) weight() int {
	switch {
	case c.kind == cStep && (c.variant == done || c.variant == knowsEnd):
		return 4
	case c.kind == cStart, c.kind == cTick:
		return 2
	}
	return 1
}

func (w *world) idle() bool {
	for i := range w.workers {
		if w.workers[i].node != nil {
			return false
		}
	}
	return true
}

// settles lets everything go well from a copy of here on: each refund must come to an outcome, to a person, or to
// waiting for a result that its provider owes. What happens is shown to see, if that is not nil.
func (w *world) settles(see func(c choice, before, after *world)) error {
	q := *w
	for range 5000 {
		q.left = budget{starts: 1, ticks: 1}
		if q.idle() && q.atRest() {
			return nil
		}
		var space [wide]choice
		choices := q.choices(space[:0])
		best := -1
		for i, c := range choices {
			switch {
			case c.kind == cStep && c.variant >= effectFrom && len(q.sc.calm()) > 0 && !slices.Contains(q.sc.calm(), effect(c.variant-effectFrom)):
			case c.kind == cTick && !q.idle(), c.kind == cLand:
			default:
				if best < 0 || c.kind == cStep && choices[best].kind != cStep {
					best = i
				}
			}
		}
		if best < 0 {
			return forgotten{}
		}
		before := q
		q.take(choices[best])
		if see != nil {
			see(choices[best], &before, &q)
		}
		if err := q.check(); err != nil {
			return err
		}
	}
	return forgotten{}
}

// calm are the effects of a provider that is well.
func (sc *scenario) calm() []effect {
	return slices.DeleteFunc(slices.Clone(sc.effects), func(e effect) bool {
		return e != pays && e != takesOn && e != declines || e == declines && slices.Contains(sc.effects, pays)
	})
}

func (w *world) atRest() bool {
	for r := range w.sc.refunds {
		s := &w.refunds[r]
		pending := s.n > 0 && s.log[s.n-1].named() == "acknowledged" && !w.sc.rules.Capabilities.Lookup
		if s.outcome().kind == 0 && !s.parked() && !pending {
			return false
		}
		if s.other && !s.rejected[1-s.owner()] {
			return false
		}
	}
	return true
}

type forgotten struct{}

func (forgotten) Error() string { return "a refund is forgotten: it never comes to an end" }

// replay takes a schedule; choices that cannot be taken where they stand are left out, and with a run's beginning all its
// steps. It returns what was taken.
func replay(sc *scenario, schedule []choice) (taken []choice, err error) {
	w := newWorld(sc)
	as := [maxWorkers]int8{-1, -1, -1} // the worker that stands in for each
	for _, c := range schedule {
		begins, was := c.kind == cStart || c.kind == cNotice || c.kind == cRuling, c.worker
		switch {
		case begins:
			c.worker, as[was] = w.free(), -1
		case c.kind == cStep, c.kind == cCrash:
			c.worker = as[was]
		}
		var space [wide]choice
		if !slices.Contains(w.choices(space[:0]), c) {
			continue
		}
		if begins {
			if i := slices.Index(as[:], c.worker); i >= 0 {
				as[i] = -1
			}
			as[was] = c.worker
		}
		w.take(c)
		taken = append(taken, c)
		if err := w.check(); err != nil {
			return taken, err
		}
	}
	if w.idle() {
		return taken, w.settles(nil)
	}
	return taken, nil
}

// shrink leaves out choices, from big chunks to single ones, while the schedule still fails.
func shrink(sc *scenario, schedule []choice) []choice {
	best, err := replay(sc, schedule)
	if err == nil {
		return schedule
	}
	for again := true; again; {
		again = false
		for size := max(len(best)/2, 1); size > 0; size /= 2 {
			for i := 0; i+size <= len(best); {
				cut := append(slices.Clone(best[:i]), best[i+size:]...)
				if t, err := replay(sc, cut); err != nil && len(t) < len(best) {
					best, again = t, true
				} else {
					i++
				}
			}
		}
	}
	return best
}
