//go:build long

package main

import "testing"

// The same with 1,000 refunds of each side.
func TestLongLostReplies(t *testing.T) {
	lossRefunds = 1000
	lostReplies(t)
}
