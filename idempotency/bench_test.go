package idempotency

import (
	"context"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/idempotency/servertest"
	"refundworker/schemas"
)

// benchRounds is how often a figure is taken; its median is reported.
const benchRounds = 5

// onEachRedisOf runs a benchmark on a real redis-server, where there is one, and on the embedded one.
func onEachRedisOf(b *testing.B, bench func(b *testing.B, addr string)) {
	if _, err := exec.LookPath("redis-server"); err == nil {
		b.Run("redis-server", func(b *testing.B) { bench(b, servertest.Redis(b)) })
	} else {
		b.Log("no redis-server on PATH: only the embedded one is measured")
	}
	b.Run("embedded", func(b *testing.B) {
		mini := miniredis.NewMiniRedis()
		if err := mini.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(mini.Close)
		bench(b, mini.Addr())
	})
}

// benchClient is a client as the program makes it.
func benchClient(b *testing.B, addr string) redis.UniversalClient {
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true})
	b.Cleanup(func() { rdb.Close() })
	return rdb
}

// benchStore is a store with its watch and projector at work, ready for claims until it is stopped.
func benchStore(b *testing.B, rdb redis.UniversalClient, journal Journal) (store *Store, stop func()) {
	// The embedded Redis has no memory settings to ask for.
	store, err := New(rdb, Config{Volatile: rdb.Info(b.Context(), "memory").Err() != nil})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = store.Watch(ctx, journal) })
	running.Go(func() { _ = store.NewProjector(journal, slog.New(slog.DiscardHandler)).Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait(); store.Close() })
	b.Cleanup(stop)
	awaitGate(b, store, true)
	return store, stop
}

// awaitGate waits until the gate is open, or until it is not.
func awaitGate(b *testing.B, store *Store, open bool) {
	b.Helper()
	limit := time.After(patience)
	for {
		changed := store.Gate().Changed()
		if (store.Gate().Reason() == Ready) == open {
			return
		}
		select {
		case <-changed:
		case <-limit:
			b.Fatalf("the gate is %q after two minutes", store.Gate().Reason())
		}
	}
}

// journalOf holds two events of each refund: dispatched, then succeeded.
func journalOf(events int) *memoryJournal {
	journal := newMemoryJournal()
	for i := range events / 2 {
		journal.add(realistic(i, schemas.KindDispatched))
		journal.add(realistic(i, schemas.KindSucceeded))
	}
	return journal
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}

// perSecond reports the median rate of rounds in which n things were done.
func perSecond(b *testing.B, n int, rounds []time.Duration, unit string) {
	b.ReportMetric(float64(n)/median(rounds).Seconds(), unit)
	b.ReportMetric(0, "ns/op") // one round is no figure
}

// How fast an empty Redis is filled from the journal until claims are answered.
func BenchmarkRebuild(b *testing.B) {
	const events = 100_000
	plain := journalOf(events)
	for _, feed := range []struct {
		name    string
		journal Journal
	}{{"stored", plain}, {"decoded", encoded(b, plain)}} {
		b.Run(feed.name, func(b *testing.B) {
			onEachRedisOf(b, func(b *testing.B, addr string) {
				for b.Loop() {
					var rounds []time.Duration
					for range benchRounds {
						rounds = append(rounds, timeRebuild(b, addr, feed.journal))
					}
					perSecond(b, events, rounds, "events/s")
				}
			})
		})
	}
}

func timeRebuild(b *testing.B, addr string, journal Journal) time.Duration {
	rdb := benchClient(b, addr)
	if err := rdb.FlushAll(b.Context()).Err(); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	_, stop := benchStore(b, rdb, journal)
	took := time.Since(start)
	stop()
	return took
}

// wireJournal keeps the bodies of events, as a stream does, and decodes what is read from it.
type wireJournal struct {
	*memoryJournal
	bodies [][]byte
}

func encoded(b *testing.B, plain *memoryJournal) *wireJournal {
	j := &wireJournal{memoryJournal: plain, bodies: make([][]byte, len(plain.entries))}
	for i, e := range plain.entries {
		body, err := e.Event.Encode()
		if err != nil {
			b.Fatal(err)
		}
		j.bodies[i] = body
	}
	return j
}

func (j *wireJournal) Read(ctx context.Context, from uint64) (Reader, error) {
	inner, err := j.memoryJournal.Read(ctx, from)
	return &wireReader{Reader: inner, bodies: j.bodies}, err
}

type wireReader struct {
	Reader
	bodies [][]byte
}

func (r *wireReader) Next(ctx context.Context, limit int, wait time.Duration) ([]ledger.Entry, error) {
	stored, err := r.Reader.Next(ctx, limit, wait)
	out := slices.Clone(stored)
	for i := range out {
		if out[i].Event, err = schemas.DecodeEvent(r.bodies[out[i].Seq-1]); err != nil {
			return nil, err
		}
	}
	return out, err
}

// How long claims pause after Redis lost everything, with workers and projector running.
func BenchmarkFlushToReady(b *testing.B) {
	for _, size := range []struct {
		name   string
		events int
	}{{"10000", 10_000}, {"100000", 100_000}} {
		journal := journalOf(size.events)
		b.Run(size.name, func(b *testing.B) {
			onEachRedisOf(b, func(b *testing.B, addr string) {
				rdb := benchClient(b, addr)
				store, _ := benchStore(b, rdb, journal)
				for b.Loop() {
					var rounds []time.Duration
					for range benchRounds {
						start := time.Now()
						if err := rdb.FlushAll(b.Context()).Err(); err != nil {
							b.Fatal(err)
						}
						awaitGate(b, store, false)
						awaitGate(b, store, true)
						rounds = append(rounds, time.Since(start))
					}
					b.ReportMetric(median(rounds).Seconds(), "s/loss")
					b.ReportMetric(0, "ns/op")
				}
			})
		})
	}
}
