package main

import (
	"context"
	"errors"
	"fmt"
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
	title   string
	payment simulator.BBMSLPayment
	faults  []simulator.Fault
	// bodies are published in turn, each after the refunds before it have ended.
	bodies [][]byte
	// together publishes them all at once.
	together bool
	// copies is how often each body is published, by publishers of which each has its own connection.
	copies, publishers int
	// ids are the requestIds that belong to the case.
	ids []schemas.RequestID
	// want is how the case has to end, in any order: outcomes, rejections and dead letters.
	want []string
	// wantLeft is what has to be left of the payment.
	wantLeft schemas.Money
	// err says what is wrong with the case itself.
	err error
}

func demoHKD(units int64) schemas.Money {
	return schemas.Money{Micros: units * 1_000_000, Currency: "HKD"}
}

// caseOf begins a case about an order of 15.00 HKD.
func caseOf(order, title string, status simulator.BBMSLStatus) demoCase {
	return demoCase{title: title, copies: 1, publishers: 1, wantLeft: demoHKD(15),
		payment: simulator.BBMSLPayment{Reference: order, Amount: demoHKD(15), Status: status}}
}

// asks adds a command.
func (c demoCase) asks(id schemas.RequestID, units int64, at time.Time) demoCase {
	command := schemas.Command{RequestID: id, Provider: demoProvider, Amount: demoHKD(units), RequestedAt: at,
		Payment: schemas.Payment{Reference: c.payment.Reference}, Reason: "customer returned the item"}
	body, err := command.Encode()
	c.err = errors.Join(c.err, err)
	c.bodies, c.ids = append(c.bodies, body), append(c.ids, id)
	return c
}

func (c demoCase) ends(left int64, want ...string) demoCase {
	c.want, c.wantLeft = want, demoHKD(left)
	return c
}

func demoCases(at time.Time) []demoCase {
	const settled = simulator.BBMSLSettled
	dropped := caseOf("4926", "the reply is lost after the refund was made", settled).
		asks("demo-4926:r1", 10, at).ends(5, "succeeded")
	dropped.faults = []simulator.Fault{{Type: simulator.TypeBBMSL, Operation: "refund", Reference: "4926", Times: 1,
		Effect: simulator.EffectDropAfter}}
	flood := caseOf("4927", "one command published 50 times by 5 publishers", settled).
		asks("demo-4927:r1", 10, at).ends(5, "succeeded")
	flood.copies, flood.publishers = 50, 5
	rivals := caseOf("4929", "two refunds of one order at once", settled).
		asks("demo-4929:r1", 10, at).asks("demo-4929:r2", 10, at).ends(5, "succeeded", "failed already_refunded")
	rivals.together = true
	malformed := demoCase{title: "a body that is not a command", copies: 1, publishers: 1,
		want:   []string{"dead letter malformed"},
		bodies: [][]byte{[]byte(`{"requestId":"demo-x","requestId":"demo-y","amount":{"amountMicros":"1","amountMicros":"2"}}`)}}
	return []demoCase{
		caseOf("4922", "BBMSL's documented example: 10.00 of 15.00 HKD", settled).
			asks("demo-4922:r1", 10, at).ends(5, "succeeded"),
		caseOf("4923", "the whole of an order that is not settled yet", simulator.BBMSLSuccess).
			asks("demo-4923:r1", 15, at).ends(0, "cancelled"),
		caseOf("4924", "more than the order", settled).
			asks("demo-4924:r1", 20, at).ends(15, "failed exceeds_remaining"),
		caseOf("4925", "an order that was never paid", simulator.BBMSLClosed).
			asks("demo-4925:r1", 10, at).ends(15, "failed not_refundable"),
		dropped,
		flood,
		caseOf("4928", "the same requestId with another amount", settled).
			asks("demo-4928:r1", 10, at).asks("demo-4928:r1", 5, at).
			ends(5, "succeeded", "rejected request_id_conflict", "dead letter request_id_conflict"),
		rivals,
		malformed,
	}
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
					_, err = js.Publish(ctx, schemas.Subjects{}.Command(demoProvider), body)
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

func (c demoCase) endedAs(found evidence) string { return strings.Join(c.endings(found), ", ") }
