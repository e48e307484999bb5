package drills

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"

	"refundworker/idempotency/servertest"
	"refundworker/providers/simulator"
)

// document is a JSON object as it is written in settings and told to the simulator.
type document = map[string]any

// simulated is the simulator as a process of its own.
type simulated struct {
	*process
	d    *drill
	addr string
}

// simulate starts simulate, and waits until it listens.
func (d *drill) simulate() *simulated {
	d.t.Helper()
	s := &simulated{d: d, addr: servertest.Address(d.t)}
	s.process = d.launch(exec.Command(buildOnce(d.t, worker), "simulate", "--listen", s.addr))
	d.until("the simulator listens", func() error { return listens(s.addr) })
	return s
}

// put tells the simulator something under /_control/.
func (s *simulated) put(path string, told any) {
	s.d.t.Helper()
	body, err := json.Marshal(told)
	if err != nil {
		s.d.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPut, "http://"+s.addr+"/_control/"+path, bytes.NewReader(body))
	if err != nil {
		s.d.t.Fatal(err)
	}
	if status, text := s.d.exchange(r); status != http.StatusNoContent {
		s.d.t.Fatalf("simulator control %s said %d %s", path, status, text)
	}
}

// ledger is every movement of money so far, oldest first.
func (s *simulated) ledger() []simulator.Movement { return listed[simulator.Movement](s, "ledger") }

// notices are what was sent so far, oldest first.
func (s *simulated) notices() []simulator.SentNotice {
	return listed[simulator.SentNotice](s, "notices")
}

// listed reads one of the simulator's lists.
func listed[T any](s *simulated, path string) (list []T) {
	s.d.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/_control/"+path, nil)
	if err != nil {
		s.d.t.Fatal(err)
	}
	status, text := s.d.exchange(r)
	if status != http.StatusOK {
		s.d.t.Fatalf("simulator control %s said %d %s", path, status, text)
	}
	for lines := json.NewDecoder(strings.NewReader(text)); lines.More(); {
		var line T
		if err := lines.Decode(&line); err != nil {
			s.d.t.Fatalf("simulator control %s: %v", path, err)
		}
		list = append(list, line)
	}
	return list
}

// exchange sends a request and reads the whole answer.
func (d *drill) exchange(r *http.Request) (status int, body string) {
	d.t.Helper()
	client := http.Client{Timeout: patience}
	res, err := client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// reported is a worker with servers of its own, and a simulator that reports to the worker's edge.
type reported struct {
	*drill
	sim    *simulated
	worker *workerProcess
	load   *load
	// edge is where the worker takes reports.
	edge string
}

// newReported starts both. The worker has the one provider instance that settings makes, once the simulator is there.
func newReported(d *drill, settings func(sim *simulated) document) *reported {
	d.t.Helper()
	r := &reported{drill: d, sim: d.simulate(), edge: servertest.Address(d.t)}
	config := d.config(func(all map[string]any) { all["providers"] = []any{settings(r.sim)} })
	listen := servertest.Address(d.t)
	r.worker = d.worker("--config", config, "--data-dir", filepath.Join(d.dir, "data"), "--nats-listen", listen,
		"--edge-listen", r.edge)
	r.load = d.load(d.client("nats://" + listen))
	return r
}

// target is the base URL of the edge.
func (r *reported) target() string { return "http://" + r.edge }

// amountOf is an amount as JSON, in units.
func amountOf(units int, currency string) document {
	return document{"amountMicros": fmt.Sprint(units * micros), "currencyCode": currency}
}

// micros are the millionths of a unit.
const micros = 1_000_000
