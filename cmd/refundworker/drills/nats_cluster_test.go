package drills

import (
	"context"
	"sync"
	"testing"
	"time"

	"refundworker/schemas"
)

// ledStreams are the streams whose leaders are moved while workers need them.
var ledStreams = []string{schemas.StreamJournal, schemas.StreamCommands, schemas.StreamRetries}

// Leaders of streams and durable consumers move from server to server of a cluster while refunds are made, and then the
// one that leads the event stream is killed and comes back. No worker takes a stream that is between two leaders for
// one that has lost events.
func TestNATSClusterChangesLeaders(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	r := c.outage
	r.slowBank()
	r.goOn()
	r.begins()
	said := r.listen()
	for range 3 {
		for _, stream := range ledStreams {
			c.stepDown("STREAM.LEADER.STEPDOWN." + stream)
			c.led(stream)
		}
		for stream, durable := range durables {
			c.stepDown("CONSUMER.LEADER.STEPDOWN." + stream + "." + durable)
		}
		r.made(someRefunds)
	}
	victim := c.led(schemas.StreamJournal)
	t.Logf("while leaders moved, /readyz said %v", said())
	said = r.listen()
	c.servers[victim].kill()
	c.led(schemas.StreamJournal)
	r.made(someRefunds)
	c.servers[victim].start(c.drill)
	r.made(someRefunds)
	for _, w := range r.workers {
		w.awaitReady()
	}
	t.Logf("while a server was away, /readyz said %v", said())
	for i, w := range r.workers {
		if w.ended() {
			t.Errorf("worker %d ended: %s", i, w.lastWords())
		}
	}
	r.end()
}

// cluster is a drill on three NATS servers, by name.
type cluster struct {
	*outage
	servers map[string]*natsServer
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	d := newDrill(t)
	c := &cluster{outage: &outage{drill: d, redis: d.redis(), nats: d.natsLater(3)}, servers: map[string]*natsServer{}}
	c.nats.start()
	for _, s := range c.nats.servers {
		c.servers[s.name] = s
	}
	url := c.nats.url()
	c.load = d.load(d.client(url))
	config := d.config(func(settings map[string]any) { settings["nats"] = map[string]any{"replicas": len(c.servers)} })
	for range 2 {
		c.workers = append(c.workers, d.startWorker("--config", config, "--nats-url", url, "--redis-url", c.redis.url()))
	}
	return c
}

// leaderOf is the name of the server that leads a stream, empty while none does.
func (c *cluster) leaderOf(stream string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	s, err := c.load.js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// led waits until a stream has a leader, and returns its name.
func (c *cluster) led(stream string) (leader string) {
	c.t.Helper()
	from := time.Now()
	c.until(stream+" has a leader", func() error {
		if leader = c.leaderOf(stream); leader == "" {
			return errNotYet
		}
		return nil
	})
	c.t.Logf("%s is led by %s after %s", stream, leader, time.Since(from).Round(time.Millisecond))
	return leader
}

// stepDown has the leader of a stream or consumer give way to another server.
func (c *cluster) stepDown(who string) {
	c.t.Helper()
	if _, err := c.load.js.Conn().Request("$JS.API."+who, nil, 5*time.Second); err != nil {
		c.t.Logf("%s: %v", who, err) // a consumer may be between two leaders already
	}
}

// listen notes what /readyz says, until said is called.
func (r *outage) listen() (said func() map[string]int) {
	reasons := map[string]int{}
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for _, w := range r.workers {
				for _, reason := range w.waitsFor() {
					reasons[reason]++
				}
			}
			<-tick.C
		}
	})
	said = func() map[string]int { cancel(); listening.Wait(); return reasons }
	r.t.Cleanup(func() { said() })
	return said
}
