package idempotency

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

const (
	settledBytes = 250
	openBytes    = 350
	paymentBytes = 250
)

// What a refund costs in Redis bounds how many can be kept: its record, and its payment, which it may share with others.
func TestRecordsAreSmall(t *testing.T) { recordsAreSmall(t, 20_000) }

func recordsAreSmall(t *testing.T, n int) {
	t.Helper()
	alone, both := bytesPerRecord(t, n, withoutPayment), bytesPerRecord(t, n, guardedRefund)
	payment := recordSize{settled: both.settled - alone.settled, open: both.open - alone.open}
	t.Logf("%d records: settled %d bytes, open %d bytes; the payment of each: settled %d, with a hold %d", n, alone.settled,
		alone.open, payment.settled, payment.open)
	if alone.settled > settledBytes {
		t.Errorf("a settled record takes %d bytes, want at most %d", alone.settled, settledBytes)
	}
	if alone.open > openBytes {
		t.Errorf("an open record takes %d bytes, want at most %d", alone.open, openBytes)
	}
	if payment.settled <= 0 || payment.settled > paymentBytes {
		t.Errorf("a payment takes %d bytes once its refund is settled, want at most %d", payment.settled, paymentBytes)
	}
}

// withoutPayment leaves an event that touches its refund's record alone.
func withoutPayment(e ledger.Entry) ledger.Entry {
	e.Event.Payment = nil
	return e
}

// guardedRefund has an intent ask for its share of what its command says was captured.
func guardedRefund(e ledger.Entry) ledger.Entry {
	if e.Event.Kind == schemas.KindDispatched {
		e.Event.Payment.Amount, e.Hold = hkd(100), &ledger.Hold{Kind: ledger.ShareHold, Rules: ledger.GuardRules}
	}
	return e
}

type recordSize struct{ settled, open int }

// bytesPerRecord projects refunds into a real Redis of their own and divides the memory that it took: first as they
// are dispatched with a lease, then as they have succeeded.
func bytesPerRecord(t *testing.T, n int, as func(ledger.Entry) ledger.Entry) recordSize {
	t.Helper()
	rdb := realRedis(t)
	journal := newMemoryJournal()
	s := startSystem(t, rdb, journal, Config{Namespace: "refunds"}).ready()
	before := usedMemory(t, rdb)
	var last uint64
	for i := range n {
		last = journal.add(as(realistic(i, schemas.KindDispatched)))
	}
	s.longApplied(last)
	open := usedMemory(t, rdb)
	reportLayout(t, rdb, s, "open")
	for i := range n {
		last = journal.add(as(realistic(i, schemas.KindSucceeded)))
	}
	s.longApplied(last)
	settled := usedMemory(t, rdb)
	reportLayout(t, rdb, s, "settled")
	return recordSize{settled: (settled - before) / n, open: (open - before) / n}
}

// longApplied waits as applied does, for as long as the projection gets on.
func (s *system) longApplied(seq uint64) {
	s.t.Helper()
	for at := uint64(0); at < seq; {
		next := at
		eventually(s.t, fmt.Sprintf("the projection gets on from event %d", at), func() bool {
			positions, _, err := s.store.standing(s.t.Context())
			if err == nil {
				next = positions[0].Seq
			}
			return next > at
		})
		at = next
	}
}

// realistic is an event of a refund as workers write it.
func realistic(i int, k schemas.Kind) ledger.Entry {
	id := schemas.RequestID(fmt.Sprintf("ord-%d:r1", 1_000_000+i))
	now := time.Now().UTC()
	command := schemas.Command{RequestID: id, Provider: "bbmsl-hk", RequestedAt: now,
		Payment: schemas.Payment{Reference: strconv.Itoa(40_000_000 + i)},
		Amount:  schemas.Money{Micros: int64(10_000_000 + 10_000*(i%1000)), Currency: "HKD"}}
	e := ledger.Entry{Event: schemas.NewEvent(k, command, now)}
	e.Event.Attempt = 1
	e.Owner = fmt.Sprintf("%016x", i*1_000_003)
	if k == schemas.KindDispatched {
		until := now.Add(50 * time.Second)
		e.Event.LeaseUntil, e.Event.IdempotencyKey = &until, string(id)
		return e
	}
	e.Event.RefundType, e.Event.FoundBy = schemas.RefundTypeRefund, schemas.FoundByCall
	e.Event.ProviderRefundID = strconv.Itoa(90_000_000 + i)
	return e
}

// usedMemory is what Redis uses, but for the buffers of its connections, which come and go.
func usedMemory(t *testing.T, rdb redis.UniversalClient) int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) int {
		n, err := strconv.Atoi(infoField(info, name))
		if err != nil {
			t.Fatalf("%s of redis: %v", name, err)
		}
		return n
	}
	return number("used_memory") - number("mem_clients_normal")
}

// reportLayout logs how Redis keeps one record, for whoever has to make it smaller.
func reportLayout(t *testing.T, rdb redis.UniversalClient, s *system, state string) {
	t.Helper()
	key, _ := s.store.keys.record(realistic(0, schemas.KindDispatched).Event.RequestID)
	fields, err := rdb.HGetAll(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	content := 0
	for name, value := range fields {
		content += len(name) + len(value)
	}
	t.Logf("%s: key of %d bytes, %s of %d fields with %d bytes, MEMORY USAGE %d", state, len(key),
		rdb.ObjectEncoding(t.Context(), key).Val(), len(fields), content, rdb.MemoryUsage(t.Context(), key).Val())
}
