package idempotency

import (
	"flag"
	"os"
	"testing"
)

// sideBySide is how many tests run at once: most spend their time waiting for the next look at a server.
const sideBySide = "16"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", sideBySide); err != nil { // the command line still has the last word
		panic(err)
	}
	// Enough to notice what a change breaks; `make test-long` draws many more.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
