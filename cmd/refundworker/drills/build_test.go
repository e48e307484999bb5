package drills

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// sideBySide is how many drills run at once: they spend their time waiting for leases, not computing.
const sideBySide = "14"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", sideBySide); err != nil { // the command line still has the last word
		panic(err)
	}
	go measureLateness()
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

var built struct {
	sync.Mutex
	dir string
}

const (
	worker      = "refundworker/cmd/refundworker"
	natsProgram = "github.com/nats-io/nats-server/v2"
)

// buildOnce builds a program for all tests of this run.
func buildOnce(t *testing.T, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "refundworker-drills-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	path := filepath.Join(built.dir, filepath.Base(filepath.Dir(pkg))+"-"+filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}
