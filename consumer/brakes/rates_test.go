package brakes

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// There is room for what the rates let through within five seconds, less what is in hand and has not been let through.
func TestRoomAtTheRates(t *testing.T) {
	tests := []struct {
		name  string
		rates Rates
		want  int
	}{
		{"none", Rates{}, Unbounded},
		{"two at once, then one a second", Rates{PerSecond: 1}, 2 + 5},
		{"two calls a refund", Rates{PerSecond: 1, Prepares: true}, 3},
		{"a tenth of a second's at once", Rates{PerSecond: 100}, 10 + 500},
		{"the fleet's", Rates{FleetPerSecond: 2}, 10},
		{"the fleet's, two calls a refund", Rates{FleetPerSecond: 2, Prepares: true}, 5},
		{"the lower one", Rates{PerSecond: 2, FleetPerSecond: 1}, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.rates.Book = func(context.Context, int, time.Duration) (time.Duration, bool, error) { return 0, true, nil }
				b := testBrakes(test.rates)
				holds := func(when string, want int) {
					t.Helper()
					if got, probes := b.Room(); got != want || probes {
						t.Errorf("%s: room for %d (probes: %t), want %d", when, got, probes, want)
					}
				}
				holds("at first", test.want)
				if test.want == Unbounded {
					return
				}
				p := b.NewPermit()
				holds("one in hand", test.want-1)
				p.Release()
				p.Release()
				holds("given back", test.want)
				p = b.NewPermit()
				if err := p.Admit(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // what the call took is there again
				holds("let through", test.want)
			})
		})
	}
}

// The fleet's rate is booked for longer than a delivery can wait. Nothing is begun until the end is near.
func TestFleetRateIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBrakes(Rates{FleetPerSecond: 2,
			Book: func(_ context.Context, calls int, atMost time.Duration) (time.Duration, bool, error) {
				if calls != 2 || atMost != 4*time.Second {
					t.Errorf("%d calls booked within %s, want 2 within 4s", calls, atMost)
				}
				return 8 * time.Second, false, nil
			}})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := b.NewPermit().Admit(ctx, 2); !errors.Is(err, errBooked) {
			t.Errorf("got %v, want %v", err, errBooked)
		}
		time.Sleep(3*time.Second - time.Nanosecond)
		if got, _ := b.Room(); got != 0 {
			t.Errorf("room for %d, want none", got)
		}
		time.Sleep(time.Nanosecond)
		if got, _ := b.Room(); got != 10 {
			t.Errorf("room for %d once the end is near, want 10", got)
		}
	})
}

// A call waits until its booking, and no booking is no call.
func TestAdmitWaitsForItsBooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost error
		b := testBrakes(Rates{FleetPerSecond: 1,
			Book: func(context.Context, int, time.Duration) (time.Duration, bool, error) {
				return 3 * time.Second, true, lost
			}})
		p, began := b.NewPermit(), time.Now()
		if err := p.Admit(t.Context(), 1); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("admitted after %s, %v, want 3s", time.Since(began), err)
		}
		if err := p.Repeat(t.Context()); err != nil || time.Since(began) != 6*time.Second {
			t.Errorf("repeated after %s, %v, want 6s", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Repeat(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
			t.Errorf("got %v after %s, want the deadline after 7s", err, time.Since(began))
		}
		lost = errNoAnswer
		if err := p.Admit(t.Context(), 1); !errors.Is(err, lost) {
			t.Errorf("got %v, want %v", err, lost)
		}
	})
}
