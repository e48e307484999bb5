package drills

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// drill starts real programs on loopback and ends them with the test: nats-server, redis-server, the worker. The
// simulated provider runs in the test itself, so that its ledger outlives everything.
type drill struct {
	t    *testing.T
	dir  string
	bank *bank
	// configured counts settings files.
	configured int
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	return &drill{t: t, dir: t.TempDir(), bank: newBank(t)}
}

var errNotYet = errors.New("not yet")

// patience ends a wait for something that never comes. Nothing that has to come within a time is held by it: machines
// differ, and leases, look-ups and schedules take minutes of their own.
const patience = 12 * time.Minute

// until waits for check to return nil.
func (d *drill) until(what string, check func() error) {
	d.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			d.t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// process is one started program.
type process struct {
	cmd    *exec.Cmd
	output *output
	done   chan struct{}
	err    error
}

// output is what a program printed. It may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// launch starts a program; what it printed last is shown when the test fails.
func (d *drill) launch(cmd *exec.Cmd) *process {
	d.t.Helper()
	p := &process{cmd: cmd, output: &output{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	d.t.Cleanup(func() {
		p.kill()
		if text := p.output.String(); d.t.Failed() {
			d.t.Logf("%s printed, at the end:\n%s", filepath.Base(cmd.Path), text[max(0, len(text)-4000):])
		}
	})
	return p
}

// end sends a signal and waits for the process to end.
func (p *process) end(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig)
	<-p.done
	return p.err
}

func (p *process) kill() { _ = p.end(syscall.SIGKILL) }

// freeze stops the process where it stands, and returns when it does.
func (p *process) freeze() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	for !p.ended() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		_, after, _ := bytes.Cut(stat, []byte(") "))
		if err != nil || bytes.HasPrefix(after, []byte("T")) { // where it cannot be read, the signal was all
			return
		}
		runtime.Gosched()
	}
}

// thaw lets a frozen process go on as if nothing had happened.
func (p *process) thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exited waits for the process to end by itself and returns its exit code.
func (d *drill) exited(p *process) int {
	d.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		d.t.Fatalf("%s goes on after %s", filepath.Base(p.cmd.Path), patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// says tells whether the process printed all of these texts.
func (p *process) says(texts ...string) error {
	printed := p.output.String()
	for _, text := range texts {
		if !strings.Contains(printed, text) {
			return errors.New("did not print " + text)
		}
	}
	return nil
}

// environment is the test's own, with more.
func environment(more ...string) []string { return append(os.Environ(), more...) }
