package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

const (
	besideCommands   = 3000
	besideDuplicates = 10_000
	besideWaiting    = 1000
	besidePairs      = 5
)

// BenchmarkBeside measures how long good commands take alone, beside refunds that wait for tomorrow, and
// beside duplicates of one command that is in flight. It reports the ratios of paired medians.
//
//	go test ./consumer -run '^$' -bench Beside -benchtime 1x
func BenchmarkBeside(b *testing.B) {
	for b.Loop() {
		alone, waiting, duplicates := make([]float64, besidePairs), make([]float64, besidePairs), make([]float64, besidePairs)
		for i := range besidePairs {
			alone[i] = goodCommands(b, nil)
			waiting[i] = goodCommands(b, waitForTomorrow)
			duplicates[i] = goodCommands(b, duplicateInFlight)
		}
		base := median(alone)
		b.ReportMetric(besideCommands/base, "alone_commands/s")
		b.ReportMetric(median(waiting)/base, "waiting/alone")
		b.ReportMetric(median(duplicates)/base, "duplicates/alone")
	}
}

func median(seconds []float64) float64 {
	slices.Sort(seconds)
	return seconds[len(seconds)/2]
}

func waitForTomorrow(f *fixture) {
	for i := range besideWaiting {
		f.publish(command(fmt.Sprint("wait-", i), `{"script":["not_now:day_end:24h"]}`))
	}
	f.eventually("all wait", func() error { return f.left(0, besideWaiting) })
}

// duplicateInFlight has one call that takes long, and its command again and again.
func duplicateInFlight(f *fixture) {
	slow := command("slow", `{"script":["succeeded"]}`)
	slow.Payment.Reference = "slow"
	f.publish(slow)
	f.eventually("the call is out", func() error { return f.was("slow", schemas.KindDispatched) })
	body, err := slow.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	for range besideDuplicates {
		if _, err := f.js.PublishAsync(f.subjects.Command(provider), body); err != nil {
			f.t.Fatal(err)
		}
	}
	<-f.js.PublishAsyncComplete()
}

// slowOne answers one requestId only when the test ends.
type slowOne struct {
	providers.Provider
	release chan struct{}
}

func (s *slowOne) Refund(ctx context.Context, r providers.Request) (providers.Result, error) {
	if r.RequestID == "slow" {
		select {
		case <-s.release:
		case <-ctx.Done():
		}
	}
	return s.Provider.Refund(ctx, r)
}

// goodCommands is how many seconds it takes from the publish of the first good command to the last outcome.
func goodCommands(b *testing.B, beside func(*fixture)) float64 {
	release := make(chan struct{})
	f := newFixture(b, scripted.Config{Outcomes: []string{"succeeded"}, Latency: time.Millisecond},
		func(c *consumer.Config) {
			c.Instances[0].Provider = &slowOne{Provider: c.Instances[0].Provider, release: release}
			c.Instances[0].Concurrency, c.Instances[0].Timeout = 64, time.Minute
		})
	r := f.start()
	defer func() { _ = r.stop() }()
	defer sync.OnceFunc(func() { close(release) })()
	outcomes := make(chan struct{}, besideCommands)
	sub, err := f.nc.Subscribe(f.subjects.Event(schemas.KindSucceeded, provider), func(*nats.Msg) { outcomes <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.nc.Flush(); err != nil {
		b.Fatal(err)
	}
	bodies := make([][]byte, besideCommands)
	for i := range bodies {
		if bodies[i], err = command(fmt.Sprint("good-", i), "").Encode(); err != nil {
			b.Fatal(err)
		}
	}
	if beside != nil {
		beside(f)
	}
	start := time.Now()
	for _, body := range bodies {
		if _, err := f.js.PublishAsync(f.subjects.Command(provider), body); err != nil {
			b.Fatal(err)
		}
	}
	for range besideCommands {
		<-outcomes
	}
	return time.Since(start).Seconds()
}
