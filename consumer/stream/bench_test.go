package stream_test

import (
	"fmt"
	"testing"

	"refundworker/schemas"
)

func BenchmarkJournal(b *testing.B) {
	for _, size := range []int{1, 3} {
		f := newFixture(b, size)
		j := f.journal()
		b.Run(fmt.Sprintf("servers=%d/append", size), func(b *testing.B) {
			for n := range b.N {
				f.must(j.Append(b.Context(), dispatched(fmt.Sprintf("a%d:%d", b.N, n), 1, "me"), 0))
			}
		})
		head := f.must(j.Append(b.Context(), dispatched("one", 1, "me"), 0))
		head = f.must(j.Append(b.Context(), dispatched("one", 2, "me"), head))
		f.must(j.Append(b.Context(), outcome("one"), head))
		b.Run(fmt.Sprintf("servers=%d/chain of three", size), func(b *testing.B) {
			for range b.N {
				if chain, err := j.Chain(b.Context(), schemas.RequestID("one")); len(chain) != 3 {
					b.Fatal(chain, err)
				}
			}
		})
		b.Run(fmt.Sprintf("servers=%d/relay", size), func(b *testing.B) {
			entries := f.fill(fmt.Sprintf("r%d", b.N), (b.N+1)/2)
			r := f.relay()
			b.ResetTimer()
			if err := r.Publish(b.Context(), entries[len(entries)-b.N:]); err != nil {
				b.Fatal(err)
			}
		})
	}
}
