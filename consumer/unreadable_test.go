package consumer_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// awaited is a log in which a line is waited for that has all of the texts.
type awaited struct {
	texts []string
	once  sync.Once
	met   chan struct{}
}

func (a *awaited) Write(line []byte) (int, error) {
	for _, text := range a.texts {
		if !bytes.Contains(line, []byte(text)) {
			return len(line), nil
		}
	}
	a.once.Do(func() { close(a.met) })
	return len(line), nil
}

// So much stands under a refund's subject that nobody reads it: an operator has to look, and is told. Others go on.
func TestChainThatCannotBeReadIsToldOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scripted.Config{})
	log := &awaited{texts: []string{"level=ERROR", "requestId=flooded"}, met: make(chan struct{})}
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
	f.wait("the log says it", log.met)
	f.eventually("a schedule carries it", func() error { return f.left(0, 1) })
	if n := len(f.provider.Movements()); n != 1 {
		t.Errorf("%d movements of money, want the other's", n)
	}
}
