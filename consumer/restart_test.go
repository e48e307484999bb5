package consumer_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// restartNATS stops the server under everybody's feet and starts another one on the same files and port.
func (f *fixture) restartNATS() {
	f.t.Helper()
	dir := filepath.Dir(f.nats.JetStreamConfig().StoreDir)
	port := f.nats.Addr().(*net.TCPAddr).Port
	f.nats.Shutdown()
	f.nats.WaitForShutdown()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true,
		NoSigs: true})
	if err != nil {
		f.t.Fatal(err)
	}
	srv.Start()
	f.t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		f.t.Fatal("nats server did not start again")
	}
	f.nats = srv
}

// The connection is cut while calls are out, intents and outcomes are on their way, and commands wait.
func TestNATSRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		sheet  *providers.Capabilities
		margin time.Duration
	}{
		{"the provider can be looked up", canLookUp, 4 * time.Second},
		{"the provider knows keys", keepsKeys, 4 * time.Second},
		// Where nothing can tell, the leases must outlast the outage, or an intent of that moment is parked.
		{"the provider has neither", &providers.Capabilities{}, 8 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const refunds = 40
			f := newFixture(t, scripted.Config{Outcomes: []string{"succeeded"}, Latency: 200 * time.Millisecond, Capabilities: test.sheet},
				func(c *consumer.Config) { c.Instances[0].Concurrency, c.LeaseMargin = 8, test.margin })
			f.start()
			for i := range refunds {
				f.publish(command(fmt.Sprint("r", i), ""))
			}
			f.eventually("some are made, some are out, some wait", func() error {
				if n := len(f.provider.Movements()); n < refunds/4 {
					return fmt.Errorf("%d movements of money", n)
				}
				return nil
			})
			f.restartNATS()
			f.eventually("the connection is back", func() error {
				if !f.nc.IsConnected() {
					return fmt.Errorf("the connection is %s", f.nc.Status())
				}
				return nil
			})
			f.quiet()
			moved := map[schemas.RequestID]int{}
			for _, m := range f.provider.Movements() {
				moved[m.RequestID]++
			}
			for i := range refunds {
				id := fmt.Sprint("r", i)
				if err := f.reached(id, schemas.KindSucceeded); err != nil || moved[schemas.RequestID(id)] != 1 {
					t.Errorf("%s moved money %d times, want once; %v", id, moved[schemas.RequestID(id)], err)
				}
			}
		})
	}
}
