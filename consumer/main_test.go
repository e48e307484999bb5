package consumer_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run at once than there are processors: most of them wait for leases and schedules.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "12"); err != nil { // the command line still has the last word
		panic(err)
	}
	os.Exit(m.Run())
}
