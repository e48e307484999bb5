package drills

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"refundworker/idempotency"
	"refundworker/idempotency/ledger"
	"refundworker/schemas"
)

// agree reads everything back, once it is quiet, and holds it together: every refund that was asked for is made,
// once, and says so. rdb is the Redis that the workers joined; nil when it is their own.
func (l *load) agree(rdb redis.UniversalClient) audit {
	l.d.t.Helper()
	a := l.audit(rdb)
	for i, problem := range a.problems() {
		if i == 20 {
			l.d.t.Error("and more")
			break
		}
		l.d.t.Error(problem)
	}
	if got, want := a.count(schemas.KindSucceeded), len(a.commands); got != want {
		l.d.t.Errorf("%d refunds succeeded, want %d", got, want)
	}
	l.published(a.journal)
	l.d.t.Logf("%d commands, %d movements, %d succeeded, %d events", len(a.commands), len(a.ledger),
		a.count(schemas.KindSucceeded), len(a.journal))
	return a
}

// published holds that the published events are the journal's: all of them, in its order, none twice.
func (l *load) published(journal []journalled) {
	l.d.t.Helper()
	if len(journal) == 0 {
		return
	}
	end := journal[len(journal)-1].Seq
	l.d.until("everything is published", func() error {
		last, err := lastOf(l.js, schemas.StreamEvents, schemas.Subjects{}.Events())
		if err != nil {
			return err
		}
		if at := last.Header.Get(schemas.HeaderJournal); at != strconv.FormatUint(end, 10) {
			return fmt.Errorf("up to %s of %d", at, end)
		}
		return nil
	})
	var got, want []string
	l.d.each(l.js, schemas.StreamEvents, func(msg jetstream.Msg) {
		got = append(got, msg.Headers().Get(schemas.HeaderJournal)+" "+msg.Headers().Get(schemas.HeaderEventID))
	})
	for _, e := range journal {
		want = append(want, strconv.FormatUint(e.Seq, 10)+" "+e.ID)
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			l.d.t.Errorf("%d events are published, want %d; they differ from the %dth on: %q, want %q", len(got), len(want), i+1,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			return
		}
	}
}

// audit reads everything back.
func (l *load) audit(rdb redis.UniversalClient) audit {
	l.d.t.Helper()
	a := audit{commands: l.all(), ledger: l.d.bank.Ledger(), waiting: map[schemas.RequestID]int{}}
	l.d.each(l.js, schemas.StreamJournal, func(msg jetstream.Msg) {
		a.journal = append(a.journal, l.d.readEvent(msg))
	})
	for _, name := range []string{schemas.StreamCommands, schemas.StreamRetries} {
		l.d.peek(l.js, name, func(body []byte) {
			c, err := schemas.DecodeCommand(body, schemas.Arrival{Provider: instance})
			if err != nil {
				l.d.t.Errorf("a message of %s is no command: %v", name, err)
			}
			a.waiting[c.RequestID]++
		})
	}
	a.dead = int(l.d.state(l.js, schemas.StreamDead).Msgs)
	if rdb != nil {
		l.d.readRedis(rdb, &a)
	}
	return a
}

// each reads a whole stream, in order, without taking anything from it. A server may be between two leaders meanwhile.
func (d *drill) each(js jetstream.JetStream, name string, take func(jetstream.Msg)) {
	d.t.Helper()
	state := d.state(js, name)
	next := state.FirstSeq
	for read := uint64(0); read < state.Msgs; {
		var consumer jetstream.Consumer
		d.until(name+" can be read", func() (err error) {
			consumer, err = js.OrderedConsumer(context.Background(), name, jetstream.OrderedConsumerConfig{
				DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next})
			return err
		})
		for going := true; going && read < state.Msgs; {
			// No more than there is: a fetch waits for all that it asks for.
			batch, err := consumer.Fetch(int(min(500, state.Msgs-read)), jetstream.FetchMaxWait(5*time.Second))
			if err != nil {
				break
			}
			for msg := range batch.Messages() {
				meta, err := msg.Metadata()
				if err != nil {
					d.t.Fatal(err)
				}
				read, next = read+1, meta.Sequence.Stream+1
				take(msg)
			}
			going = batch.Error() == nil || errors.Is(batch.Error(), nats.ErrTimeout)
		}
	}
}

// state is what a stream holds, as soon as somebody tells.
func (d *drill) state(js jetstream.JetStream, name string) (state jetstream.StreamState) {
	d.t.Helper()
	d.until(name+" is there", func() (err error) {
		state, err = stateOf(js, name)
		return err
	})
	return state
}

// peek reads what a work queue holds: another consumer on it is refused.
func (d *drill) peek(js jetstream.JetStream, name string, take func(body []byte)) {
	d.t.Helper()
	state := d.state(js, name)
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		var msg *jetstream.RawStreamMsg
		d.until(name+" can be read", func() error {
			stream, err := js.Stream(context.Background(), name)
			if err == nil {
				msg, err = stream.GetMsg(context.Background(), seq)
			}
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			return err
		})
		if msg != nil {
			take(msg.Data)
		}
	}
}

func (d *drill) readEvent(msg jetstream.Msg) journalled {
	d.t.Helper()
	meta, err := msg.Metadata()
	if err != nil {
		d.t.Fatal(err)
	}
	e, err := schemas.DecodeEvent(msg.Data())
	if err != nil {
		d.t.Fatalf("event %d: %v", meta.Sequence.Stream, err)
	}
	h := msg.Headers()
	if h.Get(schemas.HeaderEventID) != h.Get(schemas.HeaderMsgID) {
		d.t.Errorf("event %d: id %q and message id %q differ", meta.Sequence.Stream, h.Get(schemas.HeaderEventID), h.Get(schemas.HeaderMsgID))
	}
	out := journalled{Entry: ledger.Entry{Seq: meta.Sequence.Stream, ID: h.Get(schemas.HeaderEventID), Event: e,
		Owner: h.Get(schemas.HeaderOwner), Stored: meta.Timestamp}}
	if parts := strings.Split(h.Get(schemas.HeaderTraceParent), "-"); len(parts) == 4 {
		out.Trace, _ = hex.DecodeString(parts[1] + parts[2] + parts[3])
	}
	if before := h.Get(schemas.HeaderPrevious); before != "" {
		if out.previous, err = strconv.ParseUint(before, 10, 64); err != nil {
			d.t.Errorf("event %d: %v", meta.Sequence.Stream, err)
		}
	}
	return out
}

// readRedis reads every record, and looks for what nobody needs any more.
func (d *drill) readRedis(rdb redis.UniversalClient, a *audit) {
	d.t.Helper()
	ctx := context.Background()
	keys := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	layouts := map[string]bool{}
	a.open = map[schemas.RequestID]int{}
	for keys.Next(ctx) {
		layout, rest, _ := strings.Cut(strings.TrimPrefix(keys.Val(), "{refunds."), "}:")
		kind, id, _ := strings.Cut(rest, ":")
		switch kind {
		case "r":
			layouts[strings.Split(layout, ":")[0]] = true
			a.noLease(rdb, keys.Val(), id)
		case "open":
			for _, member := range rdb.ZRange(ctx, keys.Val(), 0, -1).Val() {
				_, id, _ := strings.Cut(member, " ")
				a.open[schemas.RequestID(id)]++
			}
		case "p", "v", "rate", "pos", "beat", "projector", "evicted", "oldest":
		default:
			a.residue = append(a.residue, fmt.Sprintf("redis holds %s", keys.Val()))
		}
	}
	if err := keys.Err(); err != nil {
		d.t.Fatal(err)
	}
	for layout := range layouts {
		d.readStore(rdb, layout, a)
	}
}

// noLease looks whether a settled refund still has a lease.
func (a *audit) noLease(rdb redis.UniversalClient, key, id string) {
	fields := rdb.HGetAll(context.Background(), key).Val()
	if fields["s"] != "" && strings.Contains("scf", fields["s"][:1]) && (fields["o"] != "" || fields["l"] != "") {
		a.residue = append(a.residue, fmt.Sprintf("%s is settled and still has a lease: %v", id, fields))
	}
}

// readStore reads the records of one layout, which is "<version>.<partitions>", as the worker reads them.
func (d *drill) readStore(rdb redis.UniversalClient, layout string, a *audit) {
	d.t.Helper()
	_, partitions, _ := strings.Cut(layout, ".")
	p, err := strconv.Atoi(partitions)
	if err != nil {
		d.t.Fatalf("layout %q: %v", layout, err)
	}
	store, err := idempotency.New(rdb, idempotency.Config{Partitions: p})
	if err != nil {
		d.t.Fatal(err)
	}
	defer store.Close()
	records := map[schemas.RequestID]ledger.Record{}
	a.records = append(a.records, records)
	for _, e := range a.journal {
		if e.Event.Kind == schemas.KindRejected {
			continue
		}
		r, _, err := store.Read(context.Background(), e.Event.RequestID)
		if err != nil {
			d.t.Fatal(err)
		}
		records[e.Event.RequestID] = r
	}
}
