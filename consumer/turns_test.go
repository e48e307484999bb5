package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"refundworker/consumer"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// A provider may be called once a second, and a hundred refunds come. They wait in their stream: what was pulled for turns
// of later would only be put off, and pulled again, and load what others need.
func TestBacklogOfASlowRateWaitsInItsStream(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(in *consumer.Instance)
	}{
		{"the process's", func(in *consumer.Instance) { in.PerSecond = 1 }},
		{"the fleet's", func(in *consumer.Instance) { in.FleetPerSecond = 1 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inFakeTime(t, scripted.Config{Outcomes: []string{"succeeded"}}, func(f *fixture) {
				f.start()
				for i := range 100 {
					f.publish(command(fmt.Sprint("r", i), ""))
				}
				time.Sleep(20 * time.Second)
				stream, err := f.js.Stream(context.Background(), schemas.StreamCommands)
				if err != nil {
					t.Fatal(err)
				}
				lane, err := stream.Consumer(context.Background(), "refund-commands-"+string(provider))
				if err != nil {
					t.Fatal(err)
				}
				delivered := lane.CachedInfo().Delivered.Consumer
				made := f.kinds()[schemas.KindSucceeded]
				if made < 15 || made > 25 || delivered > 40 || f.messages(schemas.StreamRetries) > 10 {
					t.Errorf("after 20 s at 1 a second: %d made, %d deliveries, %d put off; want about 20 of each and few", made, delivered,
						f.messages(schemas.StreamRetries))
				}
			}, func(c *consumer.Config) {
				test.set(&c.Instances[0])
				c.Instances[0].Concurrency, c.Instances[0].Timeout = 64, 20*time.Second
				c.LeaseMargin = 30 * time.Second
			})
		})
	}
}
