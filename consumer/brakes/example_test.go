package brakes_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"refundworker/consumer/brakes"
	"refundworker/providers"
)

// One call meets a provider that wants no calls for half a minute. Nothing more is begun, and no other call is admitted.
func Example() {
	b := brakes.New(brakes.Config{Provider: "bbmsl-hk", Breaker: brakes.Breaker{}.WithDefaults(), RetryAfterMax: time.Minute,
		Log: slog.New(slog.DiscardHandler)})
	b.SetStopped(false)
	ctx := context.Background()

	call := func(answer error) {
		permit := b.NewPermit()
		defer permit.Release()
		if err := permit.Admit(ctx, 1); err != nil {
			fmt.Println("no call:", err)
			return
		}
		permit.Report(ctx, answer)
		fmt.Println("called")
	}
	call(&providers.Error{Kind: providers.RateLimited, RetryAfter: 30 * time.Second})
	call(nil)
	room, _ := b.Room()
	fmt.Println("room for", room, b.State())
	// Output:
	// called
	// no call: it wants fewer calls
	// room for 0 resting
}
