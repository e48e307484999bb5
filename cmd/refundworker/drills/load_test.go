package drills

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/schemas"
)

// instance is the one provider instance of the drills.
const instance schemas.ProviderName = "bbmsl-hk"

// load is what order services publish in a drill. Every refund is of a payment of its own.
type load struct {
	d  *drill
	js jetstream.JetStream

	mu       sync.Mutex
	commands []schemas.Command
}

func (d *drill) load(js jetstream.JetStream) *load { return &load{d: d, js: js} }

// next makes n new commands.
func (l *load) next(n int) []schemas.Command {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		i := len(l.commands)
		l.commands = append(l.commands, schemas.Command{RequestID: schemas.RequestID(fmt.Sprintf("ord-%d:r1", i)),
			Provider: instance, Payment: schemas.Payment{Reference: fmt.Sprint(100_000 + i)},
			RequestedAt: time.Now().UTC().Truncate(time.Second),
			Amount:      schemas.Money{Micros: 10_000_000, Currency: "HKD"}})
	}
	return l.commands[len(l.commands)-n:]
}

// all are the commands made so far.
func (l *load) all() []schemas.Command {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]schemas.Command(nil), l.commands...)
}

// publish publishes each of the commands, which are for one provider instance, copies times, in random order.
func (l *load) publish(commands []schemas.Command, copies int) {
	l.d.t.Helper()
	if len(commands) == 0 { // all of them were made before the trouble
		return
	}
	l.d.until("nats is reached", func() error {
		_, err := stateOf(l.js, schemas.StreamCommands)
		return err
	})
	bodies := make([][]byte, 0, len(commands)*copies)
	for _, c := range commands {
		body, err := c.Encode()
		if err != nil {
			l.d.t.Fatal(err)
		}
		for range copies {
			bodies = append(bodies, body)
		}
	}
	rand.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	subject := schemas.Subjects{}.Command(commands[0].Provider)
	futures := make([]jetstream.PubAckFuture, 0, len(bodies))
	for _, body := range bodies {
		future, err := l.js.PublishAsync(subject, body, jetstream.WithStallWait(patience))
		if err != nil {
			l.d.t.Fatal(err)
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			l.d.t.Fatal(err)
		}
	}
}

// trickle publishes a new command every now and then, again until it is stored, until stop is called.
func (l *load) trickle(every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			if body, err := l.next(1)[0].Encode(); err == nil {
				l.publishUntilStored(body)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); publishing.Wait() })
	l.d.t.Cleanup(stop)
	return stop
}

// publishUntilStored repeats a publish as an order service does. What was stored and not acknowledged is stored twice.
func (l *load) publishUntilStored(body []byte) {
	began := time.Now()
	for try := 0; time.Since(began) < patience; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := l.js.Publish(ctx, schemas.Subjects{}.Command(instance), body)
		cancel()
		if err == nil {
			return
		}
		if try == 0 {
			l.d.t.Logf("publish: %v", err)
		}
		<-time.After(100 * time.Millisecond)
	}
	l.d.t.Errorf("a command could not be published for %s", patience)
}

// first describes the oldest message of a stream.
func (l *load) first(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := l.js.Stream(ctx, name)
	if err != nil {
		return err.Error()
	}
	msg, err := stream.GetMsg(ctx, stream.CachedInfo().State.FirstSeq)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("on %s since %s, due %s", msg.Subject, msg.Time.Format(time.TimeOnly), msg.Header.Get(jetstream.ScheduleHeader))
}

// quiet waits until no command, no notice and no schedule is left. They are looked at in the order in which they turn into
// one another.
func (l *load) quiet() {
	l.d.t.Helper()
	l.d.until("nothing is left to do", func() error {
		for _, name := range []string{schemas.StreamCommands, schemas.StreamNotices, schemas.StreamRetries} {
			state, err := stateOf(l.js, name)
			if err != nil {
				return err
			}
			if state.Msgs > 0 {
				return fmt.Errorf("%d messages in %s, the first %s", state.Msgs, name, l.first(name))
			}
		}
		return nil
	})
}
