package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"refundworker/providers"
	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// demoCase is one story: a payment, what is published about it and how it has to end.
type demoCase struct {
	title    string
	provider schemas.ProviderName
	// reference and captured are the payment's; a case about no payment has neither.
	reference string
	captured  schemas.Money
	// named has its commands say what was captured.
	named bool
	// at is when its refunds were requested.
	at time.Time
	// scene is what the simulator has to know for it.
	scene scene
	// bodies are published in turn, each after the refunds before it have ended.
	bodies [][]byte
	// together publishes them all at once.
	together bool
	// copies is how often each body is published, by publishers of which each has its own connection.
	copies, publishers int
	// ids are the requestIds that belong to the case.
	ids []schemas.RequestID
	// want is how the case has to end, in any order: outcomes, reversals, rejections and dead letters.
	want []string
	// wantLeft is what has to be left of the payment.
	wantLeft schemas.Money
	// err says what is wrong with the case itself.
	err error
}

// play publishes the case's bodies.
func (c demoCase) play(ctx context.Context, url string, w *watcher) error {
	if c.err != nil {
		return fmt.Errorf("case %q: %w", c.title, c.err)
	}
	for i, body := range c.bodies {
		if i > 0 && !c.together {
			if err := until(ctx, func() bool { return len(c.endings(w.seen())) >= i }); err != nil {
				return nil // the case does not end; judge tells
			}
		}
		if err := c.publish(ctx, url, body); err != nil {
			return fmt.Errorf("publish %q: %w", c.title, err)
		}
	}
	return nil
}

// publish stores a body copies times, from publishers connections of their own, without a message id.
func (c demoCase) publish(ctx context.Context, url string, body []byte) error {
	failures := make(chan error, c.publishers)
	var all sync.WaitGroup
	for range c.publishers {
		all.Go(func() {
			nc, err := dialNATS(natsSettings{URL: providers.Secret(url)})
			if err != nil {
				failures <- err
				return
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			for range c.copies / c.publishers {
				if err == nil {
					_, err = js.Publish(ctx, schemas.Subjects{}.Command(c.provider), body)
				}
			}
			failures <- err
		})
	}
	all.Wait()
	for range c.publishers {
		if err := <-failures; err != nil {
			return err
		}
	}
	return nil
}

// broken lists what of a case is not as it has to be.
func (c demoCase) broken(found evidence) []string {
	var broken []string
	want := slices.Sorted(slices.Values(c.want))
	if got := slices.Sorted(slices.Values(c.endings(found))); !slices.Equal(got, want) {
		broken = append(broken, fmt.Sprintf("ended as %q, want %q", got, want))
	}
	for _, l := range found.dead {
		if c.published(l.body) && l.detail == "" {
			broken = append(broken, "a dead letter does not say what is wrong")
		}
	}
	if c.reference == "" {
		return broken
	}
	if left := c.left(found); left != c.wantLeft.String() {
		broken = append(broken, fmt.Sprintf("%s are left of the payment, want %s", left, c.wantLeft))
	}
	return broken
}

// endings are the outcomes, reversals, rejections and dead letters of a case. One fact counts once, however often it
// is stated.
func (c demoCase) endings(found evidence) []string {
	var out []string
	for _, e := range distinct(found.events) {
		if text := ending(e); text != "" && slices.Contains(c.ids, e.RequestID) {
			out = append(out, text)
		}
	}
	for _, l := range found.dead {
		if c.published(l.body) {
			out = append(out, "dead letter "+l.reason)
		}
	}
	return out
}

// ending is an event after which the worker leaves a command alone, in words; empty for any other event.
func ending(e schemas.Event) string {
	switch {
	case e.Kind == schemas.KindReversed:
		return string(e.Kind) + " " + e.Reversal.Amount.String()
	case e.Kind.Outcome(), e.Kind == schemas.KindRejected, e.Kind == schemas.KindParked:
		return strings.TrimSpace(string(e.Kind) + " " + string(e.Reason))
	}
	return ""
}

func (c demoCase) published(body []byte) bool {
	return slices.ContainsFunc(c.bodies, func(b []byte) bool { return string(b) == string(body) })
}

// print writes the case's part of the closing table: each ending and each movement has a line of its own.
func (c demoCase) print(table io.Writer, found evidence) {
	verdict := "ok"
	if len(c.broken(found)) > 0 {
		verdict = "BROKEN"
	}
	columns := [][]string{{string(c.provider)}, {c.title}, c.endings(found), c.moved(found), {c.left(found)}, {verdict}}
	for line := range len(slices.MaxFunc(columns, func(a, b []string) int { return len(a) - len(b) })) {
		cells := make([]string, len(columns))
		for i, column := range columns {
			if line < len(column) {
				cells[i] = column[line]
			}
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
}

// moved tells what the ledger says about the case's payment.
func (c demoCase) moved(found evidence) []string {
	var out []string
	for _, m := range c.movements(found) {
		out = append(out, string(m.Kind)+" "+m.Amount.String())
	}
	if len(out) == 0 {
		return []string{"-"}
	}
	return out
}

// left is what the ledger leaves of the case's payment.
func (c demoCase) left(found evidence) string {
	if c.reference == "" {
		return "-"
	}
	left := c.captured
	for _, m := range c.movements(found) {
		change := left.Sub
		if m.Kind == simulator.MovementReversal {
			change = left.Add
		}
		rest, err := change(m.Amount)
		if err != nil {
			return "unknown"
		}
		left = rest
	}
	return left.String()
}

func (c demoCase) movements(found evidence) []simulator.Movement {
	return slices.DeleteFunc(slices.Clone(found.ledger), func(m simulator.Movement) bool {
		return m.Type != simulatedAs(c.provider) || m.Reference != c.reference
	})
}
