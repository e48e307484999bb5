//go:build interop

package simulator_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refundworker/providers/simulator"
)

// The official client refunds, retrieves and searches, and finds what it expects of the real service.
func TestInteropCraftgateClient(t *testing.T) {
	from, work := filepath.Join("testdata", "craftgate-client"), t.TempDir()
	for _, name := range []string{"package.json", "interop.mjs"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(work, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	seed, err := os.ReadFile(filepath.Join(from, "seed.json"))
	if err != nil {
		t.Fatal(err)
	}
	sim := simulator.New(simulator.Options{})
	if err := sim.Seed(bytes.NewReader(seed)); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	defer server.Close()
	defer sim.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, command := range [][]string{
		{"npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"},
		{"node", "interop.mjs", server.URL},
	} {
		c := exec.CommandContext(ctx, command[0], command[1:]...)
		c.Dir = work
		output, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
		}
		t.Logf("%s", output)
	}
}
