package schemas

import (
	"os"
	"testing"
)

func BenchmarkDecodeCommand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCommand([]byte(goodCommand), Arrival{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	body, err := os.ReadFile("testdata/event/good/dispatched.json")
	if err != nil {
		b.Fatal(err)
	}
	e, err := DecodeEvent(body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
