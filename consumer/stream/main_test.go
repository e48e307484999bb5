package stream_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain draws enough histories to notice what a change breaks. For more: go test -rapid.checks 500 ./consumer/stream
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "15"); err != nil { // the command line still has the last word
		panic(err)
	}
	os.Exit(m.Run())
}
