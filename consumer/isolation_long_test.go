//go:build long

package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"refundworker/consumer"
	"refundworker/providers"
	"refundworker/providers/scripted"
	"refundworker/schemas"
)

// plain is a provider that is asked by HTTP, by connections of its own, and answers with its status alone.
type plain struct {
	providers.Provider
	url  string
	http *providers.HTTPClient
}

func (p *plain) ask(ctx context.Context, op string) error {
	res, err := p.http.Do(ctx, providers.HTTPRequest{Op: op, Method: http.MethodPost, URL: p.url, Body: []byte("{}")})
	switch {
	case err != nil:
		return err
	case res.Status == http.StatusTooManyRequests:
		return &providers.Error{Kind: providers.RateLimited, Op: op, Err: errors.New("status 429"),
			RetryAfter: providers.RetryAfter(res.Header, time.Now())}
	}
	return nil
}

func (p *plain) Refund(ctx context.Context, _ providers.Request) (providers.Result, error) {
	return providers.Result{Status: providers.Succeeded}, p.ask(ctx, "refund")
}

func (p *plain) Lookup(ctx context.Context, _ providers.Request) (providers.Finding, error) {
	return providers.Finding{Kind: providers.NotFound}, providers.Harmless(p.ask(ctx, "lookup"))
}

const (
	isolationTimeout = time.Second
	isolationLatency = 200 * time.Millisecond
	isolationRounds  = 9
	burstCommands    = 600
	pacedCommands    = 300
	pacedApart       = 10 * time.Millisecond
	sickCommands     = 200
)

// serving is a provider's server, and what connects an instance to it.
func serving(t *testing.T, handler http.HandlerFunc) (*httptest.Server, func(*consumer.Instance)) {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s, func(in *consumer.Instance) {
		client := providers.NewHTTPClient(providers.HTTPConfig{Timeout: isolationTimeout, Concurrency: in.Concurrency})
		t.Cleanup(client.Close)
		in.Provider = &plain{Provider: in.Provider, url: s.URL, http: client}
	}
}

// neighbourhood is four providers in one worker: one healthy, one that answers after three times its timeout, one that
// refuses connections and one that wants no call for a day.
func neighbourhood(t *testing.T) *fixture {
	return newFixture(t, scripted.Config{}, func(c *consumer.Config) {
		handlers := map[schemas.ProviderName]http.HandlerFunc{
			provider: func(http.ResponseWriter, *http.Request) { time.Sleep(isolationLatency) },
			"slow": func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(3 * isolationTimeout):
				case <-r.Context().Done():
				}
			},
			"refusing": func(http.ResponseWriter, *http.Request) {},
			"limited": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "86400")
				w.WriteHeader(http.StatusTooManyRequests)
			},
		}
		template := c.Instances[0]
		template.Timeout, template.Concurrency = isolationTimeout, 48
		template.RetryAfterMax, template.Breaker.Open = time.Second, time.Second
		c.Instances = nil
		for name, handler := range handlers {
			in := template
			in.Name = name
			server, connect := serving(t, handler)
			connect(&in)
			if name == "refusing" {
				server.Close()
			}
			c.Instances = append(c.Instances, in)
		}
	})
}

// healthyRound is how long the healthy provider takes for a burst, and the p99 of the time that single commands take.
func healthyRound(t *testing.T, beside bool) (burst, p99 time.Duration) {
	f := neighbourhood(t)
	r := f.start()
	defer func() { _ = r.stop() }()
	type end struct {
		id string
		at time.Time
	}
	ends := make(chan end, burstCommands+pacedCommands)
	sub, err := f.nc.Subscribe(f.subjects.Event(schemas.KindSucceeded, provider), func(m *nats.Msg) {
		ends <- end{m.Header.Get("ce-subject"), time.Now()}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if beside {
		for _, name := range []schemas.ProviderName{"slow", "refusing", "limited"} {
			f.burst(name, "s", sickCommands)
		}
	}
	start := time.Now()
	f.burst(provider, "burst", burstCommands)
	for range burstCommands {
		<-ends
	}
	burst = time.Since(start)

	began := map[string]time.Time{}
	tick := time.NewTicker(pacedApart)
	defer tick.Stop()
	for i := range pacedCommands {
		<-tick.C
		id := fmt.Sprint("paced", i)
		began[id] = time.Now()
		f.publish(command(id, ""))
	}
	var took []time.Duration
	for range pacedCommands {
		e := <-ends
		took = append(took, e.at.Sub(began[e.id]))
	}
	slices.Sort(took)
	return burst, took[len(took)*99/100]
}

// A healthy provider's throughput and p99 stay within a fifth of what they are alone, whatever its neighbours do. Rounds
// alone and beside them alternate, and the median of the pairs counts: a busy machine is busy for both.
func TestLongHealthyProviderKeepsItsPace(t *testing.T) {
	var bursts, tails []float64
	for i := range isolationRounds {
		var burst, p99 [2]time.Duration
		for j := range 2 {
			beside := (i + j) % 2
			burst[beside], p99[beside] = healthyRound(t, beside == 1)
		}
		t.Logf("alone: %d commands in %s, p99 %s; beside: in %s, p99 %s", burstCommands, burst[0], p99[0], burst[1], p99[1])
		bursts = append(bursts, float64(burst[0])/float64(burst[1]))
		tails = append(tails, float64(p99[1])/float64(p99[0]))
	}
	t.Logf("beside/alone: throughput %.3f, p99 %.3f", median(bursts), median(tails))
	if got := median(bursts); got < 0.8 {
		t.Errorf("throughput is %.2f of what it is alone, want at least 0.8", got)
	}
	if got := median(tails); got > 1.2 {
		t.Errorf("p99 is %.2f of what it is alone, want at most 1.2", got)
	}
}
