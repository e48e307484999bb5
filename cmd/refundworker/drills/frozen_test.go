package drills

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// twoWorkers is one worker, frozen at some point of its first refund, and another one that takes over.
type twoWorkers struct {
	*drill
	nats   *natsServers
	redis  *redisProcess
	load   *load
	config string
	first  *workerProcess
	// line is the first worker's connection to NATS.
	line *link
}

func newTwoWorkers(t *testing.T) *twoWorkers {
	t.Helper()
	d := newDrill(t)
	s := &twoWorkers{drill: d, nats: d.nats(), redis: d.redis(), config: d.config(nil)}
	s.line = d.link(s.nats.addr())
	s.first = d.worker("--config", s.config, "--nats-url", "nats://"+s.line.addr, "--redis-url", s.redis.url())
	s.load = d.load(d.client(s.nats.url()))
	return s
}

// takeOver starts another worker, which gets the refund by a duplicate of the command and resolves it once the first
// one's lease has ended. Then the first one goes on.
func (s *twoWorkers) takeOver(c []schemas.Command, frozen <-chan struct{}) audit {
	s.t.Helper()
	select {
	case <-frozen:
	case <-time.After(patience):
		s.t.Fatal("the first worker never got to where it is frozen")
	}
	s.worker("--config", s.config, "--nats-url", s.nats.url(), "--redis-url", s.redis.url())
	s.load.publish(c, 1)
	s.until("the refund is resolved", func() error {
		return s.load.holds(schemas.KindSucceeded)
	})
	s.first.thaw()
	s.until("the first worker goes on", func() error {
		if len(s.first.waitsFor()) > 0 {
			return errNotYet
		}
		return nil
	})
	s.load.quiet()
	return s.load.agree(s.redis.rdb)
}

// holds tells whether an event of a kind is journalled: whoever publishes it may be frozen.
func (l *load) holds(k schemas.Kind) error {
	err := errNotYet
	l.d.peek(l.js, schemas.StreamJournal, func(body []byte) {
		if e, wrong := schemas.DecodeEvent(body); wrong == nil && e.Kind == k {
			err = nil
		}
	})
	return err
}

// lastOf is the last message that a stream holds under a subject.
func lastOf(js jetstream.JetStream, stream, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.GetLastMsgForSubject(ctx, subject)
}

// kinds are the kinds of a journal's events, in order.
func (a audit) kinds() []schemas.Kind {
	var out []schemas.Kind
	for _, e := range a.journal {
		out = append(out, e.Event.Kind)
	}
	return out
}

// A worker is frozen when its intent is stored and it has not seen so. It goes on after another one has made the
// refund: its lease has ended, so it makes no call.
func TestWorkerFrozenBetweenIntentAndCall(t *testing.T) {
	t.Parallel()
	s := newTwoWorkers(t)
	frozen := make(chan struct{})
	s.line.when("Refund-Kind: dispatched", func(l *link) bool {
		l.hold()
		return true
	})
	c := s.load.next(1)
	s.load.publish(c, 1)
	s.until("the intent is stored", func() error { return s.load.holds(schemas.KindDispatched) })
	s.first.freeze()
	s.line.release()
	close(frozen)
	asked := s.bank.asked()
	a := s.takeOver(c, frozen)
	if got, want := a.kinds(), []schemas.Kind{"dispatched", "dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if asked == 0 {
		t.Error("the first worker had not prepared its call")
	}
}

// A worker is frozen when its call is answered and it has not seen so. Another one finds the refund made; the first
// one goes on and finds that told.
func TestWorkerFrozenBetweenCallAndOutcome(t *testing.T) {
	t.Parallel()
	s := newTwoWorkers(t)
	frozen := make(chan struct{})
	s.bank.at(nil, func(operation string) {
		if operation == "refund" {
			s.bank.at(nil, nil)
			s.first.freeze()
			close(frozen)
		}
	})
	c := s.load.next(1)
	s.load.publish(c, 1)
	a := s.takeOver(c, frozen)
	if got, want := a.kinds(), []schemas.Kind{"dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got := a.journal[len(a.journal)-1].Event.FoundBy; got != schemas.FoundByLookup {
		t.Errorf("found by %q, want %q", got, schemas.FoundByLookup)
	}
}

// A worker's call is on its way for longer than the worker lives to wait for it: it reaches the bank when another
// worker's attempt was made. Only the bank's own rule of one refund an order is left to stop it, and does.
func TestCallThatArrivesAfterItsLease(t *testing.T) {
	t.Parallel()
	s := newTwoWorkers(t)
	frozen, arrive := make(chan struct{}), make(chan struct{})
	s.bank.at(func(operation string) {
		if operation == "refund" {
			s.bank.at(nil, nil)
			s.first.freeze()
			close(frozen)
			<-arrive
		}
	}, nil)
	defer func() {
		select {
		case <-arrive:
		default:
			close(arrive)
		}
	}()
	c := s.load.next(1)
	s.load.publish(c, 1)
	a := s.takeOver(c, frozen)
	if got, want := a.kinds(), []schemas.Kind{"dispatched", "dispatched", "succeeded"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	close(arrive)
	s.until("the late call is answered", func() error {
		if s.bank.answered() < s.bank.asked() {
			return errNotYet
		}
		return nil
	})
	if got := s.bank.Ledger(); len(got) != 1 || got[0].Kind != simulator.MovementRefund {
		t.Errorf("ledger %+v, want one refund", got)
	}
}
