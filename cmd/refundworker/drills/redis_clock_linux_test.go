package drills

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Redis's clock jumps ahead: leases that workers hold have ended by it.
func TestRedisClockAhead(t *testing.T) {
	newClockDrill(t).apart(10 * time.Second)
}

// Redis's clock falls back: leases that are taken now end too late, and what was due is not.
func TestRedisClockBehind(t *testing.T) {
	newClockDrill(t).apart(-10 * time.Second)
}

// Redis's clock is a little ahead, and is put right by a step back. No lease can be measured across it, so the workers
// look twice.
func TestRedisClockStepsBack(t *testing.T) {
	c := newClockDrill(t)
	c.begin(nil)
	c.jump(4 * time.Second)
	c.made(2 * someRefunds)
	for i, w := range c.workers {
		if said := w.waitsFor(); slices.Contains(said, "redis_clock") {
			t.Errorf("worker %d says %v of a clock that is 4 s ahead", i, said)
		}
	}
	c.breaks(func() { c.jump(0) }, "redis_clock")
	c.over()
	c.end()
}

// clockDrill is a drill whose Redis has a clock that can be moved while it runs.
type clockDrill struct {
	*outage
	offset string
}

func newClockDrill(t *testing.T) *clockDrill {
	t.Helper()
	r := newOutage(t)
	c := &clockDrill{outage: r, offset: filepath.Join(r.dir, "offset")}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		if compiler, err = exec.LookPath("gcc"); err != nil {
			t.Fatal("no C compiler on PATH: `make test` installs one on Debian as root")
		}
	}
	library := filepath.Join(r.dir, "clock.so")
	cmd := exec.Command(compiler, "-shared", "-fPIC", "-o", library, filepath.Join("testdata", "redis_clock.c"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the clock: %v\n%s", err, out)
	}
	r.redis.kill()
	r.redis.env = []string{"LD_PRELOAD=" + library, "CLOCK_OFFSET=" + c.offset}
	r.redis.start()
	return c
}

// jump moves Redis's clock away from the workers'.
func (c *clockDrill) jump(by time.Duration) {
	c.t.Helper()
	next := c.offset + ".next" // renamed, because half a file would be another jump
	if err := os.WriteFile(next, []byte(strconv.FormatInt(by.Milliseconds(), 10)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(next, c.offset); err != nil {
		c.t.Fatal(err)
	}
}

// apart moves Redis's clock for a while, and back.
func (c *clockDrill) apart(by time.Duration) {
	c.t.Helper()
	c.slowBank()
	c.begin(nil)
	before := c.load.all()
	c.breaks(func() { c.jump(by) }, "redis_clock")
	c.again(before)
	c.silent()
	c.jump(0)
	c.over()
	c.end()
}
