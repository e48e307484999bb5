package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// moody is a provider that has a say before its script does. It notes when it was called.
type moody struct {
	providers.Provider
	// mood is what every call meets first; nil is nothing.
	mood  atomic.Pointer[func(context.Context) error]
	mu    sync.Mutex
	times []time.Time
}

func (m *moody) meets(err error) {
	if err == nil {
		m.mood.Store(nil)
		return
	}
	answer := func(context.Context) error { return err }
	m.mood.Store(&answer)
}

// takes has every call take so long, which may be longer than its caller waits.
func (m *moody) takes(d time.Duration) {
	answer := func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return errLost
		}
	}
	m.mood.Store(&answer)
}

func (m *moody) said(ctx context.Context) error {
	m.mu.Lock()
	m.times = append(m.times, time.Now())
	m.mu.Unlock()
	if answer := m.mood.Load(); answer != nil {
		return (*answer)(ctx)
	}
	return nil
}

// called are the times of all calls so far.
func (m *moody) called() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]time.Time(nil), m.times...)
}

func (m *moody) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	if err := m.said(ctx); err != nil {
		return providers.Result{}, err
	}
	return m.Provider.Refund(ctx, r)
}

func (m *moody) Lookup(ctx context.Context, r providers.Request) (providers.Finding, error) {
	if err := m.said(ctx); err != nil {
		return providers.Finding{}, err
	}
	return m.Provider.Lookup(ctx, r)
}

var (
	errRefusing = &providers.Error{Kind: providers.Unavailable, Op: "refund", Err: errors.New("connection refused")}
	errLost     = &providers.Error{Op: "refund", Err: errors.New("no answer")}
	errTooMany  = &providers.Error{Kind: providers.RateLimited, Op: "refund", Err: errors.New("too many requests"),
		RetryAfter: 86400 * time.Second}
)

// inMoods runs a test with a moody provider, in fake time.
func inMoods(t *testing.T, test func(f *fixture, m *moody), tune ...func(*consumer.Config)) {
	m := &moody{}
	wrap := func(c *consumer.Config) {
		m.Provider = c.Instances[0].Provider
		c.Instances[0].Provider = m
	}
	inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) { test(f, m) }, append(tune, wrap)...)
}

// delivered is how many deliveries a provider's consumers of commands and retries have had.
func (f *fixture) delivered(name schemas.ProviderName) (n uint64) {
	f.t.Helper()
	for stream, subject := range map[string]string{schemas.StreamCommands: f.subjects.Command(name),
		schemas.StreamRetries: f.subjects.Retry(name)} {
		s, err := f.js.Stream(context.Background(), stream)
		if err != nil {
			f.t.Fatal(err)
		}
		list := s.ListConsumers(context.Background())
		for info := range list.Info() {
			if info.Config.FilterSubject == subject {
				n += info.Delivered.Consumer
			}
		}
		if err := list.Err(); err != nil {
			f.t.Fatal(err)
		}
	}
	return n
}

// held waits until a provider is in a state.
func (f *fixture) held(r *running, name schemas.ProviderName, want string) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%s is %s", name, want), func() error {
		if got := r.worker.Providers()[name]; got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// unharmed checks that every one of the refunds moved money once, and that none of them failed or waits for a person.
func (f *fixture) unharmed(n int) {
	f.t.Helper()
	kinds := map[schemas.Kind]int{}
	for _, e := range f.events() {
		kinds[e.Kind]++
	}
	if kinds[schemas.KindSucceeded] != n || kinds[schemas.KindFailed]+kinds[schemas.KindParked]+kinds[schemas.KindRejected] > 0 {
		f.t.Errorf("events %v, want %d times succeeded, none failed, parked or rejected", kinds, n)
	}
	if got := len(f.provider.Movements()); got != n {
		f.t.Errorf("%d movements of money, want %d", got, n)
	}
	if got := f.messages(schemas.StreamDead); got != 0 {
		f.t.Errorf("%d dead letters, want none", got)
	}
}

// A provider goes away. Once its breaker is open nothing is delivered; what was in hand waits in schedules, without more
// attempts. Probes tell that it is back, and everything runs within seconds.
func TestOpenBreakerSpendsNoDelivery(t *testing.T) {
	t.Parallel()
	for name, mood := range map[string]error{"refuses": errRefusing, "does not answer": errLost} {
		t.Run(name, func(t *testing.T) {
			inMoods(t, func(f *fixture, m *moody) {
				r := f.start()
				m.meets(mood)
				for i := range 40 {
					f.publish(command(fmt.Sprint("early", i), ""))
				}
				f.held(r, provider, "open")
				time.Sleep(5 * time.Second) // what was pulled just before has come to its end
				delivered, calls := f.delivered(provider), len(m.called())
				for i := range 40 {
					f.publish(command(fmt.Sprint("late", i), ""))
				}
				time.Sleep(4 * time.Minute)
				if got := f.delivered(provider); got != delivered {
					t.Errorf("%d deliveries while the breaker is open, want none", got-delivered)
				}
				if got := len(m.called()); got != calls {
					t.Errorf("%d calls while the breaker is open, want none", got-calls)
				}
				if got := r.worker.Providers()[provider]; got != "open" {
					t.Errorf("the provider is %s, want open", got)
				}
				m.meets(nil)
				time.Sleep(time.Minute)
				f.quiet()
				f.unharmed(80)
				for i := range 40 {
					if got := f.kindsOf(fmt.Sprint("late", i)); len(got) != 2 {
						t.Errorf("events %v, want one attempt", got)
					}
				}
			}, func(c *consumer.Config) { c.Instances[0].Breaker.Open = 5 * time.Minute })
		})
	}
}

// Every slot is taken by a call that hangs when the breaker opens. A slot that gets free then pulls nothing.
func TestSlotsThatGetFreeLatePullNothing(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		r := f.start()
		m.takes(time.Minute)
		for i := range 20 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		f.held(r, provider, "open")
		time.Sleep(time.Minute)
		if got := f.delivered(provider); got != 3 {
			t.Errorf("%d deliveries, want the 3 that opened the breaker", got)
		}
	}, func(c *consumer.Config) {
		c.Instances[0].Concurrency = 4 // of which retries keep one
		c.Instances[0].Breaker.Consecutive, c.Instances[0].Breaker.Open = 3, 10*time.Minute
	})
}

// While a provider stays away, each opening ends in few probes: none of them is a flood.
func TestHalfOpenPullsFew(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		r := f.start()
		m.meets(errLost)
		for i := range 300 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		f.held(r, provider, "open")
		time.Sleep(15 * time.Second)
		delivered := f.delivered(provider)
		const openings = 10
		time.Sleep(openings * time.Minute)
		// Each of the two lanes pulls at most the probes.
		if got, most := f.delivered(provider)-delivered, uint64(openings*2*3); got == 0 || got > most {
			t.Errorf("%d deliveries in %d openings, want 1 to %d", got, openings, most)
		}
		m.meets(nil)
		time.Sleep(5 * time.Minute)
		f.quiet()
		f.unharmed(300)
	}, func(c *consumer.Config) { c.Instances[0].Breaker.Open = time.Minute })
}

// A provider wants no call for a day. It gets one probe a minute, the bound of what it may ask; the others wait without
// deliveries, and the refund that was told so waits no longer than that either.
func TestRateLimitedRests(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		r := f.start()
		m.meets(errTooMany)
		f.publish(command("first", ""))
		f.held(r, provider, "resting")
		time.Sleep(2 * time.Second)
		delivered := f.delivered(provider)
		for i := range 50 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(55 * time.Second)
		if got := f.delivered(provider); got != delivered {
			t.Errorf("%d deliveries while it rests, want none", got-delivered)
		}
		time.Sleep(3 * time.Minute)
		called := m.called()
		if len(called) < 3 || len(called) > 5 {
			t.Errorf("%d calls in four minutes, want one a minute", len(called))
		}
		for i := range len(called) - 1 {
			if apart := called[i+1].Sub(called[i]); apart < time.Minute {
				t.Errorf("a call %s after the one before, want a minute", apart)
			}
		}
		m.meets(nil)
		back := time.Now()
		time.Sleep(2*time.Minute + 10*time.Second)
		f.quiet()
		f.unharmed(51)
		for _, e := range f.events() {
			if e.Kind == schemas.KindSucceeded && e.OccurredAt.Sub(back) > 2*time.Minute+5*time.Second {
				t.Errorf("%s succeeded %s after the provider was back", e.RequestID, e.OccurredAt.Sub(back))
			}
		}
	}, func(c *consumer.Config) { c.Instances[0].RetryAfterMax = time.Minute })
}

// Without a wish of the provider's the rest is short at first.
func TestRateLimitedWithoutAWish(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		f.start()
		m.meets(&providers.Error{Kind: providers.RateLimited, Op: "refund", Err: errors.New("too many requests")})
		for i := range 50 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(3 * time.Minute)
		// One moment's calls, and a probe after 1, 2, 4, 8, 16 and 32 s, then each 60 s.
		if got := len(m.called()); got > 16+9 {
			t.Errorf("%d calls in three minutes, want those of one moment and the probes", got)
		}
		m.meets(nil)
		time.Sleep(3 * time.Minute)
		f.quiet()
		f.unharmed(50)
	})
}

// A call is repeated at once because nothing was executed. The repetitions take their turns at the provider's rate.
func TestQuickRetriesKeepTheRate(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		f.start()
		m.meets(errRefusing)
		for i := range 20 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		const watched = 20
		time.Sleep(watched * time.Second)
		// Two may come at once, then two a second.
		if got, most := len(m.called()), 2+2*watched; got > most {
			t.Errorf("%d calls in %d s, want at most %d", got, watched, most)
		}
		m.meets(nil)
		time.Sleep(5 * time.Minute)
		f.quiet()
		f.unharmed(20)
	}, func(c *consumer.Config) {
		c.Instances[0].PerSecond, c.Instances[0].Timeout = 2, 10*time.Second
		c.Instances[0].Breaker.Off = true
	})
}

// More refunds want their turn than the rate lets through soon. A repetition does not wait for a late one: it would begin
// when there is no time left for its answer.
func TestQuickRetriesWaitForNoLateTurn(t *testing.T) {
	t.Parallel()
	inMoods(t, func(f *fixture, m *moody) {
		f.start()
		m.meets(errRefusing)
		for i := range 20 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		time.Sleep(30*time.Second + 500*time.Millisecond)
		intents := 0
		for _, e := range f.events() {
			if e.Kind == schemas.KindDispatched {
				intents++
			}
		}
		if got := len(m.called()); got != intents || got < 20 {
			t.Errorf("%d calls for %d attempts, want one each and at least 20", got, intents)
		}
	}, func(c *consumer.Config) {
		c.Instances[0].PerSecond, c.Instances[0].Timeout = 1, 15*time.Second
		c.LeaseMargin = time.Minute // so that turns are waited for, and taken far ahead
		c.Instances[0].Breaker.Off = true
	})
}

// An adapter that panics has given no answer.
func TestPanicsOpenTheBreaker(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"panic"}}, func(f *fixture) {
		r := f.start()
		for i := range 30 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		f.held(r, provider, "open")
	}, func(c *consumer.Config) { c.Instances[0].Breaker.Open = 10 * time.Minute })
}

// Declines are answers: however many there are, the provider is well.
func TestDeclinesOpenNothing(t *testing.T) {
	t.Parallel()
	inFakeTime(t, scripted.Config{Outcomes: []string{"declined:declined"}}, func(f *fixture) {
		r := f.start()
		for i := range 100 {
			f.publish(command(fmt.Sprint("r", i), ""))
		}
		f.quiet()
		if got := r.worker.Providers()[provider]; got != "closed" {
			t.Errorf("the provider is %s, want closed", got)
		}
	})
}
