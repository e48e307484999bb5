package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// neighbours are three providers that are not well, each in its own way, beside the healthy one.
type neighbours struct {
	slow, refusing, limited *moody
}

func (n *neighbours) all() map[schemas.ProviderName]*moody {
	return map[schemas.ProviderName]*moody{"slow": n.slow, "refusing": n.refusing, "limited": n.limited}
}

// fallIll has one answer after three times its timeout, one refuse connections and one want no call for a day.
func (n *neighbours) fallIll() {
	n.slow.takes(3 * time.Second)
	n.refusing.meets(errRefusing)
	n.limited.meets(errTooMany)
}

func (n *neighbours) recover() {
	for _, m := range n.all() {
		m.meets(nil)
	}
}

// leftAlone is how long sick providers are left alone in these tests at a time.
const leftAlone = 10 * time.Minute

// move adds the neighbours to a worker's instances.
func (n *neighbours) move(t testing.TB) func(*consumer.Config) {
	return func(c *consumer.Config) {
		for name, m := range map[schemas.ProviderName]**moody{"slow": &n.slow, "refusing": &n.refusing, "limited": &n.limited} {
			well, err := scripted.New(scripted.Config{})
			if err != nil {
				t.Fatal(err)
			}
			*m = &moody{Provider: well}
			in := c.Instances[0]
			in.Name, in.Provider, in.RetryAfterMax, in.Breaker.Open = name, *m, leftAlone, leftAlone
			c.Instances = append(c.Instances, in)
		}
	}
}

// burst publishes commands of one provider.
func (f *fixture) burst(name schemas.ProviderName, id string, n int) {
	f.t.Helper()
	for i := range n {
		c := command(fmt.Sprint(name, "-", id, i), "")
		c.Provider = name
		body, err := c.Encode()
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := f.js.Publish(context.Background(), f.subjects.Command(name), body); err != nil {
			f.t.Fatal(err)
		}
	}
}

// took is how long each refund of a provider took from the publish of the first command, in order.
func (f *fixture) took(name schemas.ProviderName, since time.Time) []time.Duration {
	var took []time.Duration
	for _, e := range f.events() {
		if e.Provider == name && e.Kind == schemas.KindSucceeded && !e.OccurredAt.Before(since) {
			took = append(took, e.OccurredAt.Sub(since))
		}
	}
	slices.Sort(took)
	return took
}

const healthyCommands = 300

// healthyBurst is how long the healthy provider's refunds take, with what happens at the same moment.
func healthyBurst(t *testing.T, beside func(*fixture), tune ...func(*consumer.Config)) (took []time.Duration) {
	inFakeTime(t, scripted.Config{Latency: 50 * time.Millisecond}, func(f *fixture) {
		f.start()
		beside(f)
		start := time.Now()
		f.burst(provider, "h", healthyCommands)
		time.Sleep(30 * time.Second)
		took = f.took(provider, start)
	}, tune...)
	if len(took) != healthyCommands {
		t.Fatalf("%d refunds succeeded, want %d", len(took), healthyCommands)
	}
	return took
}

// Three providers fall ill while their commands come in. The healthy one's refunds take as long as if it were alone: they
// wait for nothing that the others hold.
func TestSickProvidersHoldNothingOfTheHealthyOne(t *testing.T) {
	t.Parallel()
	alone := healthyBurst(t, func(*fixture) {})
	var n neighbours
	beside := healthyBurst(t, func(f *fixture) {
		n.fallIll()
		for name := range n.all() {
			f.burst(name, "s", 100)
		}
	}, n.move(t))
	for what, at := range map[string]int{"median": healthyCommands / 2, "p99": healthyCommands * 99 / 100, "last": healthyCommands - 1} {
		if got, most := beside[at], alone[at]*12/10; got > most {
			t.Errorf("%s beside sick providers %s, want at most %s; alone it is %s", what, got, most, alone[at])
		}
	}
}

// Sick providers' commands stay where they are, undelivered, while nothing is asked of them. When the providers are back and
// their time is over, all run within seconds; none failed and none waits for a person.
func TestCommandsOfSickProvidersWaitUnharmed(t *testing.T) {
	t.Parallel()
	const early, late = 40, 60
	var n neighbours
	inFakeTime(t, scripted.Config{}, func(f *fixture) {
		r := f.start()
		n.fallIll()
		for name := range n.all() {
			f.burst(name, "early", early)
		}
		f.held(r, "slow", "open")
		f.held(r, "refusing", "open")
		f.held(r, "limited", "resting")
		time.Sleep(15 * time.Second) // what was in hand has come to its end
		before, calls := map[schemas.ProviderName]uint64{}, map[schemas.ProviderName]int{}
		for name, m := range n.all() {
			before[name], calls[name] = f.delivered(name), len(m.called())
			f.burst(name, "late", late)
		}
		f.burst(provider, "h", late)
		time.Sleep(8 * time.Minute)
		for name, m := range n.all() {
			if got := f.delivered(name) - before[name]; got != 0 {
				t.Errorf("%d deliveries spent on %s, want none", got, name)
			}
			if got := len(m.called()) - calls[name]; got != 0 {
				t.Errorf("%d calls of %s, want none", got, name)
			}
		}
		if got := r.worker.Providers()[provider]; got != "closed" || len(f.took(provider, time.Time{})) != late {
			t.Errorf("the healthy provider is %s with %d refunds made, want closed with %d", got, len(f.took(provider, time.Time{})), late)
		}
		n.recover()
		time.Sleep(leftAlone - 8*time.Minute) // the last of them may be asked again 15 s before this is over
		if err := f.left(0, 0); err != nil {
			t.Errorf("when the time to be left alone is over: %v", err)
		}
		outcomes := map[schemas.Kind]int{}
		for _, e := range f.events() {
			if e.Kind.Outcome() || e.Kind == schemas.KindParked || e.Kind == schemas.KindRejected {
				outcomes[e.Kind]++
			}
		}
		if want := 3*(early+late) + late; len(outcomes) != 1 || outcomes[schemas.KindSucceeded] != want {
			t.Errorf("outcomes %v, want %d times succeeded", outcomes, want)
		}
		for name, m := range n.all() {
			if got := len(m.Provider.(*scripted.Provider).Movements()); got != early+late {
				t.Errorf("%d movements of money at %s, want %d", got, name, early+late)
			}
			if got := r.worker.Providers()[name]; got != "closed" {
				t.Errorf("%s is %s, want closed", name, got)
			}
		}
	}, n.move(t))
}
