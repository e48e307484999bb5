package drills

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"refundworker/idempotency/servertest"
)

// callTimeout is the provider timeout in drills. A lease lasts 30 s longer.
const callTimeout = 2 * time.Second

// config writes a settings file for the simulated bank and returns its path.
func (d *drill) config(change func(map[string]any)) string {
	d.t.Helper()
	settings := map[string]any{"providers": []any{map[string]any{"name": string(instance), "type": "bbmsl",
		"timeout": callTimeout.String(), "concurrency": 64, "backoff": map[string]any{"max": "5s"},
		"bbmsl": map[string]any{"baseURL": d.bank.baseURL, "merchantId": "700123",
			"privateKey": "${MERCHANT_KEY}", "model": "hosted", "voidUnsettled": true}}},
		"log": map[string]any{"level": "info"}}
	if *members > 1 {
		settings["nats"] = map[string]any{"replicas": *members}
	}
	if change != nil {
		change(settings)
	}
	body, err := json.Marshal(settings)
	if err != nil {
		d.t.Fatal(err)
	}
	d.configured++
	path := filepath.Join(d.dir, fmt.Sprintf("settings-%d.json", d.configured))
	if err := os.WriteFile(path, body, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// workerProcess is one serve process and its admin listener.
type workerProcess struct {
	*process
	d     *drill
	admin string
	args  []string
}

// worker starts serve with more arguments and waits until it is ready.
func (d *drill) worker(args ...string) *workerProcess {
	d.t.Helper()
	w := d.startWorker(args...)
	w.awaitReady()
	return w
}

// startWorker starts serve and waits for nothing.
func (d *drill) startWorker(args ...string) *workerProcess {
	d.t.Helper()
	w := &workerProcess{d: d, admin: servertest.Address(d.t), args: args}
	w.start()
	return w
}

func (w *workerProcess) start() {
	w.d.t.Helper()
	cmd := exec.Command(buildOnce(w.d.t, worker), append([]string{"serve", "--admin-listen", w.admin}, w.args...)...)
	cmd.Env = environment("MERCHANT_KEY=" + w.d.bank.key)
	w.process = w.d.launch(cmd)
}

func (w *workerProcess) awaitReady() {
	w.d.t.Helper()
	w.d.until("the worker is ready", func() error {
		if w.ended() {
			w.d.t.Fatalf("the worker ended: %v\n%s", w.err, w.output)
		}
		if reasons := w.waitsFor(); len(reasons) > 0 {
			return fmt.Errorf("not ready: %v", reasons)
		}
		return nil
	})
}

// awaitNotReady waits until /readyz gives one of the reasons, and returns when.
func (w *workerProcess) awaitNotReady(reasons ...string) time.Time {
	w.d.t.Helper()
	w.d.until(fmt.Sprintf("/readyz says one of %v", reasons), func() error {
		said := w.waitsFor()
		for _, r := range reasons {
			if slices.Contains(said, r) {
				return nil
			}
		}
		return fmt.Errorf("it says %v", said)
	})
	return time.Now()
}

// measures is the value of a metric without labels; -1 when the worker does not tell.
func (w *workerProcess) measures(name string) float64 {
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + w.admin + "/metrics")
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for line := range strings.Lines(string(body)) {
		value, is := strings.CutPrefix(line, name)
		if i := strings.LastIndexByte(value, ' '); is && i >= 0 && (value[0] == ' ' || value[0] == '{') {
			if n, err := strconv.ParseFloat(strings.TrimSpace(value[i:]), 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// waitsFor is what /readyz says; nothing when the worker is ready.
func (w *workerProcess) waitsFor() []string {
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + w.admin + "/readyz")
	if err != nil {
		return []string{"no answer from /readyz"}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	var said struct {
		Ready   bool
		Reasons []string
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Ready != (res.StatusCode == http.StatusOK) {
		return []string{fmt.Sprintf("/readyz said %s %s", res.Status, body)}
	}
	return said.Reasons
}
