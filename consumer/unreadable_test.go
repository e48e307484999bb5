package consumer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// So much stands under a refund's subject that nobody reads it: an operator has to look, and is told. Others go on.
func TestChainThatCannotBeReadIsToldOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	log := &logged{}
	f.logTo = log
	f.start()
	for range 4097 {
		if _, err := f.js.PublishAsync(f.subjects.Journal("flooded"), []byte("{}"), jetstream.WithStallWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	<-f.js.PublishAsyncComplete()
	f.publish(command("flooded", ""))
	f.publish(command("other", ""))
	f.eventually("the other is made", func() error { return f.was("other", schemas.KindSucceeded) })
	f.eventually("the log says it", func() error {
		for _, line := range strings.Split(log.String(), "\n") {
			if strings.Contains(line, "level=ERROR") && strings.Contains(line, "requestId=flooded") {
				return nil
			}
		}
		return errors.New("it does not")
	})
	f.eventually("a schedule carries it", func() error { return f.left(0, 1) })
	if n := len(f.provider.Movements()); n != 1 {
		t.Errorf("%d movements of money, want the other's", n)
	}
}
